//! Between what guests say and what the gateway says: failures and errors, headers, payloads.

use postern_core::{
    Blame, Error, Headers, Kind,
    headers::{ENTRY_BYTES_MAX, SECTION_BYTES_MAX},
};

use crate::{
    bindings::Failure,
    limits::octets,
    outcome::Outcome,
    reply_draft::{DraftError, Drafted, ReplyDraft},
};

/// Longest text that a guest may put into an error, in octets; the rest is cut.
const MESSAGE_BYTES_MAX: usize = 8 * 1024;

/// A guest's failure as the caller gets it. Details that are not one JSON value would break the
/// error's own JSON, so they are wrapped as a string.
pub(crate) fn to_error(failure: Failure) -> Error {
    let Failure {
        kind,
        mut message,
        details,
    } = failure;
    cut(&mut message, MESSAGE_BYTES_MAX);
    let error = Error::new(Kind::from(kind), Blame::Guest, message);
    let Some(mut details) = details else {
        return error;
    };
    if serde_json::from_str::<serde::de::IgnoredAny>(&details).is_ok() {
        return error.with_details(details);
    }
    cut(&mut details, MESSAGE_BYTES_MAX);
    let mut json = Vec::with_capacity(details.len() + 2);
    postern_core::error::push_json_string(&mut json, &details);
    error.with_details(json)
}

/// The same of a call, with what was set of its reply.
pub(crate) fn to_failed(failure: Failure, draft: Drafted) -> Error {
    match draft {
        None => to_error(failure),
        draft @ Some(_) => to_error(failure).with_headers(ReplyDraft::into_headers(draft)),
    }
}

/// An error of the gateway, or of a service that was called, as a guest sees it.
pub(crate) fn to_failure(error: Error) -> Failure {
    let details = error
        .details
        .and_then(|details| String::from_utf8(details.into()).ok());
    Failure {
        kind: error.kind.into(),
        message: error.message.into_owned(),
        details,
    }
}

/// An error that somebody else keeps, as a guest sees it.
pub(crate) fn shown(error: &Error) -> Failure {
    let details = error.details.as_deref();
    Failure {
        kind: error.kind.into(),
        message: error.message.clone().into_owned(),
        details: details.and_then(|details| String::from_utf8(details.to_vec()).ok()),
    }
}

pub(crate) fn failure(kind: Kind, message: impl Into<String>) -> Failure {
    Failure {
        kind: kind.into(),
        message: message.into(),
        details: None,
    }
}

impl From<DraftError> for Failure {
    fn from(error: DraftError) -> Self {
        let kind = match error {
            DraftError::Begun { .. } | DraftError::Watched => Kind::FailedPrecondition,
            DraftError::NameLength { .. }
            | DraftError::SectionTooLong { .. }
            | DraftError::Header(_)
            | DraftError::Status(_) => Kind::InvalidArgument,
        };
        failure(kind, error.to_string())
    }
}

/// How an entry ended that did not trap.
pub(crate) const fn outcome_of<T>(answer: &Result<T, Failure>) -> Outcome {
    match answer {
        Ok(_) => Outcome::Ok,
        Err(_) => Outcome::Failed,
    }
}

/// Cuts `text` to at most `bytes_max`, at a character.
pub(crate) fn cut(text: &mut String, bytes_max: usize) {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max));
    }
}

/// Refuses a message that is larger than what the guest may be handed.
pub(crate) fn check_input(length: usize, limit: usize) -> Result<(), Error> {
    if length <= limit {
        return Ok(());
    }
    let limit = octets(limit);
    let message = format!("message of {length} octets exceeds the plugin's limit of {limit}");
    Err(Error::new(Kind::ResourceExhausted, Blame::Client, message).with_too_large())
}

/// Refuses a payload that is larger than what a guest may give out. A guest that passes the failure on
/// is at fault, not its caller: no other try and no shorter request helps.
pub(crate) fn check_output(length: usize, limit: usize) -> Result<(), Failure> {
    if length <= limit {
        return Ok(());
    }
    let message = format!("payload of {length} octets exceeds the limit of {limit}");
    Err(failure(Kind::Internal, message))
}

/// A message as text.
pub(crate) fn to_text(message: Vec<u8>) -> Result<String, Failure> {
    text_of(message, Kind::InvalidArgument, "message")
}

/// `octets` as text; a failure of that kind where they are none. `what` they are.
pub(crate) fn text_of(octets: Vec<u8>, kind: Kind, what: &str) -> Result<String, Failure> {
    let length = octets.len();
    String::from_utf8(octets)
        .map_err(|_| failure(kind, format!("{what} of {length} octets is not UTF-8")))
}

/// All headers in order, as guests read them. Names that are not UTF-8 are shown with replacement
/// characters.
pub(crate) fn all_headers(headers: &Headers) -> Vec<(String, Vec<u8>)> {
    let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    let all = headers.iter();
    all.map(|(name, value)| (text(name), value.into_owned()))
        .collect()
}

