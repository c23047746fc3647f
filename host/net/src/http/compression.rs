//! Content codings (RFC 9110 section 8.4): replies that are compressed as they flow, in the coding that
//! the client wants most, and requests that came compressed.
//!
//! ```text
//! reply:    accept-encoding ─▶ negotiate ─▶ is it worth it? ─▶ Coded { encoder } ─▶ client
//! request:  content-encoding ─▶ Coded { decoder, bounded in ratio } ─▶ whoever reads the body
//! ```
//! What has been compressed is sent when nothing more is at hand, so that a stream of events is not
//! held back.

mod coded;
#[cfg(test)]
mod tests;

use std::error::Error as StdError;

use http::{HeaderMap, HeaderValue, StatusCode, header, response};
use postern_core::{Blame, Error, Kind};

pub(super) use self::coded::{Coded, CodedError, Expansion, decoder_bytes, encoder_bytes};
use super::{accept::with_quality, media_type};

/// How content is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    Gzip,
    /// zlib's format (RFC 9110 section 8.4.1.2). Taken, and not sent: clients disagree about it.
    Deflate,
    Brotli,
    Zstd,
}

/// Which replies are compressed, and how far requests may expand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompressionConfig {
    /// Codings that replies are sent in, the preferred first. Default none: nothing is compressed.
    pub encodings: Vec<Coding>,
    /// Shortest reply of a known length that is compressed, in octets. Default 1024.
    pub bytes_min: usize,
    /// How many times its length a compressed request may become, beyond 64 KiB that every one may.
    /// Default 100, as Envoy has it.
    pub ratio_max: u64,
}

/// Codings that are taken, and in a name's order told of.
const CODINGS: [(Coding, &str); 4] = [
    (Coding::Gzip, "gzip"),
    (Coding::Deflate, "deflate"),
    (Coding::Brotli, "br"),
    (Coding::Zstd, "zstd"),
];

impl Coding {
    #[must_use]
    pub fn name(self) -> &'static str {
        let mut codings = CODINGS.iter();
        codings
            .find(|(coding, _)| *coding == self)
            .map_or("identity", |(_, name)| name)
    }

    /// By its name, in any case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let name = match name {
            name if name.eq_ignore_ascii_case("x-gzip") => "gzip",
            name => name,
        };
        let mut codings = CODINGS.iter();
        codings
            .find(|(_, known)| name.eq_ignore_ascii_case(known))
            .map(|(coding, _)| *coding)
    }
}

impl Default for CompressionConfig {
    fn default() -> Self {
        Self {
            encodings: Vec::new(),
            bytes_min: 1024,
            ratio_max: 100,
        }
    }
}

/// How the content of a request is coded, if it is.
///
/// # Errors
/// What to say of a coding that is not taken.
pub(super) fn of_request(headers: &HeaderMap) -> Result<Option<Coding>, String> {
    let Some(value) = headers.get(header::CONTENT_ENCODING) else {
        return Ok(None);
    };
    let name = value.to_str().map(str::trim);
    match name {
        Ok(name) if name.eq_ignore_ascii_case("identity") => Ok(None),
        name => match name.ok().and_then(Coding::from_name) {
            Some(coding) => Ok(Some(coding)),
            None => {
                let names = CODINGS.map(|(_, name)| name).join(", ");
                Err(format!(
                    "content encoding {value:?} is not accepted; send one of {names} or identity"
                ))
            }
        },
    }
}

/// What became of a body that cannot be read.
pub(super) fn read_error(error: Box<dyn StdError + Send + Sync>, blame: Blame) -> Error {
    let message = error.to_string();
    match error.downcast_ref::<CodedError>() {
        Some(CodedError::Malformed { .. }) => Error::new(Kind::InvalidArgument, blame, message),
        Some(CodedError::Expands { .. }) => {
            Error::new(Kind::InvalidArgument, blame, message).with_too_large()
        }
        Some(CodedError::Source(_)) | None => {
            // A client that breaks off wants no more; a server that does cannot be reached.
            let kind = match blame {
                Blame::Client => Kind::Cancelled,
                Blame::Gateway | Blame::Guest | Blame::Upstream => Kind::Unavailable,
            };
            Error::new(kind, blame, "the body ended early").with_source(error)
        }
    }
}

