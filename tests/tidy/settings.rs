//! Every key of the configuration has a test of what it does, and is read outside of `config/`.
//!
//! The tables of `host/docs/configuration.md`, `host/docs/resilience.md` and `host/docs/bridges.md` name
//! tests for each key.
//! A test counts when it is there, when the file that holds it names the key, and when it is not one
//! of `config/`, which show only that a key is read. A test of a crate that does not know the
//! configuration may know the key by another name; the row says which.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{Source, assert_none, read, sources};

const TABLES: [&str; 5] = [
    "host/docs/bridges.md",
    "host/docs/configuration.md",
    "host/docs/events.md",
    "host/docs/resilience.md",
    "host/docs/stores.md",
];

/// Files of `config/` that make another part's type of a section, which that part reads.
const HANDED_ON: [&str; 19] = [
    "config/acme.rs",
    "config/admission.rs",
    "config/bridges.rs",
    "config/canary.rs",
    "config/channels.rs",
    "config/events.rs",
    "config/forwarded.rs",
    "config/grpc_service_config.rs",
    "config/manifest.rs",
    "config/policy.rs",
    "config/pool.rs",
    "config/routes.rs",
    "config/service_grpc.rs",
    "config/service_http.rs",
    "config/service_velithon.rs",
    "config/stores.rs",
    "config/topics.rs",
    "config/traps.rs",
    "config/vyra.rs",
];

/// Tables that a manifest shares with the configuration, where their keys are listed.
const SHARED: [&str; 6] = [
    "extension.",
    "instances.",
    "limits.",
    "policy.",
    "routes.",
    "traps.",
];

/// One row: the tests of a key.
struct Row {
    table: &'static str,
    key: String,
    tests: Vec<String>,
    /// How the tests' files name the key, where not as the configuration does.
    alias: Option<String>,
}

#[test]
fn every_key_has_a_test_of_its_effect() {
    let (keys, rows) = (keys(), rows());
    let tests = tests();
    let mut faults = Vec::new();
    for key in &keys {
        let own: Vec<_> = rows.iter().filter(|row| row.key == *key).collect();
        if own.is_empty() {
            faults.push(format!("{key}: no table names a test of its effect"));
        }
        faults.extend(own.iter().flat_map(|row| faults_of(row, &tests)));
        // Several options of the documents may be one key of ours, in the table of those.
        if own
            .iter()
            .any(|row| row.table != own.first().map_or("", |row| row.table))
        {
            faults.push(format!("{key}: it stands in two tables"));
        }
    }
    let unknown = rows.iter().filter(|row| !keys.contains(&row.key));
    faults.extend(unknown.map(|row| format!("{}: there is no such key", row.key)));
    assert_none(&faults);
}

#[test]
fn every_key_is_read_outside_of_the_configuration() {
    // What parses, compares or renders keys does not use them.
    let is_user = |source: &Source| {
        let is_parser = source.path.contains("/config/")
            && !HANDED_ON.iter().any(|file| source.path.ends_with(file));
        !is_parser && !source.path.contains("tests")
    };
    let users: String = sources("host/gateway/src", &[".rs"])
        .into_iter()
        .filter(is_user)
        .map(|source| without_tests(&source.text).to_owned())
        .collect();
    let mut faults = Vec::new();
    for key in keys() {
        let field = format!(".{}", last(&key).replace('-', "_"));
        if !mentions(&users, &field) {
            faults.push(format!("{key}: nothing outside of config/ reads {field}"));
        }
    }
    assert_none(&faults);
}

