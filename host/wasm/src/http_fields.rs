//! Headers of a call as the fields of `wasi:http`, and back.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue};
use postern_core::{Headers, headers::HeadersBuilder};

/// The headers that HTTP can carry, in their order.
pub(crate) fn to_map(headers: &Headers) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(headers.entries().count());
    for (name, value) in headers.iter() {
        let value = match value {
            Cow::Borrowed(value) => headers.section().slice_ref(value),
            Cow::Owned(value) => value.into(),
        };
        let value = HeaderValue::from_maybe_shared(value);
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), value) {
            map.append(name, value);
        }
    }
    map
}

/// The fields of a guest or of a server as headers.
pub(crate) fn to_headers(map: &HeaderMap) -> Headers {
    if map.is_empty() {
        return Headers::new();
    }
    let octets = map
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len());
    let mut headers = HeadersBuilder::fields(map.len(), octets.sum());
    for (name, value) in map {
        // Cannot fail: a field of HTTP is shorter than what fields take.
        let pushed = headers.push(name.as_str(), value);
        debug_assert!(pushed.is_ok());
    }
    headers.build()
}

/// What follows a body, where anything does.
pub(crate) fn to_trailers(map: &HeaderMap) -> Option<Headers> {
    (!map.is_empty()).then(|| to_headers(map))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_keep_their_order_and_their_octets() {
        let mut builder = HeadersBuilder::fields(3, 64);
        for (name, value) in [("x-b", &b"1"[..]), ("X-A", b"\xff"), ("x-b", b"2")] {
            builder.push(name, value).expect("it fits");
        }
        let map = to_map(&builder.build());
        let back = to_headers(&map);
        let all: Vec<_> = back
            .iter()
            .map(|(name, value)| (name.to_vec(), value.into_owned()))
            .collect();
        let expected = [("x-b", &b"1"[..]), ("x-b", b"2"), ("x-a", b"\xff")];
        let expected = expected.map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec()));
        assert_eq!(all, expected);
        assert!(to_trailers(&HeaderMap::new()).is_none());
    }
}
