//! Metadata between the fields of HTTP and the joint's headers. `grpc/doc/PROTOCOL-HTTP2.md`,
//! "Custom-Metadata".
//!
//! | on the wire | at the joint |
//! | --- | --- |
//! | `name: value`, printable ASCII | the same |
//! | `name-bin: BASE64`, with or without padding | the octets |
//! | `name-bin: BASE64,BASE64` | two headers |
//! | `grpc-*`, `te`, `content-*`, fields of the connection | nothing |
//!
//! Values of one name keep their order. A field of a reply that no client may be sent is left out.

use std::{borrow::Cow, collections::HashSet};

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};
use postern_core::{Headers, headers::HeadersBuilder, vsp::is_hop_header};

use crate::http::{fields, is_hop_by_hop};

/// Metadata that is not what its name says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MetadataError {
    #[error("the value of {name} is not base64")]
    NotBase64 { name: String },
}

/// Metadata of a request or a reply that came. `content_type` is what its messages are at the joint.
///
/// # Errors
/// Binary metadata that is none.
pub(crate) fn of_map(
    map: &HeaderMap,
    content_type: Option<&str>,
) -> Result<Headers, MetadataError> {
    let mut builder = HeadersBuilder::fields(map.len() + 1, fields::n_octets(map) + TYPE_BYTES);
    let listed = match map.contains_key(header::CONNECTION) {
        true => fields::listed(map),
        false => HashSet::new(),
    };
    if let Some(content_type) = content_type {
        push(&mut builder, header::CONTENT_TYPE.as_str(), content_type);
    }
    for (name, value) in map {
        let name = name.as_str();
        if is_of_transport(name) || listed.contains(name) {
            continue;
        }
        if !name.ends_with(BINARY_SUFFIX) {
            push(&mut builder, name, value);
            continue;
        }
        // "implementations must split Binary-Headers on ',' before decoding"
        for part in value.as_bytes().split(|octet| *octet == b',') {
            let octets = decode_binary(part.trim_ascii());
            let octets = octets.ok_or_else(|| MetadataError::NotBase64 {
                name: name.to_owned(),
            })?;
            push(&mut builder, name, octets);
        }
    }
    Ok(builder.build())
}

/// Metadata as it is sent, initial or trailing.
pub(crate) fn to_map(headers: &Headers) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(headers.entries().count());
    append(&mut map, headers);
    map
}

/// Adds metadata to fields that are sent.
pub(crate) fn append(map: &mut HeaderMap, headers: &Headers) {
    let are_fields = headers.are_fields();
    for (key, value) in headers.iter() {
        if !are_fields && (is_hop_header(key) || key == b"event-type") {
            continue;
        }
        let Ok(name) = HeaderName::from_bytes(key) else {
            continue;
        };
        if is_of_transport(name.as_str()) {
            continue;
        }
        if let Some(value) = to_value(&name, headers, value) {
            map.append(name, value);
        }
    }
}

fn to_value(name: &HeaderName, headers: &Headers, value: Cow<'_, [u8]>) -> Option<HeaderValue> {
    if name.as_str().ends_with(BINARY_SUFFIX) {
        return Some(encode_binary(&value));
    }
    // "ASCII-Value → 1*( %x20-%x7E )"
    let is_printable = value.iter().all(|octet| (b' '..=b'~').contains(octet));
    fields::to_value(headers, value).filter(|_| is_printable)
}

/// Binary metadata as it is sent: without padding, as the specification prefers.
pub(crate) fn encode_binary(octets: &[u8]) -> HeaderValue {
    // Base64 is a legal value.
    HeaderValue::from_maybe_shared(Bytes::from(BASE64.encode(octets)))
        .unwrap_or(HeaderValue::from_static(""))
}

/// Undoes `encode_binary`, of any sender. `None` where it is no base64.
pub(crate) fn decode_binary(value: &[u8]) -> Option<Vec<u8>> {
    BASE64.decode(value).ok()
}

/// A text as `grpc-message` carries it: UTF-8, percent-encoded but for printable ASCII.
pub(crate) fn encode_text(text: &str) -> HeaderValue {
    let encoded: Cow<'_, str> = percent_encode(text.as_bytes(), NOT_PRINTABLE).into();
    // What is left is printable.
    HeaderValue::from_maybe_shared(Bytes::from(encoded.into_owned()))
        .unwrap_or(HeaderValue::from_static(""))
}

fn push(builder: &mut HeadersBuilder, name: &str, value: impl AsRef<[u8]>) {
    // Cannot fail: a field of HTTP is shorter than what fields take.
    let pushed = builder.push(name, value);
    debug_assert!(pushed.is_ok());
}

