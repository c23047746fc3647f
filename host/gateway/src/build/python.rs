//! Projects in Python. What knows Python is in the SDK; here it gets an environment, which is made once
//! for all projects.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    cache::{Cache, ToolSet},
    outcome::{BuildError, BuildProgress, UnitTests},
    process,
    project::Project,
};

/// With the hashes of all that is installed.
pub(super) const PINS: &str = include_str!("pins/python.txt");

pub(super) fn compile(
    project: &Project,
    cache: &Cache,
    on: &mut dyn FnMut(BuildProgress),
) -> Result<Vec<u8>, BuildError> {
    let python = environment(cache, on)?;
    on(BuildProgress::Step {
        name: project.name.clone(),
        step: "compiling with componentize-py, which takes half a minute",
    });
    let component = project.own("build").join("component.wasm");
    let mut build = build_command(project, &python);
    process::compile("python3", build.arg("--out").arg(&component), &project.name)?;
    project.read(&component)
}

pub(super) fn tests(
    project: &Project,
    cache: &Cache,
    on: &mut dyn FnMut(BuildProgress),
) -> Result<UnitTests, BuildError> {
    let python = environment(cache, on)?;
    // Loads the module and installs the packages that the project asks for.
    process::compile(
        "python3",
        &mut build_command(project, &python),
        &project.name,
    )?;
    let mut command = Command::new(&python);
    command
        .args(["-m", "pytest", "-q"])
        .current_dir(&project.folder);
    let paths = [sdk_of(project), project.own("build/packages")];
    let paths = std::env::join_paths(paths).unwrap_or_else(|_| sdk_of(project).into());
    command.env("PYTHONPATH", paths);
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(UnitTests {
        command,
        packages: None,
        none_code: Some(PYTEST_NONE),
    })
}

/// Tools that are packages of Python.
pub(super) struct PythonTools {
    /// Names their folder.
    pub name: &'static str,
    /// As people know them.
    pub shown: &'static str,
    /// A file of requirements with hashes.
    pub pins: &'static str,
    /// The oldest Python that they are made for.
    pub least: &'static str,
}

/// Python with the pinned tools.
fn environment(cache: &Cache, on: &mut dyn FnMut(BuildProgress)) -> Result<PathBuf, BuildError> {
    environment_with(&TOOLS, cache, on)
}

/// Python with these tools: one environment for each version of Python.
///
/// # Errors
/// `NoProgram`, `TooOld`, and those of an installation.
pub(super) fn environment_with(
    tools: &PythonTools,
    cache: &Cache,
    on: &mut dyn FnMut(BuildProgress),
) -> Result<PathBuf, BuildError> {
    let PythonTools {
        name,
        shown,
        pins,
        least,
    } = *tools;
    let mut version = isolated("python3");
    version.args(["-c", "import sys; print(sys.version)"]);
    let version = process::version("python3", &mut version, least)?;
    let set = ToolSet {
        name,
        shown,
        pins: &[pins, &version],
    };
    let folder = cache.tools(set, on, |folder| install(folder, pins, shown))?;
    Ok(python_in(&folder))
}

/// Makes an environment in `folder` with the pinned packages.
fn install(folder: &Path, pins: &str, shown: &str) -> Result<(), BuildError> {
    let mut venv = isolated("python3");
    process::install("python3", venv.args(["-m", "venv"]).arg(folder), shown)?;
    let requirements = folder.join("requirements.txt");
    Project::write(&requirements, pins)?;
    let mut pip = isolated(python_in(folder));
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]);
    pip.args(["--require-hashes", "--only-binary", ":all:", "-r"])
        .arg(&requirements);
    process::install("python3", &mut pip, shown)
}

/// Python for a module of its own or an installed one: it takes none of the working folder's, nor of the
/// environment's paths.
pub(super) fn isolated(python: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(python);
    command.arg("-I");
    command
}

fn python_in(environment: &Path) -> PathBuf {
    match cfg!(windows) {
        true => environment.join("Scripts/python.exe"),
        false => environment.join("bin/python"),
    }
}

/// The SDK's own build, which finds the roles, and makes the component where it is told to.
fn build_command(project: &Project, python: &Path) -> Command {
    let mut command = Command::new(python);
    command.args(["-m", "postern.build"]).arg(&project.folder);
    command.arg("--wit").arg(project.own("wit"));
    command.arg("--work").arg(project.own("build"));
    command
        .env("PYTHONPATH", sdk_of(project))
        // Files of its own would make another SDK of it.
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(&project.folder);
    command
}

fn sdk_of(project: &Project) -> PathBuf {
    project.own("sdk/python")
}

const TOOLS: PythonTools = PythonTools {
    name: "python",
    shown: "componentize-py 0.25.1 and pytest 9.2.0",
    pins: PINS,
    least: LEAST,
};
pub(super) const LEAST: &str = "3.11";
/// pytest's code for a run without a test.
const PYTEST_NONE: i32 = 5;

#[cfg(test)]
mod tests {
    use super::{super::sdk, *};

    #[test]
    fn a_module_in_the_working_folder_is_not_run_in_the_place_of_a_tool() {
        let folder = tempfile::tempdir().expect("a folder");
        let source = "open('ran', 'w').close()\n";
        std::fs::write(folder.path().join("venv.py"), source).expect("written");
        let mut venv = isolated("python3");
        venv.args(["-m", "venv", "--help"])
            .env("PYTHONPATH", folder.path())
            .current_dir(folder.path());
        let output = venv.output().expect("Python runs");
        assert!(output.status.success());
        assert!(!folder.path().join("ran").exists());
    }

    #[test]
    fn the_pins_have_all_that_the_sdk_names_with_hashes() {
        let named = sdk::octets("guest-sdk/python/requirements.txt").expect("packed");
        let named = String::from_utf8_lossy(named);
        for package in named.lines().filter(|line| line.contains("==")) {
            assert!(
                PINS.lines().any(|line| line == format!("{package} \\")),
                "{package}"
            );
        }
        let packages = PINS.split("\n").filter(|line| line.contains("==")).count();
        let hashed = PINS
            .split("==")
            .filter(|part| part.contains("--hash=sha256:"))
            .count();
        assert!(packages > 0 && packages == hashed);
    }
}
