//! A plugin project: a folder, a language, a name.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value as Json;

use super::{language::Language, outcome::BuildError, sdk};

/// A project that is not Rust's; cargo knows its own.
#[derive(Debug, Clone)]
pub(crate) struct Project {
    /// Without links, so that programs with other working folders find it.
    pub folder: PathBuf,
    /// The plugin's.
    pub name: String,
}

impl Project {
    /// # Errors
    /// `Unreadable` when the folder or the project's file cannot be read, `Linked` when a build would
    /// write through a link.
    pub(super) fn open(folder: &Path, language: Language) -> Result<Self, BuildError> {
        let unreadable = |reason: String| BuildError::Unreadable {
            folder: folder.to_owned(),
            reason,
        };
        let real = folder.canonicalize();
        let real = real.map_err(|error| unreadable(error.to_string()))?;
        sdk::refuse_links(&real)?;
        let name = named(&real, language).map_err(unreadable)?;
        let own = real
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let name = name.filter(|name| is_file_name(name)).or(own);
        let name = name.ok_or_else(|| unreadable("it has no name".to_owned()))?;
        Ok(Self { folder: real, name })
    }

    /// `.postern/NAME` in the project.
    pub(super) fn own(&self, name: &str) -> PathBuf {
        self.folder.join(sdk::FOLDER).join(name)
    }

    /// An empty folder `.postern/NAME` for what is made on the way. A build and a run of unit tests have
    /// one each: the tests run when their lock is free again.
    pub(super) fn work(&self, name: &str) -> Result<PathBuf, BuildError> {
        let work = self.own(name);
        let made = sdk::remove(&work).and_then(|()| fs::create_dir_all(&work));
        made.map(|()| work.clone())
            .map_err(|source| BuildError::Unwritable { path: work, source })
    }

    /// Writes a file.
    pub(super) fn write(path: &Path, text: &str) -> Result<(), BuildError> {
        fs::write(path, text).map_err(|source| BuildError::Unwritable {
            path: path.to_owned(),
            source,
        })
    }

    /// Reads what a program should have written.
    pub(super) fn read(&self, path: &Path) -> Result<Vec<u8>, BuildError> {
        fs::read(path).map_err(|error| BuildError::Unreadable {
            folder: self.folder.clone(),
            reason: format!("{}: {error}", path.display()),
        })
    }
}

/// What the project's file says it is called.
fn named(folder: &Path, language: Language) -> Result<Option<String>, String> {
    let path = folder.join(language.project_file());
    let text = fs::read_to_string(&path);
    let text = text.map_err(|error| format!("{}: {error}", language.project_file()))?;
    let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", language.project_file());
    match language {
        Language::Python => {
            let table: toml::Table = text.parse().map_err(|error| wrong(&error))?;
            let name = table.get("project").and_then(|project| project.get("name"));
            Ok(name.and_then(|name| name.as_str()).map(ToOwned::to_owned))
        }
        Language::JavaScript => {
            let package: Json = serde_json::from_str(&text).map_err(|error| wrong(&error))?;
            let name = package.get("name").and_then(Json::as_str);
            Ok(name.map(ToOwned::to_owned))
        }
        Language::Go => {
            let modules = text
                .lines()
                .filter_map(|line| line.trim().strip_prefix("module "));
            let path = modules.map(str::trim).next();
            Ok(path.and_then(last_part).map(ToOwned::to_owned))
        }
        Language::Rust | Language::C => Ok(None),
    }
}

/// The last part of a module's path that is no major version: `greeter` of `example.org/greeter/v2`.
fn last_part(path: &str) -> Option<&str> {
    let is_major = |part: &str| {
        let digits = part.strip_prefix('v').unwrap_or_default();
        !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit())
    };
    let last = path.rsplit('/').next()?;
    let before = path.rsplit('/').nth(1);
    before.filter(|_| is_major(last)).or(Some(last))
}

/// Whether a component may be called that: scopes of npm have a slash.
fn is_file_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && !name.starts_with('.') && name.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(language: Language, text: &str, expected: &str) {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().join("its-folder");
        let file = folder.join(language.project_file());
        fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        fs::write(&file, text).expect("written");
        assert_eq!(Language::of(&folder), Some(language));
        let project = Project::open(&folder, language).expect("readable");
        assert_eq!(project.name, expected);
    }

    #[test]
    fn a_plugin_is_called_as_its_project_says_or_as_its_folder() {
        check(
            Language::Python,
            "[project]\nname = \"greeter\"\n",
            "greeter",
        );
        check(Language::Python, "[tool.x]\n", "its-folder");
        check(Language::JavaScript, r#"{"name":"greeter"}"#, "greeter");
        check(
            Language::JavaScript,
            r#"{"name":"@acme/greeter"}"#,
            "its-folder",
        );
        check(
            Language::Go,
            "module example.org/x/greeter\n\ngo 1.25\n",
            "greeter",
        );
        check(Language::Go, "module greeter\n", "greeter");
        check(Language::Go, "module x.org/greeter/v2\n", "greeter");
        check(Language::Go, "module x.org/v2x\n", "v2x");
        check(Language::Go, "module v2\n", "v2");
        check(Language::C, "int main;\n", "its-folder");
    }

    #[test]
    fn a_project_file_that_is_none_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("package.json"), "{").expect("written");
        let error = Project::open(folder.path(), Language::JavaScript).expect_err("no JSON");
        assert!(error.to_string().contains("package.json: EOF"), "{error}");
    }

    #[test]
    fn a_build_leaves_alone_what_a_run_of_tests_works_with() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("go.mod"), "module greeter\n").expect("written");
        let project = Project::open(folder.path(), Language::Go).expect("readable");
        let program = project.work("tests").expect("made").join("program");
        fs::write(&program, "").expect("written");
        let work = project.work("work").expect("made");
        assert!(program.exists());
        fs::write(work.join("core.wasm"), "").expect("written");
        assert!(
            !project
                .work("work")
                .expect("made")
                .join("core.wasm")
                .exists()
        );
    }
}
