//! Documents that repeat what the code says must say the same.

use postern_core::Kind;

use crate::{assert_none, read, root, sources};

#[test]
fn every_kind_of_error_is_in_the_table_with_its_numbers() {
    let table = read("host/docs/errors.md");
    let row = |kind: &Kind| {
        let (blame, symptom) = (kind.peer_blame().name(), kind.symptom().name());
        let (name, grpc, http) = (kind.name(), kind.grpc(), kind.http());
        format!("| `{name}` | {grpc} | {http} | {blame} | {symptom} |")
    };
    let missing = Kind::ALL.iter().map(row).filter(|row| !table.contains(row));
    assert_none(
        &missing
            .map(|row| format!("host/docs/errors.md lacks {row}"))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn the_wit_package_names_every_kind_in_the_same_order() {
    let wit = read("wit/types.wit");
    let body = wit
        .split("enum kind {")
        .nth(1)
        .and_then(|rest| rest.split('}').next());
    let names: Vec<_> = body.expect("enum kind").split(',').map(str::trim).collect();
    let expected: Vec<_> = Kind::ALL
        .iter()
        .map(|kind| kind.name())
        .chain([""])
        .collect();
    assert_eq!(names, expected);
}

#[test]
fn the_package_of_guests_is_the_package_of_the_host() {
    let ours = sources("wit", &[".wit"]);
    assert!(!ours.is_empty());
    // A link, which is followed where it is the folder itself.
    let of_rust = sources("guest-sdk/rust/wit", &[".wit"]);
    assert_eq!(of_rust.len(), ours.len());
    let elsewhere = sources("", &[".wit"]).into_iter();
    let elsewhere = elsewhere.filter(|source| !source.path.starts_with("wit/"));
    for source in of_rust.into_iter().chain(elsewhere) {
        if source.text.contains("package postern:gateway@") {
            let (_, name) = source.path.rsplit_once('/').expect("in a folder");
            let path = &source.path;
            let ours = ours.iter().find(|ours| ours.path == format!("wit/{name}"));
            let ours = ours.map(|ours| &ours.text);
            assert_eq!(Some(&source.text), ours, "{path} differs from wit/{name}");
        }
    }
}

#[test]
fn decisions_are_numbered_without_gaps() {
    let folder = root().join("host/docs/adr");
    let entries = folder.read_dir().expect("host/docs/adr is there");
    let mut names: Vec<_> = entries
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    let mut faults = Vec::new();
    for (index, name) in names.iter().enumerate() {
        if !name.starts_with(&format!("{:04}-", index + 1)) || !name.ends_with(".md") {
            faults.push(format!(
                "host/docs/adr/{name}: number {:04} is expected here",
                index + 1
            ));
        }
    }
    assert!(!names.is_empty(), "no decisions are written down");
    assert_none(&faults);
}

/// Whoever looks for a file finds its part.
#[test]
fn the_architecture_names_every_file_at_the_top_of_a_crate() {
    let text = read("host/docs/architecture.md");
    // Within backticks, outside of the drawings.
    let prose = text.split("```").step_by(2).collect::<String>();
    let code = prose.split('`').skip(1).step_by(2);
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words: Vec<_> = code
        .flat_map(|code| code.split(move |c: char| !is_of_name(c)))
        .collect();
    let mut missing = Vec::new();
    for part in ["core", "net", "system", "wasm", "gateway"] {
        let folder = format!("host/{part}/src/");
        for source in sources(&folder, &[".rs"]) {
            let name = source.path.strip_prefix(&folder).expect("below it");
            let name = name.strip_suffix(".rs").expect("a source");
            let is_root = matches!(name, "lib" | "main");
            if !name.contains('/') && !is_root && !words.contains(&name) {
                missing.push(format!("host/docs/architecture.md lacks {}", source.path));
            }
        }
    }
    assert_none(&missing);
}

#[test]
fn the_architecture_fits_200_lines_and_names_every_crate() {
    let text = read("host/docs/architecture.md");
    let n_lines = text.lines().count();
    assert!(
        n_lines <= 200,
        "host/docs/architecture.md has {n_lines} lines"
    );
    for name in [
        "host/core",
        "host/net",
        "host/wasm",
        "host/gateway",
        "guest-sdk",
        "plugins",
    ] {
        assert!(
            text.contains(name),
            "host/docs/architecture.md does not name {name}"
        );
    }
    assert!(
        text.contains("**Invariant:**"),
        "no invariant is written down"
    );
}
