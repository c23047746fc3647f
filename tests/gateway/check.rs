//! `postern check`: every mistake at once, each where it stands, and what to do about it.

use std::fs;

use postern_tests::postern;
use serde_json::Value;

/// Ten different mistakes, each on a line that says so.
const TEN_MISTAKES: &str = r#"data-dirr = "state"                  # 1: unknown key, and the one that is meant

[listeners.vstp]
address = "127.0.0.1"                # 2: no port
transports = ["tcp", "sctp"]         # 3: unknown word
connections-max = 0                  # 4: out of bounds
idle-timeout = "5 minuten"           # 5: no duration

[listeners.door]                     # 6: neither protocol nor address
enabled = true

[calls]
depth-max = "eight"                  # 7: wrong type
body-bytes-max = "8 MiBi"            # 8: no size

[plugins.instances]
mode = "shared"                      # 9: unknown word

[log]
level = "loud"                       # 10: no level
"#;

#[test]
fn ten_mistakes_are_shown_each_at_its_line() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("postern.toml"), TEN_MISTAKES).expect("writable");
    let text = postern(folder.path(), &["check"]);
    assert_eq!(text.code, Some(1), "{text:?}");
    let json = postern(folder.path(), &["--output", "json", "check"]);
    assert_eq!(json.code, Some(1), "{json:?}");

    let said: Value = serde_json::from_str(&json.out).expect("json on the standard output");
    let faults = said["faults"]
        .as_array()
        .unwrap_or_else(|| panic!("{said}"));
    let mut lines: Vec<_> = faults
        .iter()
        .filter_map(|fault| fault["line"].as_u64())
        .collect();
    lines.dedup();
    let marked = TEN_MISTAKES
        .lines()
        .enumerate()
        .filter(|(_, line)| line.contains("# "));
    let expected: Vec<_> = marked.map(|(index, _)| index as u64 + 1).collect();
    assert_eq!(expected.len(), 10);
    assert_eq!(lines, expected, "{said:#}");
    assert!(
        said.to_string().contains("data-dir"),
        "the key that is meant: {said:#}"
    );
    for line in expected {
        assert!(
            text.err.contains(&format!("postern.toml:{line}:")),
            "line {line}: {}",
            text.err
        );
    }
}

#[test]
fn the_default_file_has_no_mistake() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let sample = postern(folder.path(), &["config", "default"]);
    assert_eq!(sample.code, Some(0), "{sample:?}");
    fs::write(folder.path().join("postern.toml"), &sample.out).expect("writable");
    // The sample is all comments; with them taken away every default is written out.
    let written: String = sample.out.lines().filter_map(uncomment).collect();
    assert!(written.lines().count() > 50, "{written}");
    for content in [&sample.out, &written] {
        fs::write(folder.path().join("postern.toml"), content).expect("writable");
        let check = postern(folder.path(), &["check"]);
        assert_eq!(check.code, Some(0), "{check:?}\n{content}");
    }
}

/// A commented-out setting without its mark: `#key = value` or a table's head.
fn uncomment(line: &str) -> Option<String> {
    let setting = line.strip_prefix('#').unwrap_or(line);
    let is_setting =
        setting.starts_with('[') || setting.starts_with(|first: char| first.is_ascii_lowercase());
    is_setting.then(|| format!("{setting}\n"))
}
