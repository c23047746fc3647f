//! Which route a request comes to: order, hosts, methods, fields, conflicts, and many routes at once.

use super::*;
use crate::{headers::Headers, http::HttpStatus, text::Text};

/// A route of `path`; the parts of `rule` are `host=`, `method=`, `header=`, `query=`, `listener=`.
fn route(name: &str, path: &str, rule: &str) -> HttpRoute {
    let mut route = RouteRule::new(PathTemplate::parse(path).expect("a template"));
    for part in rule.split_whitespace() {
        let (key, value) = part.split_once('=').expect("a part");
        let field = || match value.split_once(':') {
            Some((name, value)) => FieldRule {
                name: name.into(),
                value: Some(value.into()),
            },
            None => FieldRule {
                name: value.into(),
                value: None,
            },
        };
        match key {
            "host" => route.hosts.push(HostPattern::parse(value).expect("a host")),
            "method" => route.methods.push(value.into()),
            "header" => route.headers.push(field()),
            "query" => route.query.push(field()),
            "listener" => route.listeners.push(value.into()),
            other => panic!("{other} is no part"),
        }
    }
    HttpRoute {
        name: name.into(),
        rule: route,
        end: RouteEnd::Fixed(FixedEnd {
            status: HttpStatus::new(200).expect("a status"),
            headers: Headers::new(),
            body: name.to_owned().into(),
        }),
        status: None,
        headers: Headers::new(),
        has_problems: false,
        timeout_ms: None,
    }
}

fn table(routes: &[(&str, &str, &str)]) -> RouteTable {
    let routes = routes.iter();
    RouteTable::new(routes.map(|(name, path, rule)| route(name, path, rule)))
}

/// `METHOD //HOST/PATH?QUERY NAME:VALUE...` through listener `http`.
fn find(table: &RouteTable, request: &str) -> String {
    let mut parts = request.split_whitespace();
    let (method, target) = (
        parts.next().expect("a method"),
        parts.next().expect("a target"),
    );
    let fields: Vec<_> = parts.filter_map(|field| field.split_once(':')).collect();
    let target = target.strip_prefix("//").expect("a host");
    let (authority, rest) = target.split_at(target.find('/').expect("a path"));
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    let path = RequestPath::parse(path).expect("a path");
    let has_header = |name: &str, value: Option<&str>| {
        let mut named = fields.iter().filter(|(known, _)| *known == name);
        named.any(|(_, known)| value.is_none_or(|value| value == *known))
    };
    let request = RouteRequest {
        listener: "http",
        authority,
        method,
        path: &path,
        query,
        has_header: &has_header,
    };
    match table.find(&request) {
        RouteMatch::Route(route) => route.name.to_string(),
        RouteMatch::WrongMethod { allow } => {
            let names: Vec<_> = allow.iter().map(Text::as_str).collect();
            format!("allow {}", names.join(","))
        }
        RouteMatch::WithSlash => "slash".to_owned(),
        RouteMatch::Nothing => "-".to_owned(),
    }
}

#[track_caller]
fn check(routes: &[(&str, &str, &str)], request: &str, expected: &str) {
    assert_eq!(find(&table(routes), request), expected, "{request}");
    // Nothing but the order of equals depends on the order of routes.
    let turned: Vec<_> = routes.iter().rev().copied().collect();
    assert_eq!(
        find(&table(&turned), request),
        expected,
        "{request}, turned"
    );
}

#[test]
fn the_more_specific_path_counts() {
    let routes = [
        ("me", "/users/me", ""),
        ("number", "/users/{id:int}", ""),
        ("user", "/users/{id}", ""),
        ("posts", "/users/{id}/posts", ""),
        ("mine", "/users/me/{what}", ""),
        ("rest", "/users/{rest*}", ""),
        ("all", "/{rest*}", ""),
    ];
    for (path, expected) in [
        ("/users/me", "me"),
        ("/users/7", "number"),
        ("/users/ada", "user"),
        ("/users/7/posts", "posts"),
        ("/users/me/posts", "mine"),
        ("/users/me/a/b", "rest"),
        ("/users/", "rest"),
        ("/users", "all"),
        ("/", "all"),
    ] {
        check(&routes, &format!("GET //h{path}"), expected);
    }
}

#[test]
fn a_less_specific_route_takes_what_the_other_does_not() {
    let routes = [
        ("beta", "/a/b", "header=x-beta:1"),
        ("post", "/a/{x}", "method=POST"),
        ("other", "/{y}/b", ""),
    ];
    check(&routes, "GET //h/a/b x-beta:1", "beta");
    check(&routes, "POST //h/a/b", "post");
    check(&routes, "GET //h/a/b", "other");
    check(&routes, "GET //h/a/c", "allow OPTIONS,POST");
}

#[test]
fn the_more_specific_host_counts_and_others_take_what_is_left() {
    let routes = [
        ("exact", "/x", "host=a.b.example.org"),
        ("near", "/{p}", "host=*.b.example.org"),
        ("far", "/{p*}", "host=*.example.org"),
        ("every", "/y/{p}", ""),
    ];
    check(&routes, "GET //A.b.Example.org.:80/x", "exact");
    check(&routes, "GET //a.b.example.org/z", "near");
    check(&routes, "GET //c.b.example.org/x", "near");
    check(&routes, "GET //a.b.example.org/y/z", "far");
    check(&routes, "GET //example.org/y/z", "every");
    check(&routes, "GET //example.org/x", "-");
    check(&routes, "GET //evilexample.org/x", "-");
    let long = format!("GET //{}.example.org/y/z", "a.".repeat(30_000));
    check(&routes, &long, "every");
}

