//! One error for every call: what kind, whose fault, whether another try can help.
//! Kinds and their numbers are the sixteen of gRPC; `kind.rs` is the table of what is said of them,
//! and `host/docs/errors.md` shows it.

mod kind;

use std::{borrow::Cow, fmt, time::Duration};

use bytes::Bytes;

pub use self::kind::{Kind, Symptom};
use crate::headers::Headers;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why a call failed.
#[derive(Debug)]
pub struct Error {
    pub kind: Kind,
    pub blame: Blame,
    pub retry: Retry,
    /// The message of the call is larger than somebody takes: no other try with it can help.
    pub is_too_large: bool,
    /// The application says so itself, at an instance that is well: it counts against no instance.
    pub is_of_application: bool,
    /// Lower case, no full stop; names the value and the limit.
    pub message: Cow<'static, str>,
    /// A JSON value in UTF-8, shown to the caller beside the message.
    pub details: Option<Bytes>,
    /// What whoever answered says beside it; every front writes them as it writes those of a reply. By
    /// pointer: of most errors there are none.
    pub headers: Option<Box<Headers>>,
    /// What caused it; logged, never sent to a peer.
    pub source: Option<Source>,
}

/// Whose fault it is. Decides who is logged, ejected or retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Blame {
    Client,
    Gateway,
    Guest,
    Upstream,
}

/// Whether another try can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    Never,
    /// Nothing of the call began: another instance may answer, whatever the call does.
    Elsewhere,
    /// The call was sent, or may have been, and nobody knows what became of it: another instance
    /// may answer, and only a call that may be carried out twice should ask it.
    IfIdempotent,
    /// The same instance may answer after this long.
    After(Duration),
    /// Whoever answered asks not to be asked again, and nobody else either: a negative
    /// `grpc-retry-pushback-ms` (gRPC proposal A6).
    Forbidden,
}

impl Error {
    #[must_use]
    pub fn new(kind: Kind, blame: Blame, message: impl Into<Cow<'static, str>>) -> Self {
        let message = message.into();
        Self {
            kind,
            blame,
            retry: Retry::Never,
            is_too_large: false,
            is_of_application: false,
            message,
            details: None,
            headers: None,
            source: None,
        }
    }

