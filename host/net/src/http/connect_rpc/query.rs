//! The query of a call by `GET`: codec and message, for methods without side effects.
//!
//! ```text
//! GET /greet.v1.GreetService/Greet?message=%7B%22name%22%3A%22Buf%22%7D&encoding=json&connect=v1
//! ```
//! | parameter | meaning |
//! | --- | --- |
//! | `encoding` | the codec: `json`, `proto` |
//! | `message` | the message as percent-encoded UTF-8, or in URL-safe base64 where `base64=1` stands beside it |
//! | `compression` | how the message is compressed, as `content-encoding` says it of a body |
//! | `connect` | `v1`: tells the call from other requests |
//!
//! In any order; the first of duplicates counts, and others are nobody's.

use std::borrow::Cow;

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use http::HeaderValue;
use postern_core::{
    Error,
    route::{QueryError, query_pairs},
};

/// What the query of a call says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct CallQuery {
    pub(crate) encoding: Option<String>,
    message: Option<String>,
    compression: Option<String>,
    is_base64: bool,
    /// It says that it is of this protocol.
    pub(crate) is_marked: bool,
    /// The first parameter that is no text.
    fault: Option<QueryError>,
}

impl CallQuery {
    /// Reads a query. One that names neither the protocol nor a codec and a message is none of a call.
    pub(crate) fn of(query: &str) -> Option<Self> {
        // What most queries lack, so that they are not taken apart.
        if !query.contains("connect=") && !query.contains("encoding=") {
            return None;
        }
        let mut read = Self::default();
        let (mut base64, mut connect) = (None, None);
        for pair in query_pairs(query) {
            let (name, value) = match pair {
                Ok(pair) => pair,
                Err(fault) => {
                    read.fault.get_or_insert(fault);
                    continue;
                }
            };
            match &*name {
                "encoding" => keep_first(&mut read.encoding, value),
                "message" => keep_first(&mut read.message, value),
                "compression" => keep_first(&mut read.compression, value),
                "base64" => keep_first(&mut base64, value),
                "connect" => keep_first(&mut connect, value),
                _ => {}
            }
        }
        read.is_base64 = base64.as_deref() == Some("1");
        read.is_marked = connect.as_deref() == Some("v1");
        let has_message = read.encoding.is_some() && read.message.is_some();
        (read.is_marked || has_message).then_some(read)
    }

    /// The name of the coding of the message.
    ///
    /// # Errors
    /// `invalid-argument` where it is no name at all.
    pub(crate) fn compression(&self) -> Result<Option<HeaderValue>, Error> {
        let name = self.compression.as_deref().map(HeaderValue::from_str);
        name.transpose().map_err(|_| {
            Error::invalid_argument("the parameter compression is no name of a coding")
        })
    }

    /// The message as it was sent, compressed or not.
    ///
    /// # Errors
    /// `invalid-argument` where there is none, where it is no base64 and says that it is, and where the
    /// query is no text: octets that are none need `base64=1`.
    pub(crate) fn message(&self) -> Result<Bytes, Error> {
        if let Some(fault) = &self.fault {
            return Err(Error::invalid_argument(fault.to_string()));
        }
        let Some(message) = &self.message else {
            let none = "a call by GET has its message in the parameter message, which is not there";
            return Err(Error::invalid_argument(none));
        };
        if !self.is_base64 {
            return Ok(Bytes::copy_from_slice(message.as_bytes()));
        }
        let octets = BASE64.decode(message);
        octets.map(Bytes::from).map_err(|reason| {
            let message = format!("the parameter message is no URL-safe base64: {reason}");
            Error::invalid_argument(message)
        })
    }
}

fn keep_first(kept: &mut Option<String>, value: Cow<'_, str>) {
    if kept.is_none() {
        *kept = Some(value.into_owned());
    }
}

/// RFC 4648 section 5; padding may be there.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> CallQuery {
        CallQuery::of(query).expect("a call")
    }

    #[track_caller]
    fn check(query: &str, encoding: &str, message: &[u8]) {
        let read = read(query);
        assert_eq!(read.encoding.as_deref(), Some(encoding), "{query}");
        assert_eq!(read.message().expect("a message"), message, "{query}");
    }

    #[test]
    fn the_queries_of_the_documentation_are_read() {
        let json = br#"{"name":"Buf"}"#;
        let message = "message=%7B%22name%22%3A%22Buf%22%7D";
        check(&format!("encoding=json&{message}"), "json", json);
        check(&format!("{message}&encoding=json&connect=v1"), "json", json);
        assert!(read(&format!("{message}&encoding=json&connect=v1")).is_marked);
        assert!(!read(&format!("{message}&encoding=json")).is_marked);
    }

    #[test]
    fn base64_is_url_safe_with_padding_or_without() {
        let octets = [0xfb, 0xff, 0xfe, 0x01];
        for message in ["-__-AQ", "-__-AQ%3D%3D"] {
            let query = format!("encoding=proto&base64=1&message={message}");
            check(&query, "proto", &octets);
        }
        // Another value of `base64` is nobody's.
        check("encoding=json&base64=2&message=e30", "json", b"e30");
        let error = read("encoding=proto&base64=1&message=%2B%2F%2F%2BAQ").message();
        let message = error.expect_err("the other alphabet").message;
        assert!(message.contains("is no URL-safe base64"), "{message}");
    }

    #[test]
    fn a_message_may_be_empty_and_may_not_be_missing() {
        check("encoding=proto&message=&connect=v1", "proto", b"");
        let error = read("encoding=proto&connect=v1").message();
        assert!(
            error
                .expect_err("none")
                .message
                .contains("parameter message")
        );
    }

    #[test]
    fn octets_that_are_no_text_need_base64() {
        let error = read("connect=v1&encoding=proto&message=%08%ff").message();
        let message = error.expect_err("no text").message;
        assert!(message.contains("not percent-encoded utf-8"), "{message}");
    }

    #[test]
    fn the_first_of_duplicates_counts_and_others_are_nobodys() {
        let query =
            "x=1&encoding=json&encoding=proto&message=1&message=2&compression=gzip&connect=v1";
        check(query, "json", b"1");
        assert_eq!(read(query).compression.as_deref(), Some("gzip"));
    }

    #[test]
    fn other_queries_are_no_calls() {
        for query in [
            "",
            "a=b",
            "encoding=json",
            "message=1",
            "connect=v2",
            "connect=true",
            "unconnect=v1",
            "encoding=json&message=%ff",
        ] {
            assert_eq!(CallQuery::of(query), None, "{query}");
        }
    }
}
