//! Metadata of calls and replies as fields: that of gRPC (`grpc/metadata.rs`) without what Connect says in
//! fields of its own.

use http::{HeaderMap, HeaderName, header};
use postern_core::Headers;

use super::codec::Codec;
use crate::http::{
    fields::TIMEOUTS,
    grpc::metadata::{self, MetadataError},
};

/// The headers of a call.
///
/// # Errors
/// Binary metadata that is none.
pub(super) fn of_request(map: &HeaderMap, codec: Codec) -> Result<Headers, MetadataError> {
    let is_own =
        |name: &HeaderName| *name == header::ACCEPT_ENCODING || TIMEOUTS.contains(&name.as_str());
    let others = without(map, |name| is_own(name) || is_reserved(name));
    metadata::of_map(&others, Some(codec.message_type()))
}

/// What comes before the messages of a reply.
pub(super) fn leading(headers: &Headers) -> HeaderMap {
    without(&metadata::to_map(headers), is_reserved)
}

/// What follows the messages of a unary reply: fields as well, each with its prefix.
pub(super) fn append_prefixed(map: &mut HeaderMap, trailers: &Headers) {
    for (name, value) in &leading(trailers) {
        let prefixed = [TRAILER_PREFIX, name.as_str()].concat();
        if let Ok(name) = HeaderName::try_from(prefixed) {
            map.append(name, value.clone());
        }
    }
}

/// Adds metadata whose names nobody has said anything under.
pub(super) fn append_missing(map: &mut HeaderMap, headers: &Headers) {
    let missing = without(&leading(headers), |name| map.contains_key(name));
    for (name, value) in &missing {
        map.append(name, value.clone());
    }
}

/// The other fields, in their order.
fn without(map: &HeaderMap, is_left_out: impl Fn(&HeaderName) -> bool) -> HeaderMap {
    let mut others = HeaderMap::with_capacity(map.len());
    for (name, value) in map.iter().filter(|(name, _)| !is_left_out(name)) {
        others.append(name, value.clone());
    }
    others
}

/// "keys beginning with "connect-" are reserved"
fn is_reserved(name: &HeaderName) -> bool {
    name.as_str().starts_with("connect-")
}

const TRAILER_PREFIX: &str = "trailer-";

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use postern_core::headers::HeadersBuilder;

    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        });
        pairs.collect()
    }

    fn headers(pairs: &[(&str, &[u8])]) -> Headers {
        let mut builder = HeadersBuilder::fields(pairs.len(), 0);
        for (name, value) in pairs {
            builder.push(name, value).expect("short");
        }
        builder.build()
    }

    #[test]
    fn what_the_protocol_says_in_fields_is_no_metadata() {
        let sent = map(&[
            ("connect-protocol-version", "1"),
            ("connect-timeout-ms", "5"),
            ("connect-accept-encoding", "gzip"),
            ("content-encoding", "gzip"),
            ("accept-encoding", "gzip"),
            ("timeout-ms", "5"),
            ("acme-shard-id", "42"),
            ("acme-bin", "AAE="),
        ]);
        let found = of_request(&sent, Codec::Proto).expect("legal");
        let form = b"application/protobuf";
        let expected: [(&str, &[u8]); 2] = [("acme-shard-id", b"42"), ("acme-bin", &[0, 1])];
        assert_eq!(found.get(b"content-type").as_deref(), Some(&form[..]));
        assert_eq!(found.without_key(b"content-type"), headers(&expected));
    }

    #[test]
    fn trailers_of_a_unary_reply_are_fields_with_a_prefix() {
        let mut sent = map(&[("a", "1")]);
        let trailers = headers(&[
            ("acme-cost", b"237"),
            ("x-bin", &[0, 1]),
            ("connect-x", b"1"),
        ]);
        append_prefixed(&mut sent, &trailers);
        let expected = map(&[
            ("a", "1"),
            ("trailer-acme-cost", "237"),
            ("trailer-x-bin", "AAE"),
        ]);
        assert_eq!(sent, expected);
    }

    #[test]
    fn metadata_adds_to_what_is_said_and_changes_nothing_of_it() {
        let mut said = map(&[("a", "1")]);
        append_missing(
            &mut said,
            &headers(&[("a", b"2"), ("b", b"3"), ("b", b"4")]),
        );
        let mut expected = map(&[("a", "1"), ("b", "3")]);
        expected.append("b", HeaderValue::from_static("4"));
        assert_eq!(said, expected);
    }
}
