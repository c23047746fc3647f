//! How messages are written, and how content types and queries name it.

use crate::http::media_type;

/// The codecs of the protocol for services with protobuf schemas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    Proto,
    Json,
}

/// What a content type says of the body of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ContentKind<'a> {
    /// One message, as it is.
    Unary(Codec),
    /// Messages, each with its five octets before it.
    Stream(Codec),
    /// Messages with their octets, in a codec that nobody has here.
    StrangeStream(&'a str),
    /// Of another protocol.
    Other(&'a str),
}

impl Codec {
    /// The codec that the parameter `encoding` of a GET names.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        match name {
            "proto" => Some(Self::Proto),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    pub(super) const fn unary_type(self) -> &'static str {
        match self {
            Self::Proto => "application/proto",
            Self::Json => "application/json",
        }
    }

    pub(super) const fn stream_type(self) -> &'static str {
        match self {
            Self::Proto => "application/connect+proto",
            Self::Json => "application/connect+json",
        }
    }

    /// What whoever answers is told of a message.
    pub(super) const fn message_type(self) -> &'static str {
        match self {
            Self::Proto => "application/protobuf",
            Self::Json => "application/json",
        }
    }

    /// A message in which nothing is set.
    pub(super) const fn empty_message(self) -> &'static [u8] {
        match self {
            Self::Proto => b"",
            Self::Json => b"{}",
        }
    }
}

impl<'a> ContentKind<'a> {
    /// Parameters, such as a charset, mean nothing.
    pub(super) fn of(content_type: &'a str) -> Self {
        let media = media_type(content_type);
        let is = |name: &str| media.eq_ignore_ascii_case(name);
        let both = [Codec::Proto, Codec::Json];
        if let Some(codec) = both.into_iter().find(|codec| is(codec.unary_type())) {
            return Self::Unary(codec);
        }
        if let Some(codec) = both.into_iter().find(|codec| is(codec.stream_type())) {
            return Self::Stream(codec);
        }
        let prefix = media.get(..STREAM_PREFIX.len());
        match prefix.is_some_and(|prefix| prefix.eq_ignore_ascii_case(STREAM_PREFIX)) {
            true => Self::StrangeStream(media),
            false => Self::Other(media),
        }
    }
}

/// What content types of streams begin with.
const STREAM_PREFIX: &str = "application/connect+";
/// What a client may send, for those that sent something else.
pub(super) const CONTENT_TYPES: &str = "application/json, application/proto, \
     application/connect+json, application/connect+proto";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_name_a_codec_and_whether_messages_have_envelopes() {
        for (value, expected) in [
            ("application/proto", ContentKind::Unary(Codec::Proto)),
            ("application/json", ContentKind::Unary(Codec::Json)),
            (
                "Application/JSON; charset=utf-8",
                ContentKind::Unary(Codec::Json),
            ),
            (
                "application/connect+proto",
                ContentKind::Stream(Codec::Proto),
            ),
            ("application/connect+json", ContentKind::Stream(Codec::Json)),
            (
                "application/connect+cbor",
                ContentKind::StrangeStream("application/connect+cbor"),
            ),
            ("application/grpc", ContentKind::Other("application/grpc")),
            (
                "application/problem+json",
                ContentKind::Other("application/problem+json"),
            ),
            ("", ContentKind::Other("")),
        ] {
            assert_eq!(ContentKind::of(value), expected, "{value}");
        }
    }

    #[test]
    fn codecs_are_found_by_their_names() {
        assert_eq!(Codec::from_name("proto"), Some(Codec::Proto));
        assert_eq!(Codec::from_name("json"), Some(Codec::Json));
        assert_eq!(Codec::from_name("JSON"), None);
        assert_eq!(Codec::from_name(""), None);
    }
}
