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
fn the_sample_file_has_no_mistake_and_every_key() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let sample = postern(folder.path(), &["config", "default"]);
    assert_eq!(sample.code, Some(0), "{sample:?}");
    fs::write(folder.path().join("postern.toml"), &sample.out).expect("writable");
    let check = postern(folder.path(), &["check"]);
    assert_eq!(check.code, Some(0), "{check:?}\n{}", sample.out);

    let schema = postern(folder.path(), &["config", "schema"]);
    let schema: Value = serde_json::from_str(&schema.out).expect("the schema is json");
    let mut keys = Vec::new();
    collect_keys(&schema, &mut keys);
    assert!(keys.len() > 50, "{keys:?}");
    let is_shown = |key: &str| {
        let shown = |line: &str| {
            line.trim_start_matches(['#', ' '])
                .starts_with(&format!("{key} ="))
        };
        sample.out.lines().any(shown)
    };
    let missing: Vec<_> = keys.iter().filter(|key| !is_shown(key)).collect();
    assert!(missing.is_empty(), "not in the sample file: {missing:?}");
}

/// The names of all settings below `schema`; a table has properties of its own instead.
fn collect_keys(schema: &Value, keys: &mut Vec<String>) {
    let Some(properties) = schema["properties"].as_object() else {
        return;
    };
    for (key, property) in properties {
        if property["properties"].is_object() {
            collect_keys(property, keys);
        } else if property["type"] != "object" {
            keys.push(key.clone());
        }
    }
}
