//! Projects in C: zig's compiler, which brings a C library for WebAssembly, and what the core module
//! exports are its roles.
//!
//! ```text
//! src/*.c + SDK             ─▶ core module ─▶ component
//! src/*.c + SDK + tests/*.c ─▶ one program of this machine
//! ```

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    cache::Cache,
    outcome::{BuildError, BuildProgress, UnitTests},
    process,
    project::Project,
    python::{self, PythonTools},
    world,
};

/// With the hashes of all that is installed.
pub(super) const PINS: &str = include_str!("pins/c.txt");

pub(super) fn compile(
    project: &Project,
    cache: &Cache,
    on: &mut dyn FnMut(BuildProgress),
) -> Result<Vec<u8>, BuildError> {
    let python = compiler(cache, on)?;
    let core = project.work("work")?.join("core.wasm");
    on(BuildProgress::Step {
        name: project.name.clone(),
        step: "compiling with zig cc",
    });
    let mut cc = with_flags(zig(&python, cache), project);
    cc.args([
        "-target",
        "wasm32-wasi",
        "-mexec-model=reactor",
        "-O2",
        "-flto",
        "-s",
    ]);
    // An overflow of this stack traps: zig puts it first.
    cc.arg("-Wl,-z,stack-size=262144");
    for folder in [project.folder.join("src"), sdk_of(project)] {
        cc.args(sources(&folder)?);
    }
    let output = process::compile("python3", cc.arg("-o").arg(&core), &project.name)?;
    let diagnostics = String::from_utf8_lossy(&output.stderr).into_owned();
    if !diagnostics.trim().is_empty() {
        on(BuildProgress::Warned { diagnostics });
    }
    on(BuildProgress::Step {
        name: project.name.clone(),
        step: "making the component",
    });
    let core = [&project.read(&core)?, PRODUCERS].concat();
    world::encode(&project.name, core)
}

/// One program for this machine out of the project, the SDK with its fake host, and the tests.
pub(super) fn tests(
    project: &Project,
    cache: &Cache,
    on: &mut dyn FnMut(BuildProgress),
) -> Result<UnitTests, BuildError> {
    let program = project
        .work("tests")?
        .join(format!("tests{}", std::env::consts::EXE_SUFFIX));
    // A machine's own compiler needs no installation, and nothing to warm up.
    let own = process::run("cc", Command::new("cc").arg("--version"));
    let (name, cc) = match own {
        Ok(Ok(_)) => ("cc", Command::new("cc")),
        Ok(Err(_)) | Err(_) => ("python3", zig(&compiler(cache, on)?, cache)),
    };
    let mut cc = with_flags(cc, project);
    cc.arg("-g");
    for folder in [
        project.folder.join("src"),
        sdk_of(project),
        project.folder.join("tests"),
    ] {
        cc.args(sources(&folder)?);
    }
    process::compile(name, cc.arg("-o").arg(&program), &project.name)?;
    let mut command = Command::new(program);
    command.current_dir(&project.folder);
    Ok(UnitTests {
        command,
        packages: None,
        none_code: None,
    })
}

/// Python with the compiler as a module.
fn compiler(cache: &Cache, on: &mut dyn FnMut(BuildProgress)) -> Result<PathBuf, BuildError> {
    python::environment_with(&TOOLS, cache, on)
}

/// The installed compiler, which keeps what it compiles. It takes nothing of that from a project.
fn zig(python: &Path, cache: &Cache) -> Command {
    let mut zig = python::isolated(python);
    zig.args(["-m", "ziglang", "cc"]);
    zig.env("ZIG_GLOBAL_CACHE_DIR", cache.of_tool("zig"));
    zig.env("ZIG_LOCAL_CACHE_DIR", cache.of_tool("zig"));
    zig
}

/// A compiler in the project's folder, with what both kinds of programs need.
fn with_flags(mut cc: Command, project: &Project) -> Command {
    cc.args(["-std=gnu11", "-Wall", "-Wextra", "-I"])
        .arg(sdk_of(project));
    cc.arg("-I").arg(project.folder.join("src"));
    cc.current_dir(&project.folder);
    cc
}

fn sdk_of(project: &Project) -> PathBuf {
    project.own("sdk/c")
}

/// The files of C directly in a folder, in the order of their names.
fn sources(folder: &Path) -> Result<Vec<PathBuf>, BuildError> {
    let entries = fs::read_dir(folder).map_err(|error| BuildError::Unreadable {
        folder: folder.to_owned(),
        reason: error.to_string(),
    })?;
    let paths = entries.filter_map(Result::ok).map(|entry| entry.path());
    let is_source = |path: &PathBuf| path.extension().is_some_and(|end| end == "c");
    let mut sources: Vec<_> = paths.filter(is_source).collect();
    sources.sort();
    Ok(sources)
}

/// A section of the core module that says who made it: `-s` leaves the compiler's own out. Its length,
/// the name, two fields with one entry each.
const PRODUCERS: &[u8] = b"\0\x39\x09producers\x02\
    \x08language\x01\x01C\x05gnu11\x0cprocessed-by\x01\x06zig cc\x060.17.0";
const TOOLS: PythonTools = PythonTools {
    name: "c",
    shown: "zig 0.17.0 as the compiler of C",
    pins: PINS,
    least: "3.9",
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_section_is_read_back_and_names_the_pinned_compiler() {
        let module = [b"\0asm\x01\0\0\0", PRODUCERS].concat();
        let payloads = wasmparser::Parser::new(0).parse_all(&module);
        let mut said = Vec::new();
        for payload in payloads {
            if let wasmparser::Payload::CustomSection(section) = payload.expect("a section")
                && let wasmparser::KnownCustom::Producers(fields) = section.as_known()
            {
                for field in fields {
                    let field = field.expect("a field");
                    for value in field.values {
                        let value = value.expect("a value");
                        said.push(format!("{}: {} {}", field.name, value.name, value.version));
                    }
                }
            }
        }
        assert_eq!(said, ["language: C gnu11", "processed-by: zig cc 0.17.0"]);
        assert!(PINS.contains("ziglang==0.17.0 "));
    }
}
