//! Projects in Go: the user's own toolchain compiles, and what the core module exports are its roles.

use std::process::Command;

use super::{
    outcome::{BuildError, BuildProgress, UnitTests},
    process,
    project::Project,
    world,
};

/// The compiler's version.
pub(super) fn pins(project: &Project) -> Result<String, BuildError> {
    process::version("go", go(project).args(["env", "GOVERSION"]), LEAST)
}

pub(super) fn compile(
    project: &Project,
    on: &mut dyn FnMut(BuildProgress),
) -> Result<Vec<u8>, BuildError> {
    let core = project.work("work")?.join("core.wasm");
    on(BuildProgress::Step {
        name: project.name.clone(),
        step: "compiling with go build",
    });
    let mut build = go(project);
    build.args([
        "build",
        "-buildmode=c-shared",
        "-trimpath",
        "-buildvcs=false",
    ]);
    build.args(["-ldflags=-s -w", "-o"]).arg(&core).arg(".");
    build.envs([("GOOS", "wasip1"), ("GOARCH", "wasm"), ("CGO_ENABLED", "0")]);
    process::compile("go", &mut build, &project.name)?;
    on(BuildProgress::Step {
        name: project.name.clone(),
        step: "making the component",
    });
    world::encode(&project.name, project.read(&core)?)
}

pub(super) fn tests(project: &Project) -> Result<UnitTests, BuildError> {
    pins(project)?;
    let mut command = go(project);
    command.arg("test");
    Ok(UnitTests {
        command,
        packages: Some("./..."),
        none_code: None,
    })
}

/// In the project, whose module stands alone, with the toolchain that is there.
fn go(project: &Project) -> Command {
    let mut command = Command::new("go");
    command.current_dir(&project.folder);
    command.envs([("GOWORK", "off"), ("GOTOOLCHAIN", "local")]);
    command
}

/// The first that exports functions to a host.
pub(super) const LEAST: &str = "1.24";
