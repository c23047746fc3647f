//! How a call ended at an instance: by trailers, by an answer that is none of gRPC, or with its stream.
//! `grpc/doc/PROTOCOL-HTTP2.md`, `http-grpc-status-mapping.md`, gRPC proposal A6.

use std::time::Duration;

use h2::Reason;
use http::{HeaderMap, StatusCode, header};
use percent_encoding::percent_decode;
use postern_core::{Blame, Error, Headers, Kind, Retry, message_codec::MessageForm};
use prost::Message as _;

use crate::http::grpc::{
    metadata,
    status::{self, RpcStatus, StatusDetails},
};

/// Why a stream has no reply, or none to its end.
pub(super) struct StreamFailure {
    /// What the instance did of the call.
    pub(super) progress: Progress,
    pub(super) error: Error,
}

/// How far the instance came with a call whose stream ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// GOAWAY with a lower last stream: the connection takes no call any more (RFC 9113 section 6.8).
    NotTaken,
    /// RST_STREAM with REFUSED_STREAM: other calls may go on (RFC 9113 section 8.7).
    Refused,
    /// Nobody knows.
    Unknown,
}

/// The trailing metadata of a call that went well. A status UNKNOWN is the application's own, as servers make it of
/// whatever a handler throws; what is told without a status is the instance's.
///
/// # Errors
/// How it failed. `http` is the status of its head, which counts where nothing else tells.
pub(super) fn of_trailers(
    trailers: &HeaderMap,
    http: StatusCode,
    details: &dyn StatusDetails,
) -> Result<Headers, Error> {
    let Some(number) = trailers.get(status::STATUS) else {
        let message = "the instance ends its reply without grpc-status";
        return Err(of_http(http, message));
    };
    let metadata = metadata::of_map(trailers, None);
    let metadata = metadata.map_err(|error| broken(error.to_string()))?;
    let number: Option<u8> = number.to_str().ok().and_then(|text| text.parse().ok());
    if number == Some(0) {
        return Ok(metadata);
    }
    // "unknown codes are UNKNOWN" (statuscodes.md).
    let kind = number.and_then(Kind::from_grpc).unwrap_or(Kind::Unknown);
    let error = Error::of_peer(kind, None, message_of(trailers)).with_headers(metadata);
    let error = Error {
        details: details_of(trailers, details),
        ..error
    };
    let error = match kind == Kind::Unknown {
        true => error.with_application(),
        false => error,
    };
    Err(match pushback_of(trailers) {
        Some(retry) => error.with_retry(retry),
        None => error,
    })
}

/// What messages of a reply are at the joint.
///
/// # Errors
/// By the HTTP status, for an answer that is none of gRPC.
pub(super) fn content_type(head: &HeaderMap, http: StatusCode) -> Result<&'static str, Error> {
    let said = head.get(header::CONTENT_TYPE);
    let said = said.and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = said.split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    let Some(subtype) = essence.strip_prefix("application/grpc") else {
        let message = format!("the instance answers {http} with content-type {said:?}");
        return Err(of_http(http, message));
    };
    match subtype {
        "" | "+proto" => Ok(MessageForm::Protobuf.content_type()),
        "+json" => Ok(MessageForm::Json.content_type()),
        // Octets of a form that is the application's own.
        _ if subtype.starts_with('+') => Ok("application/octet-stream"),
        _ => {
            let message = format!("the instance answers {http} with content-type {said:?}");
            Err(of_http(http, message))
        }
    }
}

/// The instance does not keep to the protocol.
pub(super) fn broken(message: String) -> Error {
    Error::new(Kind::Internal, Blame::Upstream, message)
}

/// The failure that an HTTP status alone tells of: `http-grpc-status-mapping.md`.
fn of_http(http: StatusCode, message: impl Into<String>) -> Error {
    let kind = match http.as_u16() {
        400 => Kind::Internal,
        401 => Kind::Unauthenticated,
        403 => Kind::PermissionDenied,
        404 => Kind::Unimplemented,
        429 | 502 | 503 | 504 => Kind::Unavailable,
        _ => Kind::Unknown,
    };
    Error::of_peer(kind, None, message.into())
}

fn message_of(trailers: &HeaderMap) -> String {
    let message = trailers.get(status::MESSAGE);
    let octets = message.map_or(&b""[..], |value| value.as_bytes());
    // "Portions that cannot be decoded are left as they are": what is no UTF-8 is replaced.
    percent_decode(octets).decode_utf8_lossy().into_owned()
}

fn details_of(trailers: &HeaderMap, details: &dyn StatusDetails) -> Option<bytes::Bytes> {
    let octets = metadata::decode_binary(trailers.get(status::DETAILS)?.as_bytes())?;
    let status = RpcStatus::decode(octets.as_slice()).ok()?;
    details.to_json(&status.details)
}

/// When the instance may be asked again, if it says so: milliseconds, or never where it is negative or no
/// number (gRPC proposal A6, "Pushback").
fn pushback_of(trailers: &HeaderMap) -> Option<Retry> {
    let said = trailers.get(status::PUSHBACK)?;
    let millis: Option<u64> = said.to_str().ok().and_then(|text| text.parse().ok());
    Some(match millis {
        Some(millis) => Retry::After(Duration::from_millis(millis)),
        None => Retry::Forbidden,
    })
}

impl StreamFailure {
    /// No stream could be opened: nothing was sent.
    pub(super) fn unsent(error: h2::Error) -> Error {
        let message = format!("the instance takes no call: {error}");
        Error::unavailable(Blame::Upstream, message).with_source(error)
    }

