//! What callers ask for, read strictly: a key that is not known is refused with the one that was
//! probably meant.

use std::collections::BTreeMap;

use bytes::Bytes;
use postern_core::{
    Body, Call, Error, Text,
    registry::{Caller, Query, Range, watch::Scope},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value as Json};

use crate::{
    directory::{
        batch::{CursorText, Name},
        listing,
    },
    nearest::nearest,
};

/// Octets of a request: an entry has 16 KiB of text at most, and JSON may write an octet as six.
const REQUEST_BYTES_MAX: usize = 128 * 1024;

/// `services`: all, or the one of that name.
#[derive(Debug, Deserialize)]
pub(super) struct Catalogued {
    pub service: Option<String>,
    /// Whether the schemas of its types are wanted, of one service.
    #[serde(default)]
    pub schemas: bool,
}

/// `openapi`: of all routes, or those of one listener.
#[derive(Debug, Deserialize)]
pub(super) struct Documented {
    pub listener: Option<String>,
}

/// A request whose keys are known.
pub(super) trait Request: DeserializeOwned {
    const KEYS: &'static [&'static str];
}

/// `heartbeat` and `unregister`.
#[derive(Debug, Deserialize)]
pub(super) struct Held {
    pub instance: String,
    #[serde(default)]
    pub incarnation: u64,
}

/// `discover`: everything given must hold.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    pub service: Option<String>,
    pub version: Option<String>,
    #[serde(default)]
    pub params: Map<String, Json>,
    pub vnet: Option<String>,
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

/// `picture`.
#[derive(Debug, Deserialize)]
pub(super) struct Pictured {
    #[serde(flatten)]
    pub asked: Asked,
    #[serde(default)]
    pub scope: ScopeName,
    pub after: Option<Name>,
}

/// `watch`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Watched {
    #[serde(flatten)]
    pub asked: Asked,
    #[serde(default)]
    pub scope: ScopeName,
    pub cursor: Option<CursorText>,
    pub wait_ms: Option<u64>,
    /// Whether the caller sent a stream, and so takes one.
    #[serde(skip)]
    pub is_stream: bool,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ScopeName {
    Own,
    #[default]
    All,
}

impl Request for Held {
    const KEYS: &'static [&'static str] = &["instance", "incarnation"];
}

impl Request for Catalogued {
    const KEYS: &'static [&'static str] = &["service", "schemas"];
}

impl Request for Documented {
    const KEYS: &'static [&'static str] = &["listener"];
}

impl Request for Asked {
    const KEYS: &'static [&'static str] = &["service", "version", "params", "vnet", "metadata"];
}

impl Request for Pictured {
    const KEYS: &'static [&'static str] = &[
        "service", "version", "params", "vnet", "metadata", "scope", "after",
    ];
}

impl Request for Watched {
    const KEYS: &'static [&'static str] = &[
        "service", "version", "params", "vnet", "metadata", "scope", "cursor", "wait-ms",
    ];
}

impl From<ScopeName> for Scope {
    fn from(name: ScopeName) -> Self {
        match name {
            ScopeName::Own => Self::Own,
            ScopeName::All => Self::All,
        }
    }
}

impl Asked {
    pub(super) fn query(&self, caller: Caller) -> Result<Query, Error> {
        let wrong = |error: &dyn std::fmt::Display| Error::invalid_argument(error.to_string());
        let text = |text: &String| Text::from(text.as_str());
        let range = self.version.as_deref().map(Range::parse).transpose();
        Ok(Query {
            service: self.service.as_ref().map(text),
            version: range.map_err(|error| wrong(&error))?,
            params: listing::params(&self.params).map_err(|error| wrong(&error))?,
            vnet: self.vnet.as_ref().map(text),
            metadata: (self.metadata.iter())
                .map(|(key, value)| (text(key), text(value)))
                .collect(),
            caller,
        })
    }
}

/// The first message of a call. Nothing is `{}`.
pub(super) async fn read<R: Request>(call: &mut Call) -> Result<R, Error> {
    read_with(call, R::KEYS).await
}

pub(super) async fn read_with<T: DeserializeOwned>(
    call: &mut Call,
    keys: &[&str],
) -> Result<T, Error> {
    let octets = first_message(std::mem::take(&mut call.body)).await?;
    let (length, limit) = (octets.len(), REQUEST_BYTES_MAX);
    if length > limit {
        let message = format!("request of {length} octets exceeds the limit of {limit}");
        return Err(Error::invalid_argument(message));
    }
    let is_blank = octets.iter().all(u8::is_ascii_whitespace);
    let text = if is_blank { b"{}" } else { &octets[..] };
    let wrong = |error| Error::invalid_argument(format!("the request is not understood: {error}"));
    let request: Map<String, Json> = serde_json::from_slice(text).map_err(wrong)?;
    for key in request.keys() {
        if keys.contains(&key.as_str()) {
            continue;
        }
        let known = keys.iter().copied();
        return Err(Error::invalid_argument(match nearest(key, known) {
            Some(near) => format!("unknown key {key:?}; did you mean \"{near}\"?"),
            None => format!("unknown key {key:?}; known here: {}", keys.join(", ")),
        }));
    }
    serde_json::from_value(Json::Object(request)).map_err(wrong)
}

/// A stream may go on behind its first message, which is all that is read of it.
async fn first_message(body: Body) -> Result<Bytes, Error> {
    let mut messages = body.into_messages(REQUEST_BYTES_MAX);
    Ok(messages.next().await.transpose()?.unwrap_or_default())
}
