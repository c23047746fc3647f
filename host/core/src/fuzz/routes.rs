//! A route is found exactly when a template takes the path, and what a client sends leads to no other
//! host.

use std::str;

use crate::{
    headers::Headers,
    http::HttpStatus,
    route::{
        FixedEnd, HostPattern, HttpRoute, LocationTemplate, PathTemplate, RequestPath, RouteEnd,
        RouteMatch, RouteRequest, RouteRule, RouteTable, query_pairs,
    },
};

/// Lines: a path, a query, an authority, a location, and then templates, each with a host after a space
/// where it has one.
pub fn routes(octets: &[u8]) {
    let Ok(text) = str::from_utf8(octets) else {
        return;
    };
    let mut lines = text.lines();
    let mut line = || lines.next().unwrap_or_default();
    let (path, query, authority, location) = (line(), line(), line(), line());
    for pair in query_pairs(query) {
        let _ = pair;
    }
    let routes: Vec<_> = lines.take(ROUTES_MAX).filter_map(route).collect();
    let Ok(path) = RequestPath::parse(path) else {
        return;
    };
    for route in &routes {
        let template = &route.rule.path;
        let (Some(params), Ok(to)) = (
            template.params(&path),
            LocationTemplate::parse(location, template),
        ) else {
            continue;
        };
        assert!(
            params.iter().all(|param| param.kind.reads(&param.value)),
            "a parameter has another type than its own"
        );
        let filled = to.fill(&params);
        let is_local = filled.starts_with('/') && !filled.starts_with("//");
        let host = |text: &str| {
            let (_, rest) = text.split_once("://")?;
            rest.split(['/', '?', '#']).next().map(str::to_owned)
        };
        assert!(
            is_local || (host(&filled).is_some() && host(&filled) == host(location)),
            "{filled} leads to another host"
        );
    }
    let hosted = |route: &&HttpRoute| route.rule.hosts.is_empty();
    let is_taken = |route: &HttpRoute| route.rule.path.params(&path).is_some();
    let is_expected = routes.iter().filter(hosted).any(is_taken);
    let may_be = routes.iter().any(is_taken);
    let table = RouteTable::new(routes);
    let request = RouteRequest {
        listener: "",
        authority,
        method: "GET",
        path: &path,
        query: Some(query),
        has_header: &|_, _| false,
    };
    let found = match table.find(&request) {
        RouteMatch::Route(route) => {
            assert!(
                is_taken(route),
                "a route is found that does not take the path"
            );
            true
        }
        RouteMatch::WrongMethod { .. } | RouteMatch::WithSlash | RouteMatch::Nothing => false,
    };
    assert!(
        found || !is_expected,
        "a route takes the path and is not found"
    );
    assert!(!found || may_be, "no route takes the path and one is found");
    let _ = table.conflicts();
}

fn route(line: &str) -> Option<HttpRoute> {
    let (path, host) = line.split_once(' ').unwrap_or((line, ""));
    let host = HostPattern::parse(host).ok();
    let rule = RouteRule {
        hosts: host.into_iter().collect(),
        ..RouteRule::new(template(path)?)
    };
    let end = FixedEnd {
        status: HttpStatus::new(204).ok()?,
        headers: Headers::new(),
        body: bytes::Bytes::new(),
    };
    Some(HttpRoute {
        name: line.into(),
        rule,
        end: RouteEnd::Fixed(end),
        status: None,
        headers: Headers::new(),
        has_problems: false,
        timeout_ms: None,
    })
}

/// Written either way: what is a template of a rule as well is one of the configuration.
fn template(path: &str) -> Option<PathTemplate> {
    let rule = || PathTemplate::parse_http_rule(path);
    PathTemplate::parse(path).or_else(|_| rule()).ok()
}

const ROUTES_MAX: usize = 64;
