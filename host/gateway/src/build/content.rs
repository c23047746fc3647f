//! What the sources of a project are, in one digest: equal sources need no second build. A project that
//! takes files of other folders, or packages that are looked for in several, has none: nobody looks whether
//! those have changed. What Python's packages are has a digest of its own, since a build installs them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{language::Language, reach, sdk};

/// The digest of all files below the project's `folder` that may matter to a build of the plugin
/// `name`. `None` when the project is made of more than these: then every build is a whole one.
///
/// # Errors
/// Whatever the system says of a file.
pub(super) fn digest(folder: &Path, name: &str, language: Language) -> io::Result<Option<String>> {
    if reach::has_packages(folder, language)? {
        return Ok(None);
    }
    let own = [
        format!("{name}.wasm"),
        format!("{name}.toml"),
        format!(".{name}.wasm.tmp"),
    ];
    let mut files = Vec::new();
    if !collect(folder, is_left_out, 0, &mut files)? {
        return Ok(None);
    }
    digest_of(folder, files, |shown, content| {
        if own.iter().any(|own| shown == Path::new(own)) {
            return Counted::No;
        }
        match reach::leaves(shown, content) {
            true => Counted::Unknown,
            false => Counted::Yes,
        }
    })
}

/// The digest of the packages that a build has put into the project's own folder, and takes from nowhere
/// else. `None` when there are too many files.
///
/// # Errors
/// Whatever the system says of a file.
pub(super) fn packages_digest(folder: &Path, language: Language) -> io::Result<Option<String>> {
    let mut files = Vec::new();
    if language == Language::Python {
        let packages = folder.join(sdk::FOLDER).join("build/packages");
        let is_compiled = |name: &str| name == "__pycache__";
        match collect(&packages, is_compiled, 0, &mut files) {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            // None were asked for so far.
            Err(error) if error.kind() == io::ErrorKind::NotFound => files.clear(),
            Err(error) => return Err(error),
        }
    }
    digest_of(folder, files, |_, _| Counted::Yes)
}

/// What becomes of a file in a digest.
enum Counted {
    Yes,
    No,
    /// With it there is no digest.
    Unknown,
}

fn digest_of(
    folder: &Path,
    mut files: Vec<PathBuf>,
    counted: impl Fn(&Path, &[u8]) -> Counted,
) -> io::Result<Option<String>> {
    files.sort();
    let mut texts = Vec::new();
    for path in files {
        let shown = path.strip_prefix(folder).unwrap_or(&path);
        let content = fs::read(&path)?;
        match counted(shown, &content) {
            Counted::Yes => {
                texts.push(shown.as_os_str().as_encoded_bytes().to_vec());
                texts.push(content);
            }
            Counted::No => {}
            Counted::Unknown => return Ok(None),
        }
    }
    Ok(Some(sdk::digest_of(&texts)))
}

