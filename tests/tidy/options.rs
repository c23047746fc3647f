//! The tables of options in `host/docs/transports.md`, `host/docs/grpc.md` and `host/docs/grpc-upstreams.md`: each has
//! a key of ours, with the default that the tables of all keys have for it, and a test that is there.

use std::collections::BTreeMap;

use crate::{assert_none, read, settings};

/// The columns of a row, without what quotes them.
fn columns(line: &str) -> Vec<&str> {
    let columns = line.trim_matches('|').split(" |").map(str::trim);
    columns.map(|column| column.trim_matches('`')).collect()
}

fn rows(table: &str) -> Vec<String> {
    let text = read(table);
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    rows.map(str::to_owned).collect()
}

/// The default of every key, as the tables of all keys say it.
fn defaults() -> BTreeMap<String, String> {
    let mut defaults = BTreeMap::new();
    for line in rows("host/docs/configuration.md") {
        if let [key, default, ..] = columns(&line)[..] {
            defaults.insert(key.to_owned(), default.to_owned());
        }
    }
    for line in rows("host/docs/resilience.md") {
        // The first table begins with the documents' own names.
        if let [_, key, default, _, _] | [key, default, _, _] = columns(&line)[..] {
            defaults.insert(format!("services.default.{key}"), default.to_owned());
        }
    }
    defaults
}

#[test]
fn every_option_of_transports_has_a_key_a_default_and_a_test() {
    let (defaults, tests) = (defaults(), settings::tests());
    let (mut faults, mut n_rows) = (Vec::new(), 0);
    let text = read("host/docs/transports.md");
    let rows = text.lines().filter(|line| line.starts_with("| "));
    for line in rows {
        let [option, key, default, _unit, shown] = columns(line)[..] else {
            continue;
        };
        if option == "document's option" || option.starts_with("---") {
            continue;
        }
        n_rows += 1;
        match defaults.get(key) {
            None => faults.push(format!("{option}: {key} is no key")),
            Some(known) if known != default => {
                faults.push(format!(
                    "{option}: the default of {key} is {known:?}, not {default:?}"
                ));
            }
            Some(_) => {}
        }
        if !tests.contains_key(shown) {
            faults.push(format!("{option}: there is no test {shown:?}"));
        }
    }
    assert!(n_rows > 30, "found only {n_rows} rows");
    assert_none(&faults);
}

#[test]
fn every_option_of_grpc_has_a_key_its_default_and_a_test() {
    const PAGES: [(&str, &str); 2] = [
        ("host/docs/grpc.md", "listeners.NAME"),
        ("host/docs/grpc-upstreams.md", "services.default"),
    ];
    let (defaults, tests) = (defaults(), settings::tests());
    let (mut faults, mut n_rows) = (Vec::new(), 0);
    for (page, table) in PAGES {
        let text = read(page);
        let rows = text
            .lines()
            .skip_while(|line| *line != "| key | default | unit | test |");
        for line in rows.skip(2).take_while(|line| !line.is_empty()) {
            let [key, default, _unit, shown] = columns(line)[..] else {
                faults.push(format!("{page}: not four columns: {line}"));
                continue;
            };
            n_rows += 1;
            let key = format!("{table}.{key}");
            match defaults.get(&key) {
                None => faults.push(format!("{page}: {key} is no key")),
                Some(known) if known != default => {
                    faults.push(format!(
                        "{page}: the default of {key} is {known:?}, not {default:?}"
                    ));
                }
                Some(_) => {}
            }
            if !tests.contains_key(shown) {
                faults.push(format!("{page}: {key}: there is no test {shown:?}"));
            }
        }
    }
    assert!(n_rows > 25, "found only {n_rows} rows");
    assert_none(&faults);
}
