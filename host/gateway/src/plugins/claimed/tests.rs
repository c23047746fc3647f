//! Which claims cover which.

use postern_core::route::PathTemplate;

use super::*;
use crate::config;

/// The claim of a route with these keys.
fn route(keys: &str) -> ClaimedRoute {
    let text = format!("[routes.a]\n{keys}\nfixed = {{ status = 204 }}\n");
    let parsed = config::parse("x", &text, &std::collections::BTreeMap::new());
    let (config, _) = parsed.unwrap_or_else(|faults| panic!("{keys}: {faults}"));
    ClaimedRoute::of(&config.routes["a"].to_route("a").expect("a route"))
}

fn path(path: &str) -> ClaimedRoute {
    route(&format!("path = \"{path}\""))
}

#[track_caller]
fn check(known: &ClaimedRoute, asked: &ClaimedRoute, expected: bool) {
    assert_eq!(known.covers(asked), expected, "{known} / {asked}");
}

#[track_caller]
fn check_path(known: &str, asked: &str, expected: bool) {
    check(&path(known), &path(asked), expected);
}

#[test]
fn a_path_covers_what_it_takes() {
    check_path("/a", "/a", true);
    check_path("/a", "/b", false);
    check_path("/a", "/a/b", false);
    check_path("/a/b", "/a", false);
    check_path("/a/{id}", "/a/{other}", true);
    check_path("/a/{id}", "/a/b", true);
    check_path("/a/b", "/a/{id}", false);
    check_path("/a/{id}", "/a/{id:int}", true);
    check_path("/a/{id:int}", "/a/{id}", false);
    check_path("/a/{id:int}", "/a/{n:int}", true);
    check_path("/a/{id:int}", "/a/7", false);
    check_path("/a/{rest*}", "/a/b/{id}", true);
    check_path("/a/{rest*}", "/a/{rest*}", true);
    check_path("/a/{rest*}", "/a", false);
    check_path("/a/{id}", "/a/{rest*}", false);
    check_path("/a/{id}", "/a/", false);
    check_path("/{rest*}", "/", true);
}

#[test]
fn a_path_of_a_schema_covers_what_it_takes() {
    let rule = |path: &str| ClaimedRoute {
        path: PathTemplate::parse_http_rule(path)
            .expect("a template")
            .form()
            .to_string(),
        ..ClaimedRoute::default()
    };
    let books = rule("/v1/{name=shelves/*/books/*}");
    check(&books, &rule("/v1/shelves/{a}/books/{b}"), true);
    check(&books, &path("/v1/shelves/{id}/books/7"), true);
    check(&books, &rule("/v1/{name=shelves/*}"), false);
    let moved = rule("/v1/{name=shelves/*/books/*}:move");
    check(&books, &moved, true);
    check(&moved, &books, false);
    check(&moved, &rule("/v1/{name=shelves/*/books/*}:drop"), false);
    let all = rule("/v1/{name=**}");
    check(&all, &path("/v1"), true);
    check(&all, &path("/v1/{rest*}"), true);
    check(&path("/v1/{rest*}"), &all, false);
    check(&all, &books, true);
    check(&path("/v1/{id}"), &all, false);
}

#[test]
fn methods_hosts_listeners_and_fields_may_only_be_fewer() {
    let of = |keys: &str| route(&format!("path = \"/a\"\n{keys}"));
    for (all, one, other) in [
        ("", "methods = [\"GET\"]", "methods = [\"PUT\"]"),
        ("", "hosts = [\"a.example\"]", "hosts = [\"b.example\"]"),
        ("", "headers = { x = \"1\" }", "headers = { x = \"2\" }"),
        ("", "query = { x = \"1\" }", "query = { y = \"1\" }"),
    ] {
        check(&of(all), &of(one), true);
        check(&of(one), &of(all), false);
        check(&of(one), &of(other), false);
        check(&of(one), &of(one), true);
    }
    check(
        &of("methods = [\"GET\"]"),
        &of("methods = [\"HEAD\"]"),
        true,
    );
    let below = of("hosts = [\"*.example\"]");
    check(
        &below,
        &of("hosts = [\"a.example\", \"b.c.example\"]"),
        true,
    );
    check(&below, &of("hosts = [\"example\"]"), false);
    check(&below, &of("hosts = [\"an-example\"]"), false);
    check(&of("hosts = [\"a.example\"]"), &below, false);
}

#[test]
fn what_is_new_is_told_in_its_order() {
    let before = Claimed {
        services: ["users".to_owned()].into(),
        routes: vec![path("/users/{id}")],
    };
    let after = Claimed {
        services: ["payments".to_owned(), "users".to_owned()].into(),
        routes: vec![
            path("/users/{id}"),
            route(
                "path = \"/pay\"\nmethods = [\"PUT\", \"GET\"]\nhosts = [\"a.example\"]\nheaders = { X-A = \"1\" }",
            ),
            path("/users"),
        ],
    };
    let grown = |after: &Claimed, before: &Claimed| -> Vec<String> {
        let growth = after.beyond(before);
        growth.iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        grown(&after, &before),
        [
            "routes: GET,PUT a.example/pay where header x-a=1",
            "routes: every method /users",
            "services: \"payments\"",
        ]
    );
    assert_eq!(grown(&before, &after), [""; 0]);
    assert_eq!(grown(&after, &before.clone().with(&after)), [""; 0]);
    let line = serde_json::to_string(&after).expect("json");
    assert_eq!(serde_json::from_str::<Claimed>(&line).expect("json"), after);
}

#[test]
fn claims_are_bounded_where_they_are_told() {
    let services: Vec<_> = (0..100).map(|n| format!("s{n:03}")).collect();
    let after = Claimed::of(services.iter().map(String::as_str), &[]);
    let growth = after.beyond(&Claimed::default());
    assert_eq!(growth.len(), 65);
    assert_eq!(
        growth.last().map(ToString::to_string).as_deref(),
        Some("more: 36 things")
    );
}
