//! What the sources of a project are, in one digest: equal sources need no second build. A project that
//! takes packages or files of other folders has none: nobody looks whether those have changed.

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
    if !collect(folder, 0, &mut files)? {
        return Ok(None);
    }
    files.sort();
    let mut texts = Vec::new();
    for path in files {
        let shown = path.strip_prefix(folder).unwrap_or(&path);
        if own.iter().any(|own| shown == Path::new(own)) {
            continue;
        }
        let content = fs::read(&path)?;
        if reach::leaves(shown, &content) {
            return Ok(None);
        }
        texts.push(shown.as_os_str().as_encoded_bytes().to_vec());
        texts.push(content);
    }
    Ok(Some(sdk::digest_of(&texts)))
}

/// Whether all files were found within the bounds.
fn collect(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> io::Result<bool> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if LEFT_OUT.contains(&&*name) || name.ends_with('~') || is_test(&name) {
            continue;
        }
        // Follows links, which may lead in a circle, or nowhere while an editor writes.
        let Ok(metadata) = fs::metadata(entry.path()) else {
            continue;
        };
        if metadata.is_file() {
            files.push(entry.path());
        } else if metadata.is_dir()
            && (depth == DEPTH_MAX || !collect(&entry.path(), depth + 1, files)?)
        {
            return Ok(false);
        }
        if files.len() > FILES_MAX {
            return Ok(false);
        }
    }
    Ok(true)
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