/// The coding in which a client is sent what can be compressed, as it asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked(pub(super) Option<Coding>);

/// `None` where nothing is compressed.
pub(super) fn asked(headers: &HeaderMap, config: &CompressionConfig) -> Option<Asked> {
    let offered = &config.encodings;
    (!offered.is_empty()).then(|| Asked(negotiate(headers, offered)))
}

/// The one of `offered` that the client wants most; of several that it wants alike, the first. `None`
/// where it wants the reply as it is.
fn negotiate(headers: &HeaderMap, offered: &[Coding]) -> Option<Coding> {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter();
    let items = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .take(ITEMS_MAX);
    let (mut wanted, mut others) = ([None; CODINGS.len()], None);
    for item in items {
        let (name, quality) = with_quality(item);
        match Coding::from_name(name) {
            _ if name == "*" => others = Some(quality),
            Some(coding) => {
                if let Some(wanted) = wanted.get_mut(coding as usize) {
                    *wanted = Some(quality);
                }
            }
            None => {}
        }
    }
    let quality = |coding: Coding| wanted.get(coding as usize).copied().flatten().or(others);
    let mut best = None;
    for coding in offered {
        let quality = quality(*coding).unwrap_or(0);
        if quality > best.map_or(0, |(_, best)| best) {
            best = Some((*coding, quality));
        }
    }
    best.map(|(coding, _)| coding)
}

/// Whether a reply with `head` may be sent in another coding at all: what it is depends on
/// `accept-encoding` then, also for a client that wants none.
pub(super) fn is_codable(head: &response::Parts, length: Option<u64>, bytes_min: usize) -> bool {
    let headers = &head.headers;
    let has_content = !matches!(
        head.status,
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED | StatusCode::PARTIAL_CONTENT
    ) && !head.status.is_informational();
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let may_change =
        !text(header::CACHE_CONTROL).is_some_and(|value| value.contains("no-transform"));
    let is_long = length.is_none_or(|length| length >= bytes_min as u64);
    has_content
        && may_change
        && is_long
        && !headers.contains_key(header::CONTENT_ENCODING)
        && !headers.contains_key(header::CONTENT_RANGE)
        && text(header::CONTENT_TYPE).is_some_and(is_compressible)
}

/// Whether content of that type becomes shorter: text, and not what is packed already.
fn is_compressible(content_type: &str) -> bool {
    const TYPES: [&str; 8] = [
        "application/javascript",
        "application/json",
        "application/wasm",
        "application/x-ndjson",
        "application/xml",
        "application/yaml",
        "image/svg+xml",
        "image/x-icon",
    ];
    let media = media_type(content_type).to_ascii_lowercase();
    media.starts_with("text/")
        || media.ends_with("+json")
        || media.ends_with("+xml")
        || TYPES.contains(&&*media)
}

/// Says in the head of a reply that it comes in `coding`: neither its length nor parts of it are known
/// then, and it is the same as another only in what it means (RFC 9110 section 8.8.3).
pub(super) fn describe(headers: &mut HeaderMap, coding: Coding) {
    headers.insert(
        header::CONTENT_ENCODING,
        HeaderValue::from_static(coding.name()),
    );
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(header::ACCEPT_RANGES);
    let weak = headers.get(header::ETAG).and_then(|tag| {
        let tag = tag.as_bytes();
        let is_weak = tag.starts_with(b"W/");
        (!is_weak).then(|| HeaderValue::from_bytes(&[b"W/", tag].concat()).ok())?
    });
    if let Some(weak) = weak {
        headers.insert(header::ETAG, weak);
    }
}

/// Says that the reply depends on `accept-encoding`, for caches.
pub(super) fn vary(headers: &mut HeaderMap) {
    let names = headers.get_all(header::VARY).iter();
    let mut names = names
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim);
    if !names.any(|name| name == "*" || name.eq_ignore_ascii_case("accept-encoding")) {
        headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
}

/// Items of `accept-encoding` that are looked at; browsers send four.
const ITEMS_MAX: usize = 32;
