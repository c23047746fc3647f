//! Conditional requests for what a handler gives an entity tag (RFC 9110 section 13). Of methods that
//! change something the handler alone knows whether the condition holds, before it changes anything; it
//! sees the fields.

use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use postern_core::{Blame, Error, Kind};

use crate::http::{reply::ReplyBody, request::Refusal};

/// The response, 304 where the client has it, or 412 where it wants another.
///
/// # Errors
/// `if-match` that names no tag of the response.
pub(in crate::http) fn judge(
    method: &Method,
    headers: &HeaderMap,
    response: Response<ReplyBody>,
) -> Result<Response<ReplyBody>, Refusal> {
    if !matches!(*method, Method::GET | Method::HEAD) || response.status() != StatusCode::OK {
        return Ok(response);
    }
    let Some(tag) = response.headers().get(header::ETAG).and_then(EntityTag::of) else {
        return Ok(response);
    };
    if headers.contains_key(header::IF_MATCH)
        && !names(headers, &header::IF_MATCH, |named| named.is_same(&tag))
    {
        let message = "what is here has another entity tag than if-match names";
        let error = Error::new(Kind::FailedPrecondition, Blame::Client, message);
        return Err(Refusal::new(StatusCode::PRECONDITION_FAILED, error));
    }
    if names(headers, &header::IF_NONE_MATCH, |named| {
        named.opaque == tag.opaque
    }) {
        let (mut head, _) = response.into_parts();
        head.status = StatusCode::NOT_MODIFIED;
        for name in [
            header::CONTENT_LENGTH,
            header::CONTENT_TYPE,
            header::TRAILER,
        ] {
            head.headers.remove(name);
        }
        return Ok(Response::from_parts(head, ReplyBody::whole("")));
    }
    Ok(response)
}

/// A tag, without its quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct EntityTag {
    is_weak: bool,
    opaque: Vec<u8>,
}

impl EntityTag {
    fn of(value: &HeaderValue) -> Option<Self> {
        let (tag, rest) = Self::split(value.as_bytes())?;
        rest.trim_ascii().is_empty().then_some(tag)
    }

    /// The first tag of a list, and what follows it.
    fn split(list: &[u8]) -> Option<(Self, &[u8])> {
        let list = list.trim_ascii_start();
        let (is_weak, rest) = match list.strip_prefix(b"W/") {
            Some(rest) => (true, rest),
            None => (false, list),
        };
        let rest = rest.strip_prefix(b"\"")?;
        let end = rest.iter().position(|octet| *octet == b'"')?;
        let (opaque, rest) = rest.split_at(end);
        let tag = Self {
            is_weak,
            opaque: opaque.to_vec(),
        };
        Some((tag, rest.strip_prefix(b"\"")?))
    }

    /// Strong comparison: RFC 9110 section 8.8.3.2.
    fn is_same(&self, other: &Self) -> bool {
        !self.is_weak && !other.is_weak && self.opaque == other.opaque
    }
}

/// Whether a field is `*`, or one of its tags `is_meant`. What follows something that is no tag counts
/// for nothing.
fn names(
    headers: &HeaderMap,
    field: &header::HeaderName,
    is_meant: impl Fn(&EntityTag) -> bool,
) -> bool {
    headers.get_all(field).iter().any(|value| {
        let mut rest = value.as_bytes().trim_ascii();
        if rest == b"*" {
            return true;
        }
        while let Some((tag, after)) = EntityTag::split(rest) {
            if is_meant(&tag) {
                return true;
            }
            let after = after.trim_ascii_start();
            rest = after.strip_prefix(b",").unwrap_or(&[]);
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(
        method: &Method,
        etag: &'static str,
        field: (&'static str, &'static str),
        status: u16,
    ) {
        let mut headers = HeaderMap::new();
        headers.insert(field.0, HeaderValue::from_static(field.1));
        let mut response = Response::new(ReplyBody::whole("{}"));
        response
            .headers_mut()
            .insert(header::ETAG, HeaderValue::from_static(etag));
        let judged = judge(method, &headers, response);
        let told = judged.map_or_else(|refusal| refusal.status, |response| response.status());
        assert_eq!(told.as_u16(), status, "{field:?} of {etag}");
    }

    #[test]
    fn who_has_it_is_told_so() {
        for (field, status) in [
            ("\"a\"", 304),
            ("W/\"a\"", 304),
            ("\"b\", \"a,b\" ,W/\"a\"", 304),
            ("*", 304),
            ("\"b\"", 200),
            ("a", 200),
            ("\"b\" \"a\"", 200),
            ("", 200),
        ] {
            check(&Method::GET, "\"a\"", ("if-none-match", field), status);
            check(&Method::POST, "\"a\"", ("if-none-match", field), 200);
        }
        check(&Method::HEAD, "W/\"a\"", ("if-none-match", "\"a\""), 304);
        check(&Method::GET, "a", ("if-none-match", "*"), 200);
    }

    #[test]
    fn who_wants_another_is_refused() {
        for (field, status) in [("\"a\"", 200), ("*", 200), ("\"b\"", 412), ("W/\"a\"", 412)] {
            check(&Method::GET, "\"a\"", ("if-match", field), status);
            check(&Method::PUT, "\"a\"", ("if-match", field), 200);
        }
        check(&Method::GET, "W/\"a\"", ("if-match", "W/\"a\""), 412);
    }
}