    pub(super) fn of(error: h2::Error) -> Self {
        let progress = progress_of(&error);
        let kind = match error.reason() {
            _ if progress != Progress::Unknown => Kind::Unavailable,
            Some(reason) if error.is_reset() => kind_of(reason),
            // The connection has ended.
            Some(_) | None => Kind::Unavailable,
        };
        let message = format!("the instance ended the call: {error}");
        let told = Error::of_peer(kind, None, message);
        let retry = match progress {
            Progress::NotTaken | Progress::Refused => Retry::Elsewhere,
            Progress::Unknown if kind == Kind::Unavailable => Retry::IfIdempotent,
            Progress::Unknown => Retry::Never,
        };
        Self {
            progress,
            error: told.with_retry(retry).with_source(error),
        }
    }
}

/// `h2` tells a stream of GOAWAY only where its id is above the last one; others go on.
fn progress_of(error: &h2::Error) -> Progress {
    if error.is_go_away() && error.is_remote() {
        Progress::NotTaken
    } else if error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM) {
        Progress::Refused
    } else {
        Progress::Unknown
    }
}

/// The code that an HTTP/2 error means: `grpc/doc/PROTOCOL-HTTP2.md`, "Errors".
fn kind_of(reason: Reason) -> Kind {
    match reason {
        Reason::REFUSED_STREAM => Kind::Unavailable,
        Reason::CANCEL => Kind::Cancelled,
        Reason::ENHANCE_YOUR_CALM => Kind::ResourceExhausted,
        Reason::INADEQUATE_SECURITY => Kind::PermissionDenied,
        _ => Kind::Internal,
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;
    use crate::http::grpc::ValueDetails;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        });
        pairs.collect()
    }

    fn failure(pairs: &[(&'static str, &'static str)]) -> Error {
        of_trailers(&map(pairs), StatusCode::OK, &ValueDetails).expect_err("a failure")
    }

    #[test]
    fn a_status_is_its_kind_with_a_message_and_metadata() {
        let error = failure(&[
            ("grpc-status", "5"),
            ("grpc-message", "no %C3%A9 %zz"),
            ("x-why", "gone"),
        ]);
        assert_eq!((error.kind, error.blame), (Kind::NotFound, Blame::Client));
        assert_eq!(error.message, "no é %zz");
        let headers = error.headers.expect("metadata");
        assert_eq!(headers.iter().count(), 1);
        assert_eq!(headers.get_str("x-why").as_deref(), Some("gone"));
        for unknown in ["17", "x", ""] {
            assert_eq!(failure(&[("grpc-status", unknown)]).kind, Kind::Unknown);
        }
        for (status, is_of_application) in [("2", true), ("17", true), ("13", false), ("14", false)]
        {
            let error = failure(&[("grpc-status", status)]);
            assert_eq!(error.is_of_application, is_of_application, "{status}");
        }
        let trailers = map(&[("grpc-status", "0"), ("x-sum", "3")]);
        let metadata = of_trailers(&trailers, StatusCode::OK, &ValueDetails).expect("well");
        assert_eq!(metadata.get_str("x-sum").as_deref(), Some("3"));
    }

    #[test]
    fn a_pushback_says_when_or_never() {
        let retry = |value| {
            let pairs = [("grpc-status", "14"), ("grpc-retry-pushback-ms", value)];
            failure(&pairs).retry
        };
        assert_eq!(retry("250"), Retry::After(Duration::from_millis(250)));
        assert_eq!(retry("0"), Retry::After(Duration::ZERO));
        assert_eq!([retry("-1"), retry("soon")], [Retry::Forbidden; 2]);
        assert_eq!(failure(&[("grpc-status", "14")]).retry, Retry::Never);
    }

    #[test]
    fn an_answer_without_a_status_means_what_its_http_status_means() {
        for (http, expected) in [
            (200, Kind::Unknown),
            (400, Kind::Internal),
            (401, Kind::Unauthenticated),
            (403, Kind::PermissionDenied),
            (404, Kind::Unimplemented),
            (429, Kind::Unavailable),
            (502, Kind::Unavailable),
            (503, Kind::Unavailable),
            (504, Kind::Unavailable),
            (500, Kind::Unknown),
        ] {
            let http = StatusCode::from_u16(http).expect("a status");
            let html = map(&[("content-type", "text/html")]);
            let error = content_type(&html, http).expect_err("no grpc");
            assert_eq!(error.kind, expected, "{http}");
            assert!(!error.is_of_application, "{http}");
            let error = of_trailers(&HeaderMap::new(), http, &ValueDetails);
            assert_eq!(error.expect_err("no status").kind, expected, "{http}");
        }
    }

    #[test]
    fn a_content_type_says_what_messages_are() {
        let of = |value| content_type(&map(&[("content-type", value)]), StatusCode::OK);
        for (value, expected) in [
            ("application/grpc", "application/protobuf"),
            ("application/grpc+proto", "application/protobuf"),
            ("Application/gRPC;charset=utf-8", "application/protobuf"),
            ("application/grpc+json", "application/json"),
            ("application/grpc+thrift", "application/octet-stream"),
        ] {
            assert_eq!(of(value).expect(value), expected);
        }
        for value in ["application/grpc-web", "application/json", ""] {
            assert!(of(value).is_err(), "{value}");
        }
    }

    #[test]
    fn a_reset_is_the_code_that_the_protocol_says() {
        for (reason, kind) in [
            (Reason::NO_ERROR, Kind::Internal),
            (Reason::PROTOCOL_ERROR, Kind::Internal),
            (Reason::CANCEL, Kind::Cancelled),
            (Reason::REFUSED_STREAM, Kind::Unavailable),
            (Reason::ENHANCE_YOUR_CALM, Kind::ResourceExhausted),
            (Reason::INADEQUATE_SECURITY, Kind::PermissionDenied),
        ] {
            assert_eq!(kind_of(reason), kind, "{reason:?}");
        }
    }
}