/// Options that the documents name, each with one of our keys, its default and its test.
#[test]
fn options_of_tls_and_transports_have_a_key_its_default_and_a_test() {
    let (schema, tests) = (postern::testing::schema(), tests());
    let table = read("host/docs/tls.md");
    let mut faults = Vec::new();
    let mut n_rows = 0;
    for line in table.lines().filter(|line| line.starts_with("| ")) {
        let columns: Vec<_> = line.trim_matches('|').split(" |").map(str::trim).collect();
        let [option, key, default, _, test] = columns.as_slice() else {
            continue;
        };
        let cells = [key, default, test].map(|cell| cell.trim_matches('`'));
        let [key, default, test] = cells;
        if key == "our key" || key.starts_with('-') {
            continue;
        }
        n_rows += 1;
        let pointer = match key.split_once('.') {
            Some(("upstream-tls", _)) => pointer_of(key),
            _ => {
                format!("{}{}", pointer_of("listeners"), "/additionalProperties") + &pointer_of(key)
            }
        };
        match schema.pointer(&pointer) {
            None => faults.push(format!("{option}: there is no key {key}")),
            Some(found) => {
                let written = found.get("default");
                let expected = serde_json::from_str::<Value>(default).ok();
                if written != expected.as_ref() {
                    faults.push(format!("{option}: the default of {key} is {written:?}"));
                }
            }
        }
        if !tests.contains_key(test) {
            faults.push(format!("{option}: there is no test {test:?}"));
        }
    }
    assert!(n_rows > 20, "found only {n_rows} rows");
    assert_none(&faults);
}

/// Where the schema of `key` stands in that of its table.
fn pointer_of(key: &str) -> String {
    key.split('.')
        .map(|part| format!("/properties/{part}"))
        .collect()
}

#[test]
fn a_row_is_good_when_its_test_is_there_and_names_the_key() {
    let source = |path: &str, text: &str| Source {
        path: path.to_owned(),
        text: text.to_owned(),
    };
    let found = tests_in(&[
        source(
            "a.rs",
            "#[test]\nfn good() {\n    \"\\nidle-timeout = 1\"\n}\nfn no_test() {}\n",
        ),
        source(
            "b.rs",
            "#[tokio::test(start_paused = true)]\nasync fn other() { idle_max }\n",
        ),
        source(
            "host/gateway/src/config/tests.rs",
            "#[test]\nfn parsed() { idle_timeout }\n",
        ),
    ]);
    let check = |tests: &str, alias: Option<&str>, is_good: bool| {
        let row = Row {
            table: "",
            key: "pool.idle-timeout".to_owned(),
            tests: tests.split_whitespace().map(str::to_owned).collect(),
            alias: alias.map(str::to_owned),
        };
        let faults = faults_of(&row, &found);
        assert_eq!(faults.is_empty(), is_good, "{tests}: {faults:?}");
    };
    check("good", None, true);
    check("", None, false);
    check("good nobody", None, false);
    check("no_test", None, false);
    check("nobody", None, false);
    check("other", None, false);
    check("other", Some("idle_max"), true);
    check("parsed", None, false);
    assert!(!mentions("idle_timeout_max", "idle_timeout"));
}

fn faults_of(row: &Row, found: &BTreeMap<String, Vec<Source>>) -> Vec<String> {
    if row.tests.is_empty() {
        return vec![format!("{}: its row names no test", row.key)];
    }
    let tests = row.tests.iter();
    tests
        .filter_map(|test| fault_of(row, test, found))
        .collect()
}

fn fault_of(row: &Row, test: &str, found: &BTreeMap<String, Vec<Source>>) -> Option<String> {
    let Row {
        table, key, alias, ..
    } = row;
    let Some(files) = found.get(test) else {
        return Some(format!("{key}: there is no test {test:?}"));
    };
    let names = match alias {
        // The tests of resilience.md are mostly those of machines with words of their own.
        None if table.contains("resilience") => vec![test.to_owned()],
        Some(alias) => vec![alias.clone()],
        None => vec![last(key).to_owned(), last(key).replace('-', "_")],
    };
    let shows = |file: &&Source| {
        let is_reading = file.path.starts_with("host/gateway/src/config/")
            && !file.path.ends_with("config/extensions.rs");
        !is_reading && names.iter().any(|name| mentions(&file.text, name))
    };
    let is_shown = files.iter().any(|file| shows(&file));
    (!is_shown).then(|| {
        format!(
            "{key}: the file of {test} does not name {}",
            names.join(" or ")
        )
    })
}

/// The last part of a key: how tests write it.
fn last(key: &str) -> &str {
    key.rsplit(['.', ' ']).next().unwrap_or(key)
}

