//! Headers and control data between HTTP's form and the joint's. Every name is the application's but
//! those of the connection; a section of the VSP has names of its own, which stay out of HTTP.
//!
//! **Invariant:** fields cross in both directions without a loss but of what RFC 9110 section 7.6.1 keeps
//! on one connection, and of the order among fields of different names, which means nothing (RFC 9110
//! section 5.3). `http` keeps names in lower case.

use std::{borrow::Cow, collections::HashSet};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use postern_core::{Headers, HttpFacts, Text, headers::HeadersBuilder, vsp::is_hop_header};

use super::{is_hop_by_hop, present::Present};

/// Octets of names and values with every field written out. HPACK sends a field that was sent before
/// in one octet, so what fields take up is not what came over the wire.
pub(super) fn n_octets(map: &HeaderMap) -> usize {
    map.iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 2)
        .sum()
}

/// What `connection` names besides what never passes: fields of this connection, in lower case.
pub(super) fn listed(map: &HeaderMap) -> HashSet<String> {
    // What it most often says, which names no field or one that never passes.
    const OPTIONS: [&str; 3] = ["keep-alive", "close", "upgrade"];
    map.get_all(header::CONNECTION)
        .iter()
        .filter_map(|listed| listed.to_str().ok())
        .flat_map(|listed| listed.split(',').map(str::trim))
        .filter(|item| !OPTIONS.iter().any(|known| item.eq_ignore_ascii_case(known)))
        .map(str::to_ascii_lowercase)
        .collect()
}

/// The headers of a call: all but those of the connection and those that its context holds instead.
/// `n_octets` is room for all of `map`.
pub(super) fn of_request(map: &HeaderMap, present: Present, n_octets: usize) -> Headers {
    if !present.intersects(Present::CONNECTION.union(Present::TIMEOUT)) {
        return collect(map, n_octets, |name| !is_hop_by_hop(name));
    }
    let listed = listed(map);
    collect(map, n_octets, |name| {
        !is_hop_by_hop(name) && !TIMEOUTS.contains(&name) && !listed.contains(name)
    })
}

/// The headers of a reply.
pub(super) fn of_response(map: &HeaderMap) -> Headers {
    let passes = |name: &str| !is_hop_by_hop(name) && name != "date";
    let trailer = map
        .get(header::TRAILER)
        .and_then(|named| named.to_str().ok());
    let Some(trailer) = trailer.filter(|named| named.contains(super::ERROR_HEADER)) else {
        return collect(map, n_octets(map), passes);
    };
    // A trailer of our own is promised again where it may follow.
    let others = trailer.split(',').map(str::trim);
    let others: Vec<_> = others.filter(|name| *name != super::ERROR_HEADER).collect();
    let mut map = map.clone();
    match HeaderValue::from_str(&others.join(", ")) {
        Ok(named) if !others.is_empty() => drop(map.insert(header::TRAILER, named)),
        Ok(_) | Err(_) => drop(map.remove(header::TRAILER)),
    }
    collect(&map, n_octets(&map), passes)
}

/// What follows a body, if anything does.
pub(super) fn of_trailers(map: &HeaderMap) -> Option<Headers> {
    let trailers = collect(map, n_octets(map), |name| name != super::ERROR_HEADER);
    (!trailers.is_empty()).then_some(trailers)
}

/// Headers of a call or reply as HTTP carries them: without those of the connection, what the VSP says
/// in names of its own, and what HTTP cannot write.
pub(super) fn to_map(headers: &Headers) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(headers.entries().count());
    let are_fields = headers.are_fields();
    for (key, value) in headers.iter() {
        if !are_fields && (is_hop_header(key) || key == b"event-type") {
            continue;
        }
        if let (Ok(name), Some(value)) = (HeaderName::from_bytes(key), to_value(headers, value))
            && !is_hop_by_hop(name.as_str())
        {
            map.append(name, value);
        }
    }
    map
}