#[test]
fn methods_fields_and_listeners_make_a_route_specific() {
    let routes = [
        ("any", "/x", ""),
        ("query", "/x", "query=v:2"),
        ("header", "/x", "header=accept"),
        ("both", "/x", "header=accept query=v"),
        ("get", "/x", "method=GET"),
        (
            "other",
            "/x",
            "listener=internal header=accept query=v query=w",
        ),
        ("here", "/x", "listener=http query=v:2"),
    ];
    check(&routes, "PUT //h/x", "any");
    check(&routes, "PUT //h/x?v=1", "any");
    check(&routes, "PUT //h/x?u&v=2", "here");
    check(&routes, "PUT //h/x accept:y", "header");
    check(&routes, "PUT //h/x?v accept:y", "both");
    check(&routes, "GET //h/x?v&w accept:y", "get");
    check(&routes, "HEAD //h/x", "get");
}

#[test]
fn a_method_that_no_route_takes_is_told_what_they_take() {
    let routes = [
        ("list", "/users", "method=GET"),
        ("create", "/users", "method=POST"),
        ("head", "/users", "method=HEAD host=h"),
        ("beta", "/users", "method=PATCH header=x-beta"),
    ];
    check(&routes, "DELETE //h/users", "allow GET,HEAD,OPTIONS,POST");
    check(&routes, "OPTIONS //h/users", "allow GET,HEAD,OPTIONS,POST");
    check(&routes, "HEAD //h/users", "head");
    check(&routes, "HEAD //other/users", "list");
    check(&routes, "get //h/users", "allow GET,HEAD,OPTIONS,POST");
}

#[test]
fn a_missing_slash_is_told_to_those_who_only_read() {
    let routes = [
        ("docs", "/docs/{path*}", "method=GET"),
        ("root", "/{x}/", "method=POST"),
    ];
    check(&routes, "GET //h/docs", "slash");
    check(&routes, "POST //h/docs", "-");
    check(&routes, "GET //h/x", "-");
    check(&routes, "GET //h/docs/", "docs");
}

#[test]
fn equals_are_taken_in_their_order_and_told() {
    let first = (
        "first",
        "/a/{x}",
        "header=p header=q:1 method=GET method=PUT",
    );
    let second = ("second", "/a/{y}", "header=q:1 header=p method=PUT");
    let both = table(&[first, second]);
    assert_eq!(find(&both, "PUT //h/a/b p: q:1"), "first");
    assert_eq!(
        find(&table(&[second, first]), "PUT //h/a/b p: q:1"),
        "second"
    );
    let conflict = RouteConflict {
        first: "first".into(),
        second: "second".into(),
    };
    assert_eq!(both.conflicts().into_iter().collect::<Vec<_>>(), [conflict]);
    for other in [
        ("path", "/a/{x:int}", "header=p header=q:1 method=PUT"),
        ("value", "/a/{x}", "header=p header=q:2 method=PUT"),
        ("method", "/a/{x}", "header=p header=q:1 method=POST"),
        ("query", "/a/{x}", "header=p header=q:1 method=PUT query=v"),
        ("host", "/a/{x}", "header=p header=q:1 method=PUT host=h"),
        (
            "listener",
            "/a/{x}",
            "header=p header=q:1 method=PUT listener=l",
        ),
        ("any", "/a/{x}", "header=p header=q:1"),
    ] {
        assert!(table(&[first, other]).conflicts().is_empty(), "{other:?}");
    }
    let hosts = [("a", "/", "host=x host=y"), ("b", "/", "host=y host=z")];
    assert_eq!(table(&hosts).conflicts().len(), 1);
}

#[test]
fn ten_thousand_routes_are_found_and_compared() {
    let mut routes = Vec::new();
    for n in 0..5_000 {
        routes.push(route(
            &format!("text-{n}"),
            &format!("/r{n}/{{x}}"),
            "method=GET",
        ));
        routes.push(route(
            &format!("value-{n}"),
            "/same",
            &format!("header=h:{n}"),
        ));
    }
    let table = RouteTable::new(routes);
    assert_eq!(find(&table, "GET //h/r4321/a"), "text-4321");
    assert_eq!(find(&table, "GET //h/same h:4999"), "value-4999");
    assert!(table.conflicts().is_empty());
    assert_eq!(
        table.named("text-17").map(|one| one.name.as_str()),
        Some("text-17")
    );
}

/// Where every level has a text and a parameter, a request that fails at its end may visit them all:
/// as many as were written, and not one more.
#[test]
fn a_path_that_fails_late_visits_each_node_once() {
    let mut routes = Vec::new();
    for n in 0..1024_u32 {
        let level = |bit: u32| match n >> bit & 1 {
            0 => "/a".to_owned(),
            _ => format!("/{{p{bit}}}"),
        };
        let path: String = (0..10).map(level).collect();
        routes.push(route(&format!("r{n}"), &format!("{path}/end"), ""));
    }
    let table = RouteTable::new(routes);
    let path = "/a".repeat(10);
    assert_eq!(find(&table, &format!("GET //h{path}/end")), "r0");
    assert_eq!(find(&table, &format!("GET //h{path}/other")), "-");
    assert_eq!(find(&table, &format!("GET //h{}", "/a".repeat(200))), "-");
}