/// Whether `name` stands in `text` as a word of its own.
fn mentions(text: &str, name: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    text.match_indices(name).any(|(at, _)| {
        let (before, rest) = text.split_at(at);
        let begins = name.starts_with('.') || before.ends_with("\\n") || !before.ends_with(is_part);
        begins
            && !rest
                .get(name.len()..)
                .unwrap_or_default()
                .starts_with(is_part)
    })
}

fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or(text)
}

/// Every test of the tree outside of this crate's rules, by name, with the files that have it.
pub(crate) fn tests() -> BTreeMap<String, Vec<Source>> {
    let folders = ["host", "tests/gateway", "tests/harness"];
    let all = folders.iter().flat_map(|folder| sources(folder, &[".rs"]));
    tests_in(&all.collect::<Vec<_>>())
}

fn tests_in(files: &[Source]) -> BTreeMap<String, Vec<Source>> {
    let mut found: BTreeMap<String, Vec<Source>> = BTreeMap::new();
    for file in files {
        let mut is_test = false;
        for line in file.text.lines().map(str::trim) {
            let is_attribute = line.starts_with("#[");
            is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
            // Bodies that a macro runs over every link are tests, too.
            let is_body = line.starts_with("async fn") && line.contains("(link: Link)");
            let name = line
                .split("fn ")
                .nth(1)
                .and_then(|rest| rest.split('(').next());
            if let Some(name) = name.filter(|_| is_test || is_body) {
                let file = Source {
                    path: file.path.clone(),
                    text: file.text.clone(),
                };
                found.entry(name.to_owned()).or_default().push(file);
            }
            is_test &= is_attribute;
        }
    }
    found
}

fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for table in TABLES {
        let text = read(table);
        for line in text.lines().filter(|line| line.starts_with("| `")) {
            let columns: Vec<_> = line.trim_matches('|').split(" |").map(str::trim).collect();
            // The first table of resilience.md begins with the documents' own names.
            let key = match columns.len() {
                5 => columns.get(1),
                _ => columns.first(),
            };
            let (Some(key), Some(test)) = (key, columns.last()) else {
                continue;
            };
            let (tests, alias) = test.split_once(" as ").unwrap_or((test, ""));
            let names = |text: &str| -> Vec<String> {
                let quoted = text.split('`').skip(1).step_by(2);
                quoted.map(str::to_owned).collect()
            };
            let key = key.trim_matches('`');
            let is_policy = table.contains("resilience")
                && !key.starts_with("pool.")
                && !key.starts_with("directory.");
            rows.push(Row {
                table,
                key: match is_policy {
                    true => format!("services.default.{key}"),
                    false => key.to_owned(),
                },
                tests: names(tests),
                alias: names(alias).pop(),
            });
        }
    }
    assert!(rows.len() > 150, "found only {} rows", rows.len());
    rows
}

/// Every key of the configuration, and of a manifest after `manifest `.
fn keys() -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    collect(&postern::testing::schema(), "", &mut keys);
    // What holds for every service is listed once.
    keys.retain(|key| !key.starts_with("services.NAME."));
    let mut own = BTreeSet::new();
    collect(&postern::testing::manifest_schema(), "", &mut own);
    own.retain(|key| !SHARED.iter().any(|shared| key.starts_with(shared)));
    keys.extend(own.into_iter().map(|key| format!("manifest {key}")));
    assert!(keys.len() > 200, "found only {} keys", keys.len());
    keys
}

fn collect(schema: &Value, above: &str, keys: &mut BTreeSet<String>) {
    let properties = schema.pointer("/properties").and_then(Value::as_object);
    for (name, property) in properties.into_iter().flatten() {
        let path = match above {
            "" => name.clone(),
            above => format!("{above}.{name}"),
        };
        let has_keys = |schema: &&Value| schema.pointer("/properties").is_some();
        let template = property.pointer("/additionalProperties").filter(has_keys);
        if let Some(template) = template {
            collect(template, &format!("{path}.NAME"), keys);
            // The one table whose name has a meaning.
            if let Some(default) = property.pointer("/properties/default") {
                collect(default, &format!("{path}.default"), keys);
            }
        } else if has_keys(&property) {
            collect(property, &path, keys);
        } else {
            keys.insert(path);
        }
    }
}
