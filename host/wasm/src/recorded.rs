//! A recorded call: what was asked, everything that the host told the guest while it answered, and what
//! came of it. These are the shapes of the lines of a recording (`host/docs/recording.md`); whoever
//! writes them to a file adds the header.

mod convert;

use std::net::SocketAddr;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Octets as a recording has them: a string where they are UTF-8, else `{"base64": TEXT}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordedOctets(pub Bytes);

/// One call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RecordedCall {
    pub request: RecordedRequest,
    pub host: RecordedHost,
    pub outcome: RecordedOutcome,
}

/// What the guest may know of the call itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RecordedRequest {
    pub service: String,
    pub method: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(default, skip_serializing_if = "RecordedHeaders::is_empty")]
    pub headers: RecordedHeaders,
    /// Names of headers that the caller sent and that are not in the recording.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
    pub body: RecordedBody,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<RecordedHttp>,
    #[serde(default)]
    pub peer: RecordedPeer,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<RecordedPrincipal>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub correlation: String,
    /// As `traceparent` writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    pub priority: u8,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub depth: u8,
}

/// Headers in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RecordedHeaders {
    /// Whether names are found in any case, as those of HTTP are.
    #[serde(default, skip_serializing_if = "is_false")]
    pub fields: bool,
    pub list: Vec<(RecordedOctets, RecordedOctets)>,
}

/// The body of a request or of a reply.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RecordedBody {
    pub kind: RecordedBodyKind,
    /// One of `one`; of the others each message or piece, as it came.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<RecordedOctets>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trailers: Option<RecordedHeaders>,
    /// Nobody read it to its end: what follows is not known.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unread: bool,
    /// What ended it early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<RecordedFailure>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordedBodyKind {
    #[default]
    Empty,
    One,
    Messages,
    Octets,
}

/// What HTTP said of the call.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RecordedHttp {
    pub method: String,
    pub scheme: String,
    pub authority: String,
    pub path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
}

/// Who was at the other end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RecordedPeer {
    pub transport: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<RecordedOrigin>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub session: String,
}

/// Where the caller was, unless it was in this process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum RecordedOrigin {
    Ip(SocketAddr),
    Unix {
        uid: u32,
        gid: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pid: Option<i32>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path: Option<String>,
    },
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RecordedPrincipal {
    pub name: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<(String, String)>,
}

/// What the host told the guest, from the first instruction of its instance on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RecordedHost {
    /// When the call began, in nanoseconds since 1970.
    pub began: u64,
    /// 64 hex digits, of which all random numbers of the call are made.
    pub seed: String,
    /// The least level of lines that the guest was told to write; `none` where it was to write none.
    pub log_level: String,
    /// What the wall clock showed each time: nanoseconds since the reading before, the first since
    /// `began`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wall: Vec<i64>,
    /// The same of the monotonic clock, which begins at 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub monotonic: Vec<i64>,
    /// What the guest asked for, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<HostAsk>,
    /// Lines that the guest wrote or printed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<String>,
}

/// One question of a guest to its host, and the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HostAsk {
    /// The function: `kv.get`.
    pub ask: String,
    /// Its arguments; `null` is one that was not given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub with: Vec<Option<RecordedOctets>>,
    pub got: HostAnswer,
}

/// What a host function gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostAnswer {
    /// Nothing but that it was done.
    Done,
    /// There is none.
    Absent,
    Flag(bool),
    Number(u64),
    Numbers(Vec<u32>),
    Octets(RecordedOctets),
    Texts(Vec<String>),
    Pairs(Vec<(String, String)>),
    Listing(RecordedListing),
    Failed(RecordedFailure),
}

/// The instances of a service, as `directory` listed them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RecordedListing {
    pub revision: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<RecordedInstance>,
}

/// One of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RecordedInstance {
    pub id: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    pub weight: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metadata: Vec<(String, String)>,
    pub healthy: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pub stale: bool,
}

/// What the caller got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordedOutcome {
    Reply(RecordedReply),
    Failure(RecordedFailure),
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RecordedReply {
    /// Of HTTP, where the guest chose one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    #[serde(default, skip_serializing_if = "RecordedHeaders::is_empty")]
    pub headers: RecordedHeaders,
    pub body: RecordedBody,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RecordedFailure {
    /// One of the names in `host/docs/errors.md`.
    #[serde(with = "convert::kind_name")]
    pub kind: postern_core::Kind,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<RecordedOctets>,
    #[serde(default, skip_serializing_if = "RecordedHeaders::is_empty")]
    pub headers: RecordedHeaders,
}

impl RecordedOctets {
    /// As people read them: text, or how many octets that are none.
    #[must_use]
    pub fn shown(&self) -> String {
        match std::str::from_utf8(&self.0) {
            Ok(text) => text.to_owned(),
            Err(_) => format!("{} octets that are not UTF-8", self.0.len()),
        }
    }
}

impl<T: Into<Bytes>> From<T> for RecordedOctets {
    fn from(octets: T) -> Self {
        Self(octets.into())
    }
}

impl Serialize for RecordedOctets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => OctetsShape::Binary {
                base64: STANDARD.encode(&self.0),
            }
            .serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for RecordedOctets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match OctetsShape::deserialize(deserializer)? {
            OctetsShape::Text(text) => Ok(text.into()),
            OctetsShape::Binary { base64 } => {
                let octets = STANDARD.decode(base64);
                let octets =
                    octets.map_err(|error| de::Error::custom(format!("base64: {error}")))?;
                Ok(octets.into())
            }
        }
    }
}

/// How octets stand in JSON.
#[derive(Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum OctetsShape {
    Text(String),
    Binary { base64: String },
}

impl Default for RecordedPeer {
    fn default() -> Self {
        Self {
            transport: "memory".to_owned(),
            origin: None,
            session: String::new(),
        }
    }
}

impl RecordedHeaders {
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Without those of these names, in any case; gives the names that it had.
    #[must_use]
    pub fn without(self, names: &[String]) -> (Self, Vec<String>) {
        let mut left_out = Vec::new();
        let Self { fields, mut list } = self;
        list.retain(|(name, _)| {
            let named = |known: &&String| known.as_bytes().eq_ignore_ascii_case(&name.0);
            match names.iter().find(named) {
                None => true,
                Some(known) => {
                    left_out.push(known.clone());
                    false
                }
            }
        });
        left_out.sort_unstable();
        left_out.dedup();
        (Self { fields, list }, left_out)
    }
}

impl RecordedOutcome {
    /// Without headers of these names, and without such trailers.
    #[must_use]
    pub fn without_headers(self, names: &[String]) -> Self {
        match self {
            Self::Reply(reply) => Self::Reply(RecordedReply {
                headers: reply.headers.without(names).0,
                body: reply.body.without_headers(names),
                ..reply
            }),
            Self::Failure(failure) => Self::Failure(failure.without_headers(names)),
        }
    }
}

impl RecordedBody {
    /// Without trailers of these names, and without such headers of what ended it.
    #[must_use]
    pub(crate) fn without_headers(self, names: &[String]) -> Self {
        Self {
            trailers: self.trailers.map(|trailers| trailers.without(names).0),
            failed: self.failed.map(|failed| failed.without_headers(names)),
            ..self
        }
    }
}

impl RecordedFailure {
    fn without_headers(self, names: &[String]) -> Self {
        Self {
            headers: self.headers.without(names).0,
            ..self
        }
    }
}

const fn is_false(flag: &bool) -> bool {
    !*flag
}

const fn is_zero(number: &u8) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(octets: &'static [u8], json: &str) {
        let octets = RecordedOctets(Bytes::from_static(octets));
        assert_eq!(serde_json::to_string(&octets).unwrap(), json);
        assert_eq!(
            serde_json::from_str::<RecordedOctets>(json).unwrap(),
            octets
        );
    }

    #[test]
    fn octets_are_text_where_they_are_utf_8_and_base64_elsewhere() {
        check(b"", "\"\"");
        check("{\"é\":1}\n".as_bytes(), "\"{\\\"é\\\":1}\\n\"");
        check(b"\xff\x00", "{\"base64\":\"/wA=\"}");
        for json in [
            "1",
            "{\"base64\":\"?\"}",
            "{\"hex\":\"ff\"}",
            "{\"base64\":\"\",\"a\":1}",
        ] {
            assert!(
                serde_json::from_str::<RecordedOctets>(json).is_err(),
                "{json}"
            );
        }
    }

    #[test]
    fn headers_are_left_out_by_name_in_any_case() {
        let pair = |name: &'static str| (name.into(), "1".into());
        let headers = RecordedHeaders {
            fields: true,
            list: vec![pair("Cookie"), pair("a"), pair("cookie")],
        };
        let (rest, left_out) = headers.without(&["authorization".into(), "cookie".into()]);
        assert_eq!(rest.list, [pair("a")]);
        assert_eq!(left_out, ["cookie"]);
    }

    #[test]
    fn headers_are_left_out_wherever_they_stand() {
        let headers = || RecordedHeaders {
            fields: true,
            list: vec![("set-cookie".into(), "secret".into())],
        };
        let failed = || RecordedFailure {
            headers: headers(),
            ..RecordedFailure::new(postern_core::Kind::Internal, "x")
        };
        let body = RecordedBody {
            kind: RecordedBodyKind::Messages,
            trailers: Some(headers()),
            failed: Some(failed()),
            ..RecordedBody::default()
        };
        let reply = RecordedOutcome::Reply(RecordedReply {
            headers: headers(),
            body,
            ..RecordedReply::default()
        });
        for outcome in [reply, RecordedOutcome::Failure(failed())] {
            let shown = |outcome: &RecordedOutcome| serde_json::to_string(outcome).unwrap();
            assert!(shown(&outcome).contains("secret"));
            let without = outcome.without_headers(&["set-cookie".to_owned()]);
            assert!(!shown(&without).contains("secret"), "{}", shown(&without));
        }
    }
}
