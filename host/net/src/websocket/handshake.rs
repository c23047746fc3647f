//! The opening handshake: RFC 6455 section 4.2 over HTTP/1.1, RFC 8441 over HTTP/2. Pure.

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header, request};
use sha1::{Digest, Sha1};

use super::extension::Deflation;

/// A request that may become a WebSocket, and what is told to its client.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) deflation: Option<Deflation>,
}

/// Why a request is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HandshakeFault {
    #[error(
        "this path is a WebSocket; open it with an upgrade (RFC 6455), over HTTP/2 with CONNECT (RFC 8441)"
    )]
    NotAsked,
    #[error("a WebSocket is opened with {expected}, not with {method}")]
    Method { method: Method, expected: Method },
    #[error("WebSocket version {0:?} is not spoken; 13 is")]
    Version(String),
    #[error("sec-websocket-key is not 16 octets in base64")]
    Key,
    #[error("none of the subprotocols is spoken here; {0} is, and no subprotocol at all")]
    Subprotocol(&'static str),
}

impl HandshakeFault {
    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::NotAsked | Self::Version(_) => StatusCode::UPGRADE_REQUIRED,
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Key | Self::Subprotocol(_) => StatusCode::BAD_REQUEST,
        }
    }

    /// Fields that the refusal has beside those of every other.
    pub(crate) fn fields(&self) -> Vec<(HeaderName, HeaderValue)> {
        let websocket = HeaderValue::from_static("websocket");
        match self {
            Self::NotAsked => vec![(header::UPGRADE, websocket)],
            Self::Version(_) => vec![
                (header::UPGRADE, websocket),
                (header::SEC_WEBSOCKET_VERSION, VERSION),
            ],
            Self::Method { expected, .. } => {
                let allow = HeaderValue::from_str(expected.as_str());
                allow
                    .map(|allow| (header::ALLOW, allow))
                    .into_iter()
                    .collect()
            }
            Self::Key | Self::Subprotocol(_) => vec![],
        }
    }
}

/// Judges a request for a WebSocket whose subprotocol is `protocol`, and which packs messages if
/// `has_compression`.
///
/// # Errors
/// Why it is none, or cannot be served.
pub(crate) fn accept(
    head: &request::Parts,
    protocol: &'static str,
    has_compression: bool,
) -> Result<Accepted, HandshakeFault> {
    let headers = &head.headers;
    let is_http_2 = head.version == Version::HTTP_2;
    let extended = head.extensions.get::<hyper::ext::Protocol>();
    let is_asked = match is_http_2 {
        true => extended.is_some_and(|named| named.as_str().eq_ignore_ascii_case("websocket")),
        false => {
            has_token(headers, &header::UPGRADE, "websocket")
                && has_token(headers, &header::CONNECTION, "upgrade")
                && head.version == Version::HTTP_11
        }
    };
    if !is_asked {
        return Err(HandshakeFault::NotAsked);
    }
    let expected = if is_http_2 {
        Method::CONNECT
    } else {
        Method::GET
    };
    if head.method != expected {
        let method = head.method.clone();
        return Err(HandshakeFault::Method { method, expected });
    }
    let version = headers.get(header::SEC_WEBSOCKET_VERSION);
    if version != Some(&VERSION) {
        let shown = version.map_or("", |version| version.to_str().unwrap_or_default());
        return Err(HandshakeFault::Version(shown.chars().take(20).collect()));
    }
    let mut answer = HeaderMap::new();
    if !is_http_2 {
        let mut keys = headers.get_all(header::SEC_WEBSOCKET_KEY).iter();
        let key = keys.next().filter(|_| keys.next().is_none());
        let key = key.filter(|key| is_key(key)).ok_or(HandshakeFault::Key)?;
        answer.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        answer.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        if let Ok(accept) = HeaderValue::from_str(&accept_of(key.as_bytes())) {
            answer.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        }
    }
    if headers.contains_key(header::SEC_WEBSOCKET_PROTOCOL) {
        if !has_protocol(headers, protocol) {
            return Err(HandshakeFault::Subprotocol(protocol));
        }
        answer.insert(
            header::SEC_WEBSOCKET_PROTOCOL,
            HeaderValue::from_static(protocol),
        );
    }
    let offers = headers.get_all(header::SEC_WEBSOCKET_EXTENSIONS);
    let deflation = Deflation::agree(offers.iter()).filter(|_| has_compression);
    if let Some(agreed) = deflation
        && let Ok(agreed) = HeaderValue::from_str(&agreed.response())
    {
        answer.insert(header::SEC_WEBSOCKET_EXTENSIONS, agreed);
    }
    let status = match is_http_2 {
        true => StatusCode::OK,
        false => StatusCode::SWITCHING_PROTOCOLS,
    };
    Ok(Accepted {
        status,
        headers: answer,
        deflation,
    })
}

