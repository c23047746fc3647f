//! What the body of a request is said to be, whether it is taken, and how it is read.

use http::{HeaderMap, StatusCode, header};
use http_body::Body as HttpBody;

use super::{
    compression::{self, Coding},
    is_json, is_ndjson, media_type,
    present::Present,
    request::Refusal,
};

/// Which bodies a call takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum TakenBody {
    /// All but those that a page may send anywhere.
    #[default]
    Message,
    /// JSON and NDJSON.
    Json,
    /// As `Json`; also forms.
    Form,
    /// Whatever it is, as one message.
    Whole,
    /// Whatever it is, as it flows.
    Any,
}

/// How a body is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Before the call begins: it is one message.
    Whole,
    /// A message a line.
    Lines,
    /// As it flows.
    Pieces,
}

/// What the body is said to be.
pub(super) fn content_type(headers: &HeaderMap, present: Present) -> Option<&str> {
    let is_there = present.contains(Present::CONTENT_TYPE);
    let value = is_there.then(|| headers.get(header::CONTENT_TYPE))??;
    str::from_utf8(value.as_bytes()).ok()
}

/// Refuses bodies that are not taken.
///
/// The three media types of `PAGE_TYPES` are those that a web page may send anywhere without asking
/// (<https://fetch.spec.whatwg.org/#cors-safelisted-request-header>); handlers on localhost must not be
/// reachable so, unless a route says that it takes them.
pub(super) fn check_content(
    content_type: Option<&str>,
    takes: TakenBody,
    is_empty: bool,
) -> Result<(), Refusal> {
    const PAGE_TYPES: [&str; 3] = [FORM, MULTIPART, "text/plain"];
    if matches!(takes, TakenBody::Whole | TakenBody::Any) {
        return Ok(());
    }
    let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    if let Some(value) = content_type.filter(|value| !is_json(value)) {
        let is_of_page = || {
            let media = media_type(value);
            PAGE_TYPES.iter().any(|one| media.eq_ignore_ascii_case(one))
        };
        let is_taken = match takes {
            TakenBody::Message => !is_of_page(),
            TakenBody::Json => is_empty && !is_of_page(),
            TakenBody::Form => is_form_type(value) || (is_empty && !is_of_page()),
            TakenBody::Whole | TakenBody::Any => true,
        };
        if !(is_taken || (takes != TakenBody::Message && is_ndjson(value))) {
            let media = media_type(value);
            let message = format!(
                "content type {media} is not accepted; send application/json (curl: -H 'content-type: application/json')"
            );
            return Err(Refusal::invalid(status, message));
        }
    }
    Ok(())
}

/// How a body is coded that somebody here reads; what is passed on stays as it is.
pub(super) fn coding_of(
    headers: &HeaderMap,
    present: Present,
    takes: TakenBody,
) -> Result<Option<Coding>, Refusal> {
    if takes == TakenBody::Any || !present.contains(Present::CONTENT_ENCODING) {
        return Ok(None);
    }
    let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    compression::of_request(headers).map_err(|message| Refusal::invalid(status, message))
}

/// Whether the body is a form.
pub(super) fn is_form(headers: &HeaderMap) -> bool {
    content_type(headers, Present::CONTENT_TYPE).is_some_and(is_form_type)
}

pub(super) fn is_form_type(value: &str) -> bool {
    let media = media_type(value);
    [FORM, MULTIPART]
        .iter()
        .any(|form| media.eq_ignore_ascii_case(form))
}

/// JSON is one message. What is something else flows, but for what is short and of a known length:
/// it may be looked at, and sent once more.
pub(super) fn form_of<B: HttpBody>(content_type: Option<&str>, body: &B) -> Form {
    let Some(kind) = content_type else {
        return Form::Whole;
    };
    if is_json(kind) {
        Form::Whole
    } else if is_ndjson(kind) {
        Form::Lines
    } else if is_short(body) {
        Form::Whole
    } else {
        Form::Pieces
    }
}

pub(super) fn is_short<B: HttpBody>(body: &B) -> bool {
    let length = body.size_hint().exact();
    length.is_some_and(|length| length <= WHOLE_BYTES_MAX)
}

/// Forms of web pages: <https://html.spec.whatwg.org/multipage/form-control-infrastructure.html>.
pub(super) const FORM: &str = "application/x-www-form-urlencoded";
pub(super) const MULTIPART: &str = "multipart/form-data";
/// Longest body of a known length and of any content that is read before its call begins, in octets:
/// about the initial window of HTTP/2 (RFC 9113 section 6.9.2).
const WHOLE_BYTES_MAX: u64 = 64 * 1024;