/// A value of `headers` as HTTP carries it, in their buffer where it stands there in one piece.
pub(super) fn to_value(headers: &Headers, value: Cow<'_, [u8]>) -> Option<HeaderValue> {
    let value = match value {
        Cow::Borrowed(value) => headers.section().slice_ref(value),
        Cow::Owned(value) => value.into(),
    };
    HeaderValue::from_maybe_shared(value).ok()
}

/// What is about the body of a failed call, which is written here, and not the handler's.
const OF_FAILED_BODY: [HeaderName; 7] = [
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::CONTENT_RANGE,
    header::ETAG,
    header::LAST_MODIFIED,
    header::ACCEPT_RANGES,
    // None follow.
    header::TRAILER,
];

/// The headers of a failed call: as of a reply, but for those that are about its body.
pub(super) fn of_failure(headers: Option<&Headers>) -> HeaderMap {
    let mut map = headers.map(to_map).unwrap_or_default();
    for name in OF_FAILED_BODY {
        map.remove(name);
    }
    map
}

/// The headers of a failed call as another gateway answered it: without what its listener adds to those of
/// the handler.
pub(super) fn of_failed_response(map: &HeaderMap) -> Headers {
    let of_listener = |name: &str| {
        [super::ERROR_HEADER, super::CORRELATION_HEADER].contains(&name)
            || [
                header::CONTENT_TYPE,
                header::DATE,
                header::RETRY_AFTER,
                header::WWW_AUTHENTICATE,
            ]
            .iter()
            .chain(&OF_FAILED_BODY)
            .any(|of_listener| of_listener == name)
    };
    collect(map, n_octets(map), |name| {
        !is_hop_by_hop(name) && !of_listener(name)
    })
}

/// The host that a request names; one that is no text was refused before (head.rs, origin.rs).
pub(super) fn authority<'a>(uri: &'a Uri, map: &'a HeaderMap) -> &'a str {
    match uri.authority() {
        Some(authority) => authority.as_str(),
        None => {
            let host = map.get(header::HOST).and_then(|host| host.to_str().ok());
            host.unwrap_or_default()
        }
    }
}

/// The control data of a request. What it is of stands in one buffer.
pub(super) fn facts(method: &Method, uri: &Uri, map: &HeaderMap) -> HttpFacts {
    let (authority, path, query) = (authority(uri, map), uri.path(), uri.query());
    let query_len = query.map_or(0, str::len);
    let mut whole = String::with_capacity(authority.len() + path.len() + query_len);
    for part in [authority, path, query.unwrap_or_default()] {
        whole.push_str(part);
    }
    let whole = Text::from(whole);
    let mut rest = whole.as_str();
    let mut take = |n_octets| {
        let (part, after) = rest.split_at_checked(n_octets).unwrap_or_default();
        rest = after;
        whole.share(part)
    };
    HttpFacts {
        method: method_name(method),
        scheme: match uri.scheme_str() {
            None | Some("http") => Text::from_static("http"),
            Some("https") => Text::from_static("https"),
            Some(other) => Text::from(other),
        },
        authority: take(authority.len()),
        path: take(path.len()),
        query: query.map(|query| take(query.len())),
        ..HttpFacts::default()
    }
}

fn method_name(method: &Method) -> Text {
    match *method {
        Method::GET => Text::from_static("GET"),
        Method::HEAD => Text::from_static("HEAD"),
        Method::POST => Text::from_static("POST"),
        Method::PUT => Text::from_static("PUT"),
        Method::PATCH => Text::from_static("PATCH"),
        Method::DELETE => Text::from_static("DELETE"),
        _ => Text::from(method.as_str()),
    }
}

fn collect(map: &HeaderMap, n_octets: usize, passes: impl Fn(&str) -> bool) -> Headers {
    let mut builder = HeadersBuilder::fields(map.len(), n_octets);
    for (name, value) in map {
        if passes(name.as_str()) {
            // Cannot fail: a field of HTTP is shorter than what fields take.
            let pushed = builder.push(name.as_str(), value);
            debug_assert!(pushed.is_ok());
        }
    }
    builder.build()
}

