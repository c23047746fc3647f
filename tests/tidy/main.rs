//! Rules of the source that no compiler checks. Each test names every place that breaks its rule.
#![expect(
    clippy::panic,
    reason = "tests fail by panicking; clippy forgives that inside of `#[test]` only"
)]

mod dependencies;
mod documents;
mod graph;
mod imports;
mod items;
mod names;
mod options;
mod promises;
mod sandbox;
mod settings;
mod sources;
mod tokens;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

/// One file of the repository.
struct Source {
    /// From the repository's root, with `/` between the parts.
    path: String,
    text: String,
}

/// The repository's root.
fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests
        .parent()
        .expect("tests/ is a folder of the repository")
        .to_path_buf()
}

/// Every text file below `folder` whose name ends with one of `endings`, in the order of paths.
/// Hidden folders and build output are left out.
fn sources(folder: &str, endings: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    collect(&root().join(folder), endings, &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn collect(folder: &Path, endings: &[&str], found: &mut Vec<Source>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    for entry in entries {
        let entry = entry.expect("an entry of a readable folder");
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = entry.path();
        let kind = entry.file_type().expect("a kind of entry");
        let is_made = matches!(name.as_str(), "target" | "corpus" | "node_modules");
        if kind.is_dir() && !name.starts_with('.') && !is_made {
            collect(&path, endings, found);
        } else if kind.is_file() && endings.iter().any(|ending| name.ends_with(ending)) {
            let text =
                fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
            let path = path.strip_prefix(root()).expect("a path below the root");
            found.push(Source {
                path: path.to_string_lossy().replace('\\', "/"),
                text,
            });
        }
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Fails with every fault on a line of its own.
#[track_caller]
fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

/// A figure for the summary of `tests/run`, shown whether the test passes or not.
fn figure(text: &str) {
    let mut out = std::io::stderr();
    // A figure that cannot be shown does not fail a test.
    let _ = writeln!(out, "figure: {text}");
}
