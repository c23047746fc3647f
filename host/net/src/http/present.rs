//! Which of the fields that a listener reads by itself a request has. Found in one pass over the names, so
//! that the many which few requests have are not looked up one by one.

use bitflags::bitflags;
use http::{HeaderMap, HeaderValue};

use super::CORRELATION_HEADER;

bitflags! {
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(super) struct Present: u16 {
        const ACCEPT = 1;
        const ORIGIN = 1 << 1;
        const VERSION = 1 << 2;
        const PRIORITY = 1 << 3;
        const CONNECTION = 1 << 4;
        const TIMEOUT = 1 << 5;
        const TRACEPARENT = 1 << 6;
        const CONTENT_TYPE = 1 << 7;
        const SEC_FETCH_SITE = 1 << 8;
        const CORRELATION = 1 << 9;
        const CONTENT_ENCODING = 1 << 10;
        const EXPECT = 1 << 11;
        /// What a page's browser says of it.
        const OF_PAGE = Self::ORIGIN.bits() | Self::SEC_FETCH_SITE.bits();
    }
}

impl Present {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let names = headers.keys().map(|name| Self::named(name.as_str()));
        names.fold(Self::empty(), Self::union)
    }

    /// `name` is in lower case. Asked for every field of every request: lengths are told apart first.
    fn named(name: &str) -> Self {
        match (name.len(), name) {
            (6, "accept") => Self::ACCEPT,
            (6, "expect") => Self::EXPECT,
            (6, "origin") => Self::ORIGIN,
            (7, "version") => Self::VERSION,
            (8, "priority") => Self::PRIORITY,
            (10, "connection") => Self::CONNECTION,
            (10, "timeout-ms") | (12, "x-timeout-ms") => Self::TIMEOUT,
            (11, "traceparent") => Self::TRACEPARENT,
            (12, "content-type") => Self::CONTENT_TYPE,
            (14, "sec-fetch-site") => Self::SEC_FETCH_SITE,
            (14, "correlation-id") | (16, CORRELATION_HEADER) => Self::CORRELATION,
            (16, "content-encoding") => Self::CONTENT_ENCODING,
            _ => Self::empty(),
        }
    }

    /// The first of `names` that `headers` has, all of which are `field`.
    pub(super) fn get<'a>(
        self,
        field: Self,
        headers: &'a HeaderMap,
        names: &[&'static str],
    ) -> Option<&'a HeaderValue> {
        if !self.intersects(field) {
            return None;
        }
        names.iter().find_map(|name| headers.get(*name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::fields::TIMEOUTS;

    #[test]
    fn fields_are_found_by_their_names_and_no_others() {
        for (name, expected) in [
            ("accept", Present::ACCEPT),
            ("origin", Present::ORIGIN),
            ("expect", Present::EXPECT),
            ("version", Present::VERSION),
            ("priority", Present::PRIORITY),
            ("connection", Present::CONNECTION),
            (TIMEOUTS[0], Present::TIMEOUT),
            (TIMEOUTS[1], Present::TIMEOUT),
            ("traceparent", Present::TRACEPARENT),
            ("content-type", Present::CONTENT_TYPE),
            ("sec-fetch-site", Present::SEC_FETCH_SITE),
            ("correlation-id", Present::CORRELATION),
            (CORRELATION_HEADER, Present::CORRELATION),
            ("content-encoding", Present::CONTENT_ENCODING),
            ("accepted", Present::empty()),
            ("x-forwarded-for", Present::empty()),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("x-other", HeaderValue::from_static("1"));
            headers.insert(name, HeaderValue::from_static("1"));
            let present = Present::of(&headers);
            assert_eq!(present, expected, "{name}");
            let found = present.get(expected, &headers, &[name]);
            assert_eq!(found.is_some(), !expected.is_empty(), "{name}");
        }
    }
}