/// Whether all files were found within the bounds, but for entries whose names are left out.
fn collect(
    folder: &Path,
    is_left_out: fn(&str) -> bool,
    depth: usize,
    files: &mut Vec<PathBuf>,
) -> io::Result<bool> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if is_left_out(&name.to_string_lossy()) {
            continue;
        }
        // Follows links, which may lead in a circle, or nowhere while an editor writes.
        let Ok(metadata) = fs::metadata(entry.path()) else {
            continue;
        };
        if metadata.is_file() {
            files.push(entry.path());
        } else if metadata.is_dir()
            && (depth == DEPTH_MAX || !collect(&entry.path(), is_left_out, depth + 1, files)?)
        {
            return Ok(false);
        }
        if files.len() > FILES_MAX {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_left_out(name: &str) -> bool {
    LEFT_OUT.contains(&name) || name.ends_with('~') || is_test(name)
}

/// Whether a file or folder of this name is written by people, not by tools.
#[must_use]
pub(crate) fn is_source(name: &str) -> bool {
    let is_temporary = name.starts_with('.') || name.ends_with('~') || name.ends_with(".pyc");
    !is_temporary && !MADE.contains(&name)
}

/// Whether a file has unit tests and nothing else, by the rules of the runners. A component has nothing
/// of it.
fn is_test(name: &str) -> bool {
    let (stem, end) = name.rsplit_once('.').unwrap_or((name, ""));
    match end {
        "py" => stem.starts_with("test_") || stem.ends_with("_test"),
        "go" => stem.ends_with("_test"),
        "js" | "mjs" | "ts" | "mts" => stem.ends_with(".test"),
        _ => false,
    }
}

/// Folders that tools fill.
const MADE: [&str; 5] = ["target", "node_modules", "__pycache__", "venv", "dist"];
/// Entries of a project that no component has anything of: others may be imported or embedded, whatever
/// they are called.
const LEFT_OUT: [&str; 10] = [
    "node_modules",
    "__pycache__",
    sdk::FOLDER,
    ".git",
    ".venv",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
    ".idea",
    ".vscode",
];
const DEPTH_MAX: usize = 16;
const FILES_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_change_the_digest_and_what_tools_write_does_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, text).expect("written");
        };
        let digest = || {
            let digest = digest(folder.path(), "greeter", Language::Python);
            digest.expect("readable")
        };
        write("pyproject.toml", "[project]\nname = \"greeter\"\n");
        write("plugin.py", "x = 1\n");
        let first = digest();
        assert!(first.is_some());
        write("greeter.wasm", "component");
        write("greeter.toml", "[config]\n");
        write(".postern/sdk/python/postern/__init__.py", "");
        write("__pycache__/plugin.cpython-313.pyc", "");
        write("node_modules/a/index.js", "");
        write("test_plugin.py", "def test(): pass\n");
        assert_eq!(digest(), first);
        write("plugin.py", "x = 2\n");
        let second = digest();
        assert_ne!(second, first);
        write("names/one.txt", "Ada");
        assert_ne!(digest(), second);
        write("plugin.py", "x = 1\n");
        fs::remove_dir_all(folder.path().join("names")).expect("removed");
        assert_eq!(digest(), first);
        for path in ["conftest.py", "notes.md", "target/__init__.py", ".names"] {
            write(path, "Ada");
            assert_ne!(digest(), first, "{path} may be imported or embedded");
            fs::remove_file(folder.path().join(path)).expect("removed");
        }
        assert_eq!(digest(), first);
        write("plugin.py", "import sys\nsys.path.append('../sdk')\n");
        assert_eq!(digest(), None, "what lies outside may change unseen");
    }

    #[test]
    fn packages_of_python_change_a_digest_of_their_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, text).expect("written");
        };
        let sources = || digest(folder.path(), "greeter", Language::Python).expect("readable");
        let packages =
            |language| packages_digest(folder.path(), language).expect("readable or absent");
        write(
            "pyproject.toml",
            "[project]\ndependencies = [\"dates==1.0\"]\n",
        );
        let (none, before) = (packages(Language::Python), sources());
        assert!(none.is_some() && before.is_some());
        write(".postern/build/packages/dates/test_of_dates.py", "x = 1\n");
        let first = packages(Language::Python);
        assert_ne!(first, none, "a package may be called as a test is");
        write(
            ".postern/build/packages/dates/__pycache__/a.cpython-314.pyc",
            "",
        );
        assert_eq!(packages(Language::Python), first);
        write(".postern/build/packages/dates/test_of_dates.py", "x = 2\n");
        assert_ne!(packages(Language::Python), first);
        assert_eq!(sources(), before);
        assert_eq!(packages(Language::JavaScript), none);
    }

    #[cfg(unix)]
    #[test]
    fn links_in_a_circle_have_no_digest() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("go.mod"), "module greeter\n").expect("written");
        std::os::unix::fs::symlink(folder.path(), folder.path().join("again")).expect("linked");
        let digest = digest(folder.path(), "greeter", Language::Go);
        assert_eq!(digest.expect("readable"), None);
    }
}