/// What the server answers to `key` (section 4.2.2 step 5).
pub(super) fn accept_of(key: &[u8]) -> String {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(GUID);
    BASE64_STANDARD.encode(hash.finalize())
}

/// Whether a list of tokens has `token`, in any case.
pub(super) fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    listed(headers, name).any(|item| item.eq_ignore_ascii_case(token))
}

fn has_protocol(headers: &HeaderMap, protocol: &str) -> bool {
    // Subprotocols are compared as they are written (section 4.1).
    listed(headers, &header::SEC_WEBSOCKET_PROTOCOL).any(|item| item == protocol)
}

fn listed<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter();
    let texts = values.filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).map(str::trim)
}

fn is_key(key: &HeaderValue) -> bool {
    let decoded = BASE64_STANDARD.decode(key.as_bytes());
    decoded.is_ok_and(|octets| octets.len() == 16)
}

pub(super) const VERSION: HeaderValue = HeaderValue::from_static("13");
/// RFC 6455 section 1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    const ASKED: [(&str, &str); 4] = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    fn head(method: &str, pairs: &[(&str, &str)]) -> request::Parts {
        let mut request = Request::builder().method(method).uri("/vstp");
        for (name, value) in pairs {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    /// Those asked for, with `name` in the place of what it was.
    fn with(name: &str, value: &str) -> request::Parts {
        let others = ASKED.iter().filter(|(known, _)| *known != name);
        let pairs: Vec<_> = others.copied().chain([(name, value)]).collect();
        head("GET", &pairs)
    }

    #[test]
    fn answers_the_key_of_the_rfc() {
        let accepted = accept(&head("GET", &ASKED), "vstp", true).expect("a handshake");
        assert_eq!(accepted.status, StatusCode::SWITCHING_PROTOCOLS);
        let answer = &accepted.headers[header::SEC_WEBSOCKET_ACCEPT];
        assert_eq!(answer, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(
            !accepted
                .headers
                .contains_key(header::SEC_WEBSOCKET_PROTOCOL)
        );
        assert_eq!(accepted.deflation, None);
    }

    #[test]
    fn a_subprotocol_is_answered_and_another_one_refused() {
        let accepted = accept(&with("sec-websocket-protocol", "mqtt, vstp"), "vstp", true);
        let accepted = accepted.expect("a handshake").headers;
        assert_eq!(accepted[header::SEC_WEBSOCKET_PROTOCOL], "vstp");
        let refused = accept(&with("sec-websocket-protocol", "mqtt, VSTP"), "vstp", true);
        assert_eq!(
            refused.expect_err("unknown"),
            HandshakeFault::Subprotocol("vstp")
        );
    }

    #[test]
    fn compression_is_agreed_to_where_it_is_on() {
        let offer = with("sec-websocket-extensions", "permessage-deflate");
        let agreed = accept(&offer, "vstp", true).expect("a handshake");
        assert!(agreed.deflation.is_some());
        assert!(
            agreed
                .headers
                .contains_key(header::SEC_WEBSOCKET_EXTENSIONS)
        );
        let off = accept(&offer, "vstp", false).expect("a handshake");
        assert!(off.deflation.is_none());
        assert!(!off.headers.contains_key(header::SEC_WEBSOCKET_EXTENSIONS));
    }

    #[test]
    fn what_is_no_handshake_is_told_what_would_be() {
        let check = |head: &request::Parts, status: u16, field: Option<(&str, &str)>| {
            let fault = accept(head, "vstp", true).expect_err("refused");
            assert_eq!(fault.status().as_u16(), status, "{fault}");
            let fields = fault.fields();
            let found = fields
                .last()
                .map(|(name, value)| (name.as_str(), value.to_str().expect("text")));
            assert_eq!(found, field, "{fault}");
        };
        let websocket = Some(("upgrade", "websocket"));
        check(&head("GET", &[]), 426, websocket);
        check(&with("upgrade", "h2c"), 426, websocket);
        check(&with("connection", "close"), 426, websocket);
        check(&head("POST", &ASKED), 405, Some(("allow", "GET")));
        check(
            &with("sec-websocket-version", "8"),
            426,
            Some(("sec-websocket-version", "13")),
        );
        check(&with("sec-websocket-key", "AAAA"), 400, None);
        check(
            &with("sec-websocket-key", "not base64 not base64 =="),
            400,
            None,
        );
    }
}
