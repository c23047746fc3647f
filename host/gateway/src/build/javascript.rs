//! Projects in JavaScript and TypeScript. What knows them is in the SDK; here it gets its tools, which are
//! installed once for all projects, and its place in `node_modules`, where Node and editors look.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value as Json;

use super::{
    cache::{Cache, ToolSet},
    outcome::{BuildError, BuildProgress, UnitTests},
    process,
    project::Project,
    sdk,
};

/// A lock file of npm, with the hashes of all that is installed.
pub(super) const PINS: &str = include_str!("pins/javascript.json");

/// Installs the packages that the project asks for, where one is missing or they were others at the last
/// installation, and puts the SDK beside them.
pub(super) fn prepare(
    folder: &Path,
    name: &str,
    on: &mut dyn FnMut(BuildProgress),
) -> Result<(), BuildError> {
    if lacks_packages(folder) {
        on(BuildProgress::Step {
            name: name.to_owned(),
            step: "installing its packages with npm",
        });
        let mut npm = npm("install", folder);
        process::install("npm", &mut npm, &format!("the packages of {name}"))?;
        mark_packages(folder)?;
    }
    // After npm, which removes what it does not know.
    provide_sdk(folder)
}

/// Puts the SDK where Node and editors find it by its name.
pub(super) fn provide_sdk(folder: &Path) -> Result<(), BuildError> {
    let packages = folder.join("node_modules");
    sdk::refuse_link(&packages)?;
    sdk::put(&packages.join("postern"), PACKAGE, &IN_PACKAGE)
}

pub(super) fn compile(
    project: &Project,
    cache: &Cache,
    on: &mut dyn FnMut(BuildProgress),
) -> Result<Vec<u8>, BuildError> {
    let tools = tools(cache, on)?;
    on(BuildProgress::Step {
        name: project.name.clone(),
        step: "compiling with componentize-qjs",
    });
    let work = project.own("build");
    let component = work.join("component.wasm");
    let mut build = script("componentize.mjs", project, &tools, &work);
    build
        .arg("--wit")
        .arg(project.own("wit"))
        .arg("--out")
        .arg(&component);
    process::compile("node", &mut build, &project.name)?;
    project.read(&component)
}

pub(super) fn tests(
    project: &Project,
    cache: &Cache,
    on: &mut dyn FnMut(BuildProgress),
) -> Result<UnitTests, BuildError> {
    let tools = tools(cache, on)?;
    Ok(UnitTests {
        command: script("test.mjs", project, &tools, &project.own("tests")),
        packages: None,
        none_code: None,
    })
}

/// The folder whose `node_modules` has the pinned tools.
fn tools(cache: &Cache, on: &mut dyn FnMut(BuildProgress)) -> Result<PathBuf, BuildError> {
    process::version("node", Command::new("node").arg("--version"), LEAST)?;
    let set = ToolSet {
        name: "javascript",
        shown: "componentize-qjs 0.4.5, esbuild 0.28.2 and typescript 5.9.3",
        pins: &[PINS],
    };
    cache.tools(set, on, |folder| {
        let manifest = sdk::octets(TOOLS).unwrap_or_default();
        Project::write(
            &folder.join("package.json"),
            &String::from_utf8_lossy(manifest),
        )?;
        Project::write(&folder.join("package-lock.json"), PINS)?;
        process::install("npm", &mut npm("ci", folder), set.shown)
    })
}

/// npm in a folder. It runs no scripts of what it installs; a build runs what the project imports.
fn npm(command: &str, folder: &Path) -> Command {
    let mut npm = Command::new("npm");
    npm.args([command, "--ignore-scripts", "--no-audit", "--no-fund"]);
    npm.current_dir(folder);
    npm
}

/// A script of the SDK for the project, which leaves in `work` what it makes on its way.
fn script(name: &str, project: &Project, tools: &Path, work: &Path) -> Command {
    let mut node = Command::new("node");
    node.arg(project.own("sdk/js/build").join(name))
        .arg(&project.folder);
    node.arg("--work").arg(work).arg("--tools").arg(tools);
    node.current_dir(&project.folder);
    node
}

/// Whether `package.json` names packages, and one of them is not there or they were others when they were
/// installed.
fn lacks_packages(folder: &Path) -> bool {
    let package = fs::read_to_string(folder.join("package.json")).unwrap_or_default();
    let package: Json = serde_json::from_str(&package).unwrap_or_default();
    let named = ["dependencies", "devDependencies"].map(|field| package.get(field));
    let named = named.into_iter().flatten().filter_map(Json::as_object);
    let names: Vec<_> = named.flat_map(|packages| packages.keys()).collect();
    let is_there = |name: &&String| folder.join("node_modules").join(name).exists();
    let marked = fs::read_to_string(folder.join(MARK)).unwrap_or_default();
    !names.is_empty() && (marked != wanted_packages(folder) || !names.iter().all(is_there))
}

/// Keeps what npm has installed from.
fn mark_packages(folder: &Path) -> Result<(), BuildError> {
    Project::write(&folder.join(MARK), &wanted_packages(folder))
}

/// What decides which packages npm installs, in one digest.
fn wanted_packages(folder: &Path) -> String {
    let files = ["package.json", "package-lock.json"];
    let read = |name: &str| fs::read(folder.join(name)).unwrap_or_default();
    sdk::digest_of(&files.map(read))
}

/// In a project, the digest of what its packages were installed from.
const MARK: &str = ".postern/packages.sha256";
pub(super) const LEAST: &str = "20.0";
const TOOLS: &str = "guest-sdk/js/tools.json";
/// The SDK, and what of it a project imports.
const PACKAGE: &str = "guest-sdk/js/";
const IN_PACKAGE: [&str; 3] = ["package.json", "src/", "types/"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_installed_when_one_is_missing() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, text).expect("written");
        };
        write("package.json", "{}");
        assert!(!lacks_packages(folder.path()));
        write(
            "package.json",
            r#"{"dependencies":{"@a/b":"1"},"devDependencies":{"c":"2"}}"#,
        );
        assert!(lacks_packages(folder.path()));
        write("node_modules/@a/b/package.json", "{}");
        assert!(lacks_packages(folder.path()));
        write("node_modules/c/package.json", "{}");
        assert!(lacks_packages(folder.path()), "of unknown versions");
        write(MARK, "");
        mark_packages(folder.path()).expect("written");
        assert!(!lacks_packages(folder.path()));
        write("package-lock.json", "{}");
        assert!(lacks_packages(folder.path()), "of other versions");
    }

    #[test]
    fn a_project_finds_the_sdk_by_its_name_and_only_what_it_imports() {
        let folder = tempfile::tempdir().expect("a folder");
        provide_sdk(folder.path()).expect("written");
        let package = folder.path().join("node_modules/postern");
        assert!(package.join("package.json").is_file());
        assert!(package.join("src/index.js").is_file());
        assert!(package.join("types/index.d.ts").is_file());
        assert!(!package.join("build").exists());
    }

    #[test]
    fn the_lock_file_is_of_the_tools_that_the_sdk_names() {
        let lock: Json = serde_json::from_str(PINS).expect("JSON");
        let tools = sdk::octets(TOOLS).expect("packed");
        let tools: Json = serde_json::from_slice(tools).expect("JSON");
        assert_eq!(lock["packages"][""]["dependencies"], tools["dependencies"]);
        let packages = lock["packages"].as_object().expect("packages");
        for (path, package) in packages.iter().filter(|(path, _)| !path.is_empty()) {
            assert!(package["integrity"].is_string(), "{path} has no hash");
        }
    }
}