/// Whether a field, in lower case, is the protocol's own and no metadata. Names that begin with `grpc-`
/// are all reserved; those of `OF_APPLICATION` are written and read by libraries above the protocol.
fn is_of_transport(name: &str) -> bool {
    const OF_APPLICATION: [&str; 3] = [
        "grpc-previous-rpc-attempts",
        "grpc-tags-bin",
        "grpc-trace-bin",
    ];
    const OF_CONTENT: [&str; 3] = ["content-type", "content-encoding", "trailer"];
    if name.starts_with("grpc-") {
        return !OF_APPLICATION.contains(&name);
    }
    OF_CONTENT.contains(&name) || is_hop_by_hop(name)
}

const BINARY_SUFFIX: &str = "-bin";
/// Room for the content type that is added.
const TYPE_BYTES: usize = 64;

/// "accept padded and un-padded values and should emit un-padded values"
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// "Percent-Byte-Unencoded → 1*( %x20-%x24 / %x26-%x7E )"
const NOT_PRINTABLE: &AsciiSet = &CONTROLS.add(b'%');

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            map.append(name, HeaderValue::from_str(value).expect("a value"));
        }
        map
    }

    fn pairs(headers: &Headers) -> Vec<(String, Vec<u8>)> {
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let pairs = headers.iter();
        pairs
            .map(|(key, value)| (text(key), value.into_owned()))
            .collect()
    }

    #[track_caller]
    fn check(sent: &[(&str, &str)], expected: &[(&str, &[u8])]) {
        let headers = of_map(&map(sent), None).expect("legal");
        let expected: Vec<_> = expected
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.to_vec()))
            .collect();
        assert_eq!(pairs(&headers), expected);
    }

    #[test]
    fn values_of_a_name_keep_their_order() {
        check(
            &[("a", "2"), ("a", "1"), ("a", "3")],
            &[("a", b"2"), ("a", b"1"), ("a", b"3")],
        );
    }

    #[test]
    fn binary_values_come_with_and_without_padding_and_several_in_a_field() {
        let octets: &[u8] = &[0xab, 0xab, 0xab, 0xab];
        for value in ["q6urqw", "q6urqw=="] {
            check(&[("x-bin", value)], &[("x-bin", octets)]);
        }
        check(
            &[("x-bin", "q6urqw==, AA"), ("x-bin", "")],
            &[("x-bin", octets), ("x-bin", &[0]), ("x-bin", &[])],
        );
    }

    #[test]
    fn binary_values_that_are_none_are_refused_by_their_name() {
        let error = of_map(&map(&[("x-bin", "*")]), None).expect_err("no base64");
        assert_eq!(error.to_string(), "the value of x-bin is not base64");
    }

    #[test]
    fn what_the_protocol_says_itself_is_no_metadata() {
        check(
            &[
                ("te", "trailers"),
                ("content-type", "application/grpc"),
                ("grpc-timeout", "1S"),
                ("grpc-encoding", "gzip"),
                ("grpc-future", "1"),
                ("grpc-trace-bin", "AA"),
                ("user-agent", "x"),
                ("connection", "close, x-hop"),
                ("x-hop", "1"),
            ],
            &[("grpc-trace-bin", &[0]), ("user-agent", b"x")],
        );
        let headers = of_map(&map(&[("content-type", "a/b")]), Some("c/d")).expect("legal");
        assert_eq!(
            pairs(&headers),
            [("content-type".to_owned(), b"c/d".to_vec())]
        );
    }

    #[test]
    fn what_is_sent_is_what_clients_take() {
        let mut headers = HeadersBuilder::fields(0, 0);
        for (name, value) in [
            ("X-Mixed", "1".as_bytes()),
            ("x-bin", &[0xab; 4]),
            ("x-bin", &[]),
            ("x-text", "é".as_bytes()),
            ("grpc-status", b"0"),
            ("content-type", b"a/b"),
            ("content-length", b"3"),
            ("no name", b"1"),
        ] {
            headers.push(name, value).expect("short");
        }
        let sent = map(&[("x-mixed", "1"), ("x-bin", "q6urqw"), ("x-bin", "")]);
        assert_eq!(to_map(&headers.build()), sent);
    }

    #[test]
    fn texts_are_printable_on_the_wire() {
        for (text, expected) in [
            ("plain text: ~", "plain text: ~"),
            ("100%", "100%25"),
            (
                "\t\ntest with whitespace\r\nand Unicode BMP \u{263a} and non-BMP \u{1f608}\t\n",
                "%09%0Atest with whitespace%0D%0Aand Unicode BMP %E2%98%BA and non-BMP %F0%9F%98%88%09%0A",
            ),
        ] {
            assert_eq!(encode_text(text), expected);
        }
    }
}