/// Headers with `name` standing once, with `value`.
pub(crate) fn with_header(headers: &Headers, name: &str, value: &str) -> Result<Headers, Failure> {
    added_header(&without_header(headers, name), name, value)
}

/// Headers with one more.
pub(crate) fn added_header(headers: &Headers, name: &str, value: &str) -> Result<Headers, Failure> {
    if !(1..=ENTRY_BYTES_MAX).contains(&name.len()) {
        let length = name.len();
        let message =
            format!("header name of {length} octets is not within 1 to {ENTRY_BYTES_MAX}");
        return Err(failure(Kind::InvalidArgument, message));
    }
    // Those of HTTP have no bound of their own.
    let octets = headers.section().len() + name.len() + value.len();
    if octets > SECTION_BYTES_MAX {
        let message = format!("headers of {octets} octets exceed the limit of {SECTION_BYTES_MAX}");
        return Err(failure(Kind::InvalidArgument, message));
    }
    let mut changed = headers.clone();
    let pushed = changed.push(name, value);
    pushed.map_err(|error| failure(Kind::InvalidArgument, error.to_string()))?;
    Ok(changed)
}

/// Headers without those of that name.
pub(crate) fn without_header(headers: &Headers, name: &str) -> Headers {
    headers.without_key(name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(details: &str) -> Error {
        to_error(Failure {
            details: Some(details.to_owned()),
            ..failure(Kind::NotFound, "no user 7")
        })
    }

    #[test]
    fn a_failure_keeps_its_kind_text_and_details() {
        let error = error_of(r#"{"id":7}"#);
        assert_eq!((error.kind, error.blame), (Kind::NotFound, Blame::Guest));
        assert_eq!(
            error.to_json(),
            r#"{"error":"no user 7","code":404,"details":{"id":7}}"#
        );
    }

    #[test]
    fn details_that_are_not_json_become_a_string() {
        let expected = r#"{"error":"no user 7","code":404,"details":"a \"b\","}"#;
        assert_eq!(error_of("a \"b\",").to_json(), expected);
    }

    #[test]
    fn long_text_is_cut_at_a_character() {
        let mut text = "aé".to_owned();
        cut(&mut text, 2);
        assert_eq!(text, "a");
        let mut text = "aé".to_owned();
        cut(&mut text, 3);
        assert_eq!(text, "aé");
    }

    #[test]
    fn a_message_of_the_limit_fits_and_one_more_does_not() {
        assert!(check_input(1024, 1024).is_ok());
        let error = check_input(1025, 1024).unwrap_err();
        assert_eq!(
            error.message,
            "message of 1025 octets exceeds the plugin's limit of 1 KiB"
        );
    }

    #[test]
    fn a_header_that_is_set_stands_once() {
        let mut headers = Headers::new();
        headers.push("a", "1").unwrap();
        headers.push("b", "2").unwrap();
        headers.push("a", "3").unwrap();
        let changed = with_header(&headers, "a", "4").unwrap();
        let all: Vec<_> = changed
            .iter()
            .map(|(key, value)| (key, value.into_owned()))
            .collect();
        assert_eq!(all, [(&b"b"[..], b"2".to_vec()), (b"a", b"4".to_vec())]);
        assert!(with_header(&headers, "", "4").is_err());
        assert!(with_header(&headers, &"k".repeat(256), "4").is_err());
        let changed = added_header(&headers, "a", "4").unwrap();
        assert_eq!(changed.values(b"a").count(), 3);
        assert!(added_header(&headers, "", "4").is_err());
    }

    #[test]
    fn a_plugin_that_gives_out_too_much_is_at_fault_and_not_its_caller() {
        assert!(check_output(4, 4).is_ok());
        let error = to_error(check_output(5, 4).unwrap_err());
        assert_eq!(error.message, "payload of 5 octets exceeds the limit of 4");
        assert_eq!((error.kind, error.blame), (Kind::Internal, Blame::Guest));
        assert_eq!((error.http(), error.retry_after()), (500, None));
    }

    #[test]
    fn added_headers_are_bounded_whatever_they_are_added_to() {
        let fields = || postern_core::headers::HeadersBuilder::fields(1, 1).build();
        for headers in [Headers::new(), fields()] {
            assert!(added_header(&headers, &"n".repeat(255), "v").is_ok());
            for (name, value) in [
                (String::new(), String::new()),
                ("n".repeat(256), String::new()),
                ("n".to_owned(), "v".repeat(SECTION_BYTES_MAX)),
            ] {
                let refused = added_header(&headers, &name, &value);
                let refused = refused.expect_err("beyond a bound");
                assert_eq!(Kind::from(refused.kind), Kind::InvalidArgument);
            }
        }
    }
}