/// Sets `name` on an outgoing head; a value that HTTP cannot carry is left out.
pub(super) fn set(headers: &mut HeaderMap, name: &'static str, value: &[u8]) {
    if let Ok(value) = HeaderValue::from_bytes(value) {
        headers.insert(name, value);
    }
}

/// Request headers that set the deadline; the first one that is there counts.
pub(super) const TIMEOUTS: [&str; 2] = ["timeout-ms", "x-timeout-ms"];

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> HeaderMap {
        let field = |(name, value): &(&str, &str)| {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            (name, HeaderValue::from_str(value).expect("a value"))
        };
        let mut map = HeaderMap::new();
        for (name, value) in pairs.iter().map(field) {
            map.append(name, value);
        }
        map
    }

    fn of_request_map(map: &HeaderMap) -> Headers {
        of_request(map, Present::of(map), n_octets(map))
    }

    #[test]
    fn names_that_the_vsp_reserves_cross_as_any_other() {
        let names = [
            "version", "status", "method", "code", "type", "service", "stream", "credit",
        ];
        let pairs = names.map(|name| (name, "mine"));
        let headers = of_request_map(&map(&pairs));
        assert_eq!(headers.get_str("Status").as_deref(), Some("mine"));
        assert_eq!(to_map(&headers), map(&pairs));
        assert_eq!(to_map(&of_response(&map(&pairs))), map(&pairs));
    }

    #[test]
    fn the_keys_of_a_section_stay_out_of_http() {
        let mut section = Headers::new();
        for (name, value) in [
            ("service", "users"),
            ("X-Mixed", "1"),
            ("status", "success"),
        ] {
            section.push(name, value).expect("short");
        }
        assert_eq!(to_map(&section), map(&[("x-mixed", "1")]));
    }

    #[test]
    fn fields_of_the_connection_stay_on_it() {
        let said = map(&[
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("transfer-encoding", "chunked"),
            ("timeout-ms", "5"),
            ("set-cookie", "a"),
            ("set-cookie", "b"),
        ]);
        let kept = map(&[("set-cookie", "a"), ("set-cookie", "b")]);
        assert_eq!(to_map(&of_request_map(&said)), kept);
    }

    #[test]
    fn a_trailer_of_our_own_is_not_passed_on() {
        let of = |value: &str| to_map(&of_response(&map(&[("trailer", value)])));
        assert_eq!(of("x-postern-error"), HeaderMap::new());
        assert_eq!(of("a, x-postern-error"), map(&[("trailer", "a")]));
        assert_eq!(of("a"), map(&[("trailer", "a")]));
    }

    #[test]
    fn facts_are_the_request_line_and_the_host() {
        let facts = |uri: &'static str, host: &[(&str, &str)]| {
            facts(&Method::PUT, &Uri::from_static(uri), &map(host))
        };
        let expected = HttpFacts {
            method: "PUT".into(),
            scheme: "http".into(),
            authority: "h:1".into(),
            path: "/a%20b".into(),
            query: Some("c=?".into()),
            ..HttpFacts::default()
        };
        assert_eq!(facts("/a%20b?c=?", &[("host", "h:1")]), expected);
        assert_eq!(facts("http://h:1/a%20b?c=?", &[]), expected);
        assert_eq!(facts("/", &[]).query, None);
    }

    #[test]
    fn a_failure_has_no_fields_about_a_body_that_is_not_sent() {
        let said = map(&[
            ("content-length", "3"),
            ("etag", "\"1\""),
            ("trailer", "x-sum"),
            ("x-mine", "1"),
        ]);
        assert_eq!(
            of_failure(Some(&of_request_map(&said))),
            map(&[("x-mine", "1")])
        );
    }
}
