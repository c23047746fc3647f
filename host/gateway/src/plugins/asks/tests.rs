//! What counts as more, part by part.

use super::*;
use crate::config::{Config, Manifest, manifest_schema, quantities};

fn asks(manifest: &str) -> Asks {
    toml::from_str::<toml::Table>(manifest).expect("toml");
    Asks::of(b"", Some(manifest))
}

/// What `after` asks for beyond `before`, as it is told.
fn grown(before: &str, after: &str) -> Vec<String> {
    let quantities = quantities(&Config::default());
    let growth = asks(after).beyond(&asks(before), &quantities);
    growth.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn check(before: &str, after: &str, expected: &[&str]) {
    assert_eq!(grown(before, after), expected, "{before} -> {after}");
}

/// A manifest that says `value` for `key` below `[grants]`.
fn grants(key: &str, value: &str) -> String {
    format!("[grants]\n{key} = {value}\n")
}

#[track_caller]
fn check_grant(key: &str, before: &str, after: &str, expected: &[&str]) {
    check(&grants(key, before), &grants(key, after), expected);
}

#[test]
fn the_same_and_less_are_no_more() {
    let full = "topics = [\"user.*\"]\n[grants]\nservices = [\"a\", \"b\"]\nkv = \"s\"\n\
                [limits]\nmemory = \"64MiB\"\n";
    check(full, full, &[]);
    check(full, "", &[]);
    check(full, "[grants]\nservices = [\"b\"]\n", &[]);
    check(
        "",
        "service = \"x\"\nversion = \"2\"\nlog-level = \"debug\"\n",
        &[],
    );
}

#[test]
fn items_that_no_item_before_covers_are_more() {
    check_grant(
        "services",
        "[\"a\"]",
        "[\"a\", \"b\"]",
        &["grants.services: \"b\""],
    );
    check_grant("services", "[\"*\"]", "[\"acme.users\"]", &[]);
    check_grant(
        "services",
        "[\"a\"]",
        "[\"*\"]",
        &["grants.services: \"*\""],
    );
    check_grant("files", "[\"d:/d:rw\"]", "[\"d:/d\"]", &[]);
    check_grant(
        "files",
        "[\"d:/d\"]",
        "[\"d:/d:rw\"]",
        &["grants.files: \"d:/d:rw\""],
    );
    check_grant("events", "[\"user.*\"]", "[\"user.made\"]", &[]);
    check_grant("events", "[\"user.>\"]", "[\"user.a.b\"]", &[]);
    check_grant(
        "events",
        "[\"user.*\"]",
        "[\"user.a.b\"]",
        &["grants.events: \"user.a.b\""],
    );
    check_grant(
        "events",
        "[\"user.*\"]",
        "[\"user.>\"]",
        &["grants.events: \"user.>\""],
    );
    check_grant("directory", "[\"*\"]", "[\"users\"]", &[]);
    check_grant(
        "directory",
        "[\"users\"]",
        "[\"*\"]",
        &["grants.directory: \"*\""],
    );
    check_grant("events", "[\"*\"]", "[\">\"]", &["grants.events: \">\""]);
    check(
        "topics = [\"a\"]",
        "topics = [\"a\", \"b\"]",
        &["topics: \"b\""],
    );
}

#[test]
fn a_star_of_a_grant_covers_what_it_allows_and_no_more() {
    for local in [
        "localhost:8080",
        "a.localhost:80",
        "127.0.0.1:8080",
        "[::1]:80",
        "http://localhost:1",
    ] {
        let after = format!("[{local:?}]");
        let told = format!("grants.http: {local:?}");
        for before in ["[\"*:*\"]", "[\"*.*:*\"]", "[\"*\", \"http://*:*\"]"] {
            check_grant("http", before, &after, &[&told]);
        }
        check_grant("http", &after, &after, &[]);
    }
    check_grant(
        "http",
        "[\"*\"]",
        "[\"localhost\"]",
        &["grants.http: \"localhost\""],
    );
    check_grant("http", "[\"*:*\"]", "[\"intern:8080\"]", &[]);
    check_grant("http", "[\"*.example\"]", "[\"a.example\"]", &[]);
    let told = ["grants.files: \"/srv/secret:/d\""];
    check_grant("files", "[\"/srv/*:/d\"]", "[\"/srv/secret:/d\"]", &told);
}

#[test]
fn another_store_and_another_name_of_the_environment_are_more() {
    check_grant("kv", "\"a\"", "\"b\"", &["grants.kv: \"b\""]);
    check("", &grants("kv", "\"b\""), &["grants.kv: \"b\""]);
    check_grant("env", "{ LANG = \"C\" }", "{ LANG = \"de\" }", &[]);
    let told = ["grants.env.HOME: \"/\""];
    check_grant(
        "env",
        "{ LANG = \"C\" }",
        "{ LANG = \"C\", HOME = \"/\" }",
        &told,
    );
}

/// Whatever a grant is written as: tables, lists of tables, switches, numbers.
#[test]
fn grants_that_are_not_known_here_are_compared_all_the_same() {
    let told = ["grants.http.hosts: \"b.example\""];
    check_grant(
        "http",
        "{ hosts = [\"a.example\"] }",
        "{ hosts = [\"b.example\"] }",
        &told,
    );
    check_grant(
        "http",
        "{ hosts = [\"*.example\"] }",
        "{ hosts = [\"a.example\"] }",
        &[],
    );
    let told = ["grants.http: {\"host\":\"a\",\"methods\":[\"GET\",\"PUT\"]}"];
    let before = "[{ host = \"a\", methods = [\"GET\"] }]";
    let after = "[{ host = \"a\", methods = [\"GET\", \"PUT\"] }]";
    check_grant("http", before, after, &told);
    check_grant("http", after, before, &[]);
    check_grant(
        "sockets",
        "{ udp = false }",
        "{ udp = true }",
        &["grants.sockets.udp: true"],
    );
    check_grant("sockets", "{ max = 2 }", "{ max = 1 }", &[]);
    check_grant(
        "sockets",
        "{ max = 2 }",
        "{ max = 3 }",
        &["grants.sockets.max: 3 instead of 2"],
    );
}

/// Every key that `[grants]` has, also those that are added later.
#[test]
fn every_key_of_grants_that_was_not_written_is_more() {
    let schema = manifest_schema();
    let keys = schema.pointer("/properties/grants/properties");
    let keys = keys.and_then(Json::as_object).expect("a table");
    assert!(keys.len() >= 5, "{keys:?}");
    for key in keys.keys() {
        for value in ["\"x\"", "[\"x\"]", "{ x = \"x\" }", "true", "1"] {
            let grown = grown("", &grants(key, value));
            assert_eq!(grown.len(), 1, "{key} = {value}: {grown:?}");
        }
    }
}

#[test]
fn a_quantity_is_more_by_what_holds_where_nothing_is_written() {
    let memory = |size: &str| format!("[limits]\nmemory = \"{size}\"\n");
    check("", &memory("64MiB"), &[]);
    check(
        "",
        &memory("1GiB"),
        &["limits.memory: \"1GiB\" instead of \"64MiB\""],
    );
    check(&memory("1GiB"), &memory("64MiB"), &[]);
    check(
        &memory("1MiB"),
        "",
        &["limits.memory: \"64MiB\" instead of \"1MiB\""],
    );
    check("", "[limits]\ntime = \"1000ms\"\n", &[]);
    let told = ["budgets.interceptor: \"6ms\" instead of \"5ms\""];
    check("", "[budgets]\ninterceptor = \"6ms\"\n", &told);
    check(
        "",
        "[instances]\nmax = 33\n",
        &["instances.max: 33 instead of 32"],
    );
    check("", "[instances]\nmode = \"single\"\n", &[]);
}

#[test]
fn a_plugin_that_comes_to_stand_in_the_way_of_calls_asks_for_more() {
    let (on, few) = ("[extension]\nenabled = true\n", "calls = [\"users/*\"]\n");
    check("", on, &["extension.enabled: true"]);
    check(on, "", &[]);
    check(on, &format!("{on}{few}"), &[]);
    check(&format!("{on}{few}"), on, &["extension.calls: \"*/*\""]);
    check("", &format!("[extension]\n{few}"), &[]);
    let at = |names: &str| format!("{on}listeners = [{names}]\n");
    check(on, &at("\"http\""), &[]);
    check(&at("\"http\""), on, &["extension.listeners: all"]);
    let told = ["extension.listeners: \"vstp\""];
    check(&at("\"http\""), &at("\"vstp\""), &told);
}

#[test]
fn differences_are_bounded_and_steer_no_terminal() {
    let names: Vec<_> = (0..GROWTH_MAX + 2).map(|n| format!("\"{n:03}\"")).collect();
    let grown_to = grown("", &grants("services", &format!("[{}]", names.join(", "))));
    assert_eq!(grown_to.len(), GROWTH_MAX + 1);
    assert_eq!(grown_to.last().map(String::as_str), Some("more: 2 things"));
    let long = grown("", &grants("kv", &format!("\"{}\"", "x".repeat(1000))));
    assert!(long[0].len() < 250 && long[0].ends_with("..."), "{long:?}");
    let steering = grown("", &grants("env", "{ \"a\\u001b[2Jb\" = \"c\\u001bd\" }"));
    assert_eq!(steering, ["grants.env.a [2Jb: \"c\\u001bd\""]);
}

#[test]
fn imports_that_reach_beyond_the_plugin_are_told_without_their_versions() {
    let of = |imports: &[&str]| {
        let imports = imports.iter();
        let imports = imports.map(|name| format!("(import \"{name}\" (instance))"));
        let text = format!("(component {})", imports.collect::<String>());
        Asks::of(&wat::parse_str(text).expect("a component"), None)
    };
    let before = of(&["postern:gateway/kv@0.1.0", "postern:gateway/log@0.1.0"]);
    let after = of(&[
        "postern:gateway/kv@0.1.1",
        "postern:gateway/client@0.1.0",
        "wasi:io/streams@0.2.9",
    ]);
    let more = after.beyond(&before, &BTreeMap::new());
    assert_eq!(more, [Growth::new("imports", "postern:gateway/client")]);
    assert_eq!(before.beyond(&after, &BTreeMap::new()), []);
}

#[test]
fn what_is_no_component_and_no_manifest_asks_for_nothing() {
    assert_eq!(Asks::of(b"broken", Some("[[[")), Asks::default());
    Manifest::parse("m", "[[[", &Config::default()).expect_err("it is refused elsewhere");
}
