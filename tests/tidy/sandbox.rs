//! The table of limits in `host/docs/sandbox.md`: each is a key with the default that the tables of all keys have
//! for it, and a test that is there; and each limit of a plugin is in it.

use std::collections::BTreeMap;

use crate::{assert_none, read, settings};

/// The columns of a row, without what quotes them.
fn columns(line: &str) -> Vec<&str> {
    let columns = line.trim_matches('|').split(" |").map(str::trim);
    columns.map(|column| column.trim_matches('`')).collect()
}

/// The default of every key, as the table of all keys says it.
fn defaults() -> BTreeMap<String, String> {
    let text = read("host/docs/configuration.md");
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    let pairs = rows.filter_map(|row| match columns(row)[..] {
        [key, default, ..] => Some((key.to_owned(), default.to_owned())),
        _ => None,
    });
    pairs.collect()
}

#[test]
fn every_limit_of_a_plugin_is_in_the_table_of_the_sandbox_with_its_default_and_a_test() {
    let (defaults, tests) = (defaults(), settings::tests());
    let mut faults = Vec::new();
    let text = read("host/docs/sandbox.md");
    let mut told = Vec::new();
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        let [limit, key, default, _unit, _outcome, _reason, shown] = columns(line)[..] else {
            continue;
        };
        if key == "our key" || key.starts_with('-') {
            continue;
        }
        told.push(key.to_owned());
        match defaults.get(key) {
            None => faults.push(format!("{limit}: {key} is no key")),
            Some(known) if known != default => {
                let fault = format!("{limit}: the default of {key} is {known}, not {default}");
                faults.push(fault);
            }
            Some(_) => {}
        }
        if !tests.contains_key(shown) {
            faults.push(format!("{limit}: there is no test {shown:?}"));
        }
    }
    let limits = defaults
        .keys()
        .filter(|key| key.starts_with("plugins.limits."));
    let missing = limits.filter(|key| !told.contains(key) && !key.ends_with(".log-burst"));
    faults.extend(missing.map(|key| format!("{key} is not in the table of the sandbox")));
    assert!(told.len() > 15, "found only {} rows", told.len());
    assert_none(&faults);
}
