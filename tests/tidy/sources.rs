//! Rules for every Rust file: length, head, names, and what may not stand in it.

use crate::{Source, assert_none, root, sources};

const LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
const MODULES_BANNED: [&str; 9] = [
    "common",
    "helper",
    "helpers",
    "manager",
    "misc",
    "types",
    "util",
    "utilities",
    "utils",
];

fn rust() -> Vec<Source> {
    let all = sources("", &[".rs"]);
    assert!(all.len() > 50, "found only {} files of Rust", all.len());
    all
}

#[test]
fn no_file_is_longer_than_500_lines() {
    let long = |source: &Source| {
        let n_lines = source.text.lines().count();
        (n_lines > LINES_MAX).then(|| format!("{}: {n_lines} lines", source.path))
    };
    assert_none(&rust().iter().filter_map(long).collect::<Vec<_>>());
}

#[test]
fn no_function_is_longer_than_70_lines() {
    assert_none(&rust().iter().flat_map(long_functions).collect::<Vec<_>>());
}

#[test]
fn a_function_is_measured_from_its_head_to_its_brace() {
    let function = |n_lines: usize| Source {
        path: "f.rs".to_owned(),
        text: format!(
            "    pub(crate) async fn f() {{\n{}    }}\n",
            "        x;\n".repeat(n_lines - 2)
        ),
    };
    assert_eq!(long_functions(&function(70)), [""; 0]);
    assert_eq!(
        long_functions(&function(71)),
        ["f.rs:1: function of 71 lines"]
    );
}

#[test]
fn every_file_says_first_what_it_is_for() {
    let headless = |source: &Source| {
        (!source.text.starts_with("//! ")).then(|| format!("{}: no `//!` head", source.path))
    };
    assert_none(&rust().iter().filter_map(headless).collect::<Vec<_>>());
}

#[test]
fn modules_are_named_after_things() {
    let banned = |source: &Source| {
        let path = source.path.strip_suffix(".rs").unwrap_or(&source.path);
        let name = path.split('/').find(|part| MODULES_BANNED.contains(part))?;
        Some(format!("{}: `{name}` says nothing", source.path))
    };
    assert_none(&rust().iter().filter_map(banned).collect::<Vec<_>>());
}

#[test]
fn nothing_is_left_to_do_and_no_machine_is_named() {
    // Written in two halves, so that this file passes itself.
    let words = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X:"),
        concat!("to", "do!("),
        concat!("unimpl", "emented!("),
        concat!("\"/wo", "rk/"),
        concat!(" /wo", "rk/"),
        concat!("/ro", "ot/"),
    ];
    let endings = [".rs", ".toml", ".md", ".wit", ".sh", "run", ".yml"];
    let mut faults = Vec::new();
    for source in sources("", &endings) {
        for (index, line) in source.text.lines().enumerate() {
            for word in words.iter().filter(|word| line.contains(**word)) {
                faults.push(format!("{}:{}: `{word}`", source.path, index + 1));
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn core_touches_nothing_of_the_system() {
    let effects = [
        "std::fs",
        "std::env",
        "std::process",
        "std::thread",
        "std::io",
        "tokio",
        "TcpStream",
        "UdpSocket",
        "SystemTime",
    ];
    let mut faults = Vec::new();
    // What only tests compile may ask for a seed or print one.
    let is_test =
        |source: &Source| source.path.contains("/simulation") || source.path.contains("tests");
    for source in sources("host/core/src", &[".rs"])
        .iter()
        .filter(|source| !is_test(source))
    {
        for (index, line) in source.text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for effect in effects.iter().filter(|effect| code.contains(**effect)) {
                faults.push(format!("{}:{}: `{effect}`", source.path, index + 1));
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn every_guest_is_used_by_a_test() {
    let guests = root().join("tests/guests");
    let tests: String = ["tests/gateway", "tests/benches", "host/wasm"]
        .iter()
        .flat_map(|folder| sources(folder, &[".rs"]))
        .map(|source| source.text)
        .collect();
    let mut faults = Vec::new();
    let mut n_guests = 0;
    for entry in guests.read_dir().expect("tests/guests is there") {
        let entry = entry.expect("an entry of a readable folder");
        let name = entry.file_name().to_string_lossy().into_owned();
        if !entry.path().join("Cargo.toml").is_file() {
            continue;
        }
        n_guests += 1;
        if !tests.contains(&format!("\"{name}\"")) {
            faults.push(format!("tests/guests/{name}: no test says \"{name}\""));
        }
    }
    assert!(n_guests > 0, "no guests in {guests:?}");
    assert_none(&faults);
}

/// Functions over the limit. Formatted code ends a function at the indentation of its head.
fn long_functions(source: &Source) -> Vec<String> {
    let lines: Vec<_> = source.text.lines().collect();
    let mut faults = Vec::new();
    for (first, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let is_head = code.starts_with("fn ")
            || (code.starts_with("pub") || code.starts_with("async")) && code.contains(" fn ");
        if !is_head || code.ends_with(';') || code.ends_with('}') {
            continue;
        }
        let indent = line.get(..line.len() - code.len()).unwrap_or_default();
        let end = format!("{indent}}}");
        let rest = lines.iter().skip(first);
        let Some(n_lines) = rest
            .take_while(|line| **line != format!("{indent};"))
            .position(|line| *line == end)
        else {
            continue;
        };
        if n_lines + 1 > FUNCTION_LINES_MAX {
            faults.push(format!(
                "{}:{}: function of {} lines",
                source.path,
                first + 1,
                n_lines + 1
            ));
        }
    }
    faults
}
