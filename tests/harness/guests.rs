//! Components for tests, built once per test run by cargo and kept in the target folder.
//!
//! A guest is a folder below `plugins/` or `tests/guests/`, named as its package. All are built with
//! one `cargo guests` (`.cargo/config.toml`), so that a run after a change costs one link. A folder
//! with a script `build` is a component of somebody else's tools; the script is given the component's path,
//! when it is asked for. All other languages are projects of `postern build`, built then as well.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, OnceLock},
};

use bytes::Bytes;

use crate::{process, tools};

const FOLDERS: [&str; 2] = ["plugins", "tests/guests"];

/// The component of the guest `name`.
///
/// # Panics
/// When the guests do not build, with what cargo said, or when there is no such guest.
#[must_use]
pub fn component(name: &str) -> Bytes {
    if let Some(folder) = project(name) {
        return built(&folder, name);
    }
    if let Some(script) = script(name) {
        return made(&script, name);
    }
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let folder = BUILT.get_or_init(build);
    let path = folder.join(format!("{}.wasm", name.replace('-', "_")));
    fs::read(&path)
        .map(Bytes::from)
        .expect("the guest is built under its package's name")
}

/// Builds every guest and says where the components are.
fn build() -> PathBuf {
    let root = root();
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(&root)
        .args(["guests", "--target-dir"])
        .arg(target());
    for name in names(&root, "Cargo.toml") {
        cargo.args(["-p", &name]);
    }
    run(&mut cargo);
    target().join("wasm32-wasip2/guest")
}

/// The script that builds a component by tools of somebody else.
fn script(name: &str) -> Option<PathBuf> {
    let scripts = FOLDERS.map(|folder| root().join(folder).join(name).join("build"));
    scripts.into_iter().find(|script| script.is_file())
}

/// What a script builds, once in a test run. Its tools keep what they have made below the target folder.
fn made(script: &Path, name: &str) -> Bytes {
    static MADE: Mutex<BTreeMap<String, Bytes>> = Mutex::new(BTreeMap::new());
    // One after the other: each takes all processors.
    let mut all = MADE.lock().expect("no build has panicked");
    if let Some(component) = all.get(name) {
        return component.clone();
    }
    let folder = target().join("foreign");
    fs::create_dir_all(&folder).expect("the target folder is writable");
    let component = folder.join(format!("{name}.wasm"));
    let mut build = Command::new(script);
    run(build.arg(&component).env("CARGO_TARGET_DIR", target()));
    let component = Bytes::from(fs::read(&component).expect("the script has written it"));
    all.insert(name.to_owned(), component.clone());
    component
}

/// The folder of a guest that `postern build` knows by its project file.
fn project(name: &str) -> Option<PathBuf> {
    const FILES: [&str; 4] = ["go.mod", "package.json", "pyproject.toml", "src/plugin.c"];
    let folders = FOLDERS.map(|folder| root().join(folder).join(name));
    let mut folders = folders.into_iter();
    folders.find(|folder| FILES.iter().any(|file| folder.join(file).is_file()))
}

/// The component of a project. What its language needs is installed below the target folder.
fn built(folder: &Path, name: &str) -> Bytes {
    let mut build = Command::new(process::binary());
    build.arg("build").arg(folder);
    run(build.env("XDG_CACHE_HOME", tools::cache()));
    let component = fs::read(folder.join(format!("{name}.wasm")));
    component
        .map(Bytes::from)
        .expect("the project is called as its folder")
}

fn run(command: &mut Command) {
    let output = command.output().expect("cargo and bash run");
    let said =
        [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    assert!(
        output.status.success(),
        "guests do not build:\n{}",
        said.concat()
    );
}

/// Folders of guests that hold a file `project`.
fn names(root: &Path, project: &str) -> Vec<String> {
    let mut names = Vec::new();
    for folder in FOLDERS {
        let entries = root.join(folder).read_dir().into_iter().flatten().flatten();
        let guests = entries.filter(|entry| entry.path().join(project).is_file());
        names.extend(guests.map(|entry| entry.file_name().to_string_lossy().into_owned()));
    }
    names.sort();
    names
}

fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests
        .parent()
        .expect("tests/ is a folder of the repository")
        .to_path_buf()
}

/// The target folder that this test was built into: `target/debug/deps/gateway-…` is running.
pub(crate) fn target() -> PathBuf {
    let profile = profile_folder();
    profile
        .parent()
        .map_or_else(|| profile.clone(), Path::to_path_buf)
}

/// Where cargo puts binaries of the profile that this test was built with.
pub(crate) fn profile_folder() -> PathBuf {
    let test = std::env::current_exe().expect("a running program has a path");
    let folders = test.ancestors().skip(1);
    let mut outside = folders.skip_while(|folder| folder.ends_with("deps"));
    outside.next().map_or_else(PathBuf::new, Path::to_path_buf)
}