    /// The caller sent something that cannot be served.
    #[must_use]
    pub fn invalid_argument(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::InvalidArgument, Blame::Client, message)
    }

    /// Nothing has that name.
    #[must_use]
    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::NotFound, Blame::Client, message)
    }

    /// The time that the caller gave is over.
    #[must_use]
    pub fn deadline_exceeded(blame: Blame, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::DeadlineExceeded, blame, message)
    }

    /// A message is longer than `key` of the configuration allows. Who sends it again is refused
    /// again.
    #[must_use]
    pub fn too_long(length: usize, limit: usize, key: &str, blame: Blame) -> Self {
        let message = format!("message of {length} octets exceeds the limit of {limit} ({key})");
        Self::new(Kind::ResourceExhausted, blame, message).with_too_large()
    }

    /// The gateway itself is broken.
    #[must_use]
    pub fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Internal, Blame::Gateway, message)
    }

    /// Nobody can answer at present.
    #[must_use]
    pub fn unavailable(blame: Blame, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            retry: Retry::Elsewhere,
            ..Self::new(Kind::Unavailable, blame, message)
        }
    }

    /// What a peer answered with: blamed as the table says. `status` is the HTTP number beside the
    /// kind, if there is one; it alone tells that a message was too large.
    #[must_use]
    pub fn of_peer(kind: Kind, status: Option<u16>, message: impl Into<Cow<'static, str>>) -> Self {
        let error = Self::new(kind, kind.peer_blame(), message);
        match status {
            Some(TOO_LARGE) => error.with_too_large(),
            Some(_) | None => error,
        }
    }

    #[must_use]
    pub fn with_retry(self, retry: Retry) -> Self {
        Self { retry, ..self }
    }

    /// Says that the call's message is larger than a limit.
    #[must_use]
    pub fn with_too_large(self) -> Self {
        Self {
            retry: Retry::Never,
            is_too_large: true,
            ..self
        }
    }

    /// Says that it is an application's own, and no fault of the instance that answered with it.
    #[must_use]
    pub fn with_application(self) -> Self {
        Self {
            is_of_application: true,
            ..self
        }
    }

    /// The HTTP status number: the kind's, or 413 for a message over a limit.
    #[must_use]
    pub const fn http(&self) -> u16 {
        if self.is_too_large {
            TOO_LARGE
        } else {
            self.kind.http()
        }
    }

    /// When the caller may come again. Every error of status 429 says so, unless another try is forbidden;
    /// where nobody knows better, it is after a second.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self.retry {
            Retry::After(delay) => Some(delay),
            Retry::Forbidden => None,
            Retry::Never | Retry::Elsewhere | Retry::IfIdempotent => {
                (self.http() == EXHAUSTED).then_some(RETRY_AFTER)
            }
        }
    }

    /// `json` must be one JSON value in UTF-8; it is embedded as it is.
    #[must_use]
    pub fn with_details(self, json: impl Into<Bytes>) -> Self {
        Self {
            details: Some(json.into()),
            ..self
        }
    }

    /// None of them may say what a front says itself: such a one is left out there.
    #[must_use]
    pub fn with_headers(self, headers: Headers) -> Self {
        let headers = (!headers.is_empty()).then(|| Box::new(headers));
        Self { headers, ..self }
    }

    #[must_use]
    pub fn with_source(self, source: impl Into<Source>) -> Self {
        Self {
            source: Some(source.into()),
            ..self
        }
    }

    /// The error as callers read it: `{"error":TEXT,"code":NUMBER}`, with `"details"` where there
    /// are any. NUMBER is the HTTP status.
    #[must_use]
    pub fn to_json(&self) -> Bytes {
        self.to_json_as(self.http())
    }

    /// As `to_json`, with a code that is more precise than the kind's: 405, 413.
    #[must_use]
    pub fn to_json_as(&self, code: u16) -> Bytes {
        let mut json = Vec::with_capacity(self.message.len() + 32);
        json.extend_from_slice(b"{\"error\":");
        push_json_string(&mut json, &self.message);
        json.extend_from_slice(b",\"code\":");
        json.extend_from_slice(code.to_string().as_bytes());
        if let Some(details) = &self.details {
            json.extend_from_slice(b",\"details\":");
            json.extend_from_slice(details);
        }
        json.push(b'}');
        json.into()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.name(), self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl Blame {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Gateway => "gateway",
            Self::Guest => "guest",
            Self::Upstream => "upstream",
        }
    }
}

/// The HTTP status of a message over a limit.
const TOO_LARGE: u16 = 413;
/// The HTTP status of a bound that is reached.
const EXHAUSTED: u16 = Kind::ResourceExhausted.http();
/// When to come again where nobody says: most bounds are free again within a second.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Appends `text` as a JSON string, quotes included (RFC 8259 section 7).
pub fn push_json_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for octet in text.bytes() {
        match octet {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[digit(octet >> 4), digit(octet & 15)]);
            }
            _ => out.push(octet),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_exhausted_says_when_to_come_again_and_what_is_too_large_does_not() {
        let exhausted = || Error::new(Kind::ResourceExhausted, Blame::Gateway, "full");
        let second = Some(Duration::from_secs(1));
        assert_eq!(
            (exhausted().http(), exhausted().retry_after()),
            (429, second)
        );
        for retry in [Retry::Never, Retry::Elsewhere, Retry::IfIdempotent] {
            assert_eq!(exhausted().with_retry(retry).retry_after(), second);
        }
        let told = Duration::from_millis(20);
        let after = exhausted().with_retry(Retry::After(told));
        assert_eq!(after.retry_after(), Some(told));
        let forbidden = exhausted().with_retry(Retry::Forbidden);
        assert_eq!(forbidden.retry_after(), None);
        let large = exhausted().with_too_large();
        assert_eq!((large.http(), large.retry_after()), (413, None));
        assert_eq!(large.to_json(), "{\"error\":\"full\",\"code\":413}");
        assert_eq!(Error::internal("x").retry_after(), None);
    }

    #[test]
    fn json_escapes_what_json_must_escape() {
        let error = Error::invalid_argument("a \"b\"\n\u{1}é").with_details("[1]");
        let expected = "{\"error\":\"a \\\"b\\\"\\n\\u0001é\",\"code\":400,\"details\":[1]}";
        assert_eq!(error.to_json(), expected.as_bytes());
        let expected = expected.replace("400", "413");
        assert_eq!(error.to_json_as(413), expected.as_bytes());
    }
}
