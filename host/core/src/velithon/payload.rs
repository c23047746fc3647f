//! Bodies of messages and payloads of calls. A request's body is the object of its named arguments and is
//! the payload as it is. A response's body has to be an object, too: a caller looks for `error` in it, and
//! whatever is no object, or has that member without being a failure, is put under `result`.

use bytes::Bytes;

use crate::{
    error::Error,
    json::{self, push_string},
};

/// Checks that the body of a request is an object, as named arguments are.
///
/// # Errors
/// `invalid-argument`.
pub fn check_arguments(body: &[u8]) -> Result<(), Error> {
    if body.starts_with(b"{") {
        return Ok(());
    }
    let what = match body.first() {
        Some(b'[') => "a list",
        Some(b'"') => "a text",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        Some(_) | None => "a number",
    };
    Err(Error::invalid_argument(format!(
        "the body has to be an object of named arguments, and is {what}"
    )))
}

/// The body of a request whose payload is `payload`.
///
/// # Errors
/// `invalid-argument` where it is no JSON object.
pub fn request_body(payload: &Bytes) -> Result<Bytes, Error> {
    let trimmed = payload.trim_ascii();
    if trimmed.is_empty() {
        return Ok(Bytes::from_static(b"{}"));
    }
    json::check(trimmed).map_err(|error| {
        let message = format!("a velithon service takes JSON, and the payload is none: {error}");
        Error::invalid_argument(message)
    })?;
    check_arguments(trimmed)?;
    Ok(payload.slice_ref(trimmed))
}

/// The body of the response that answers with `payload`. Nothing is an empty object.
#[must_use]
pub fn reply_body(payload: &Bytes) -> Bytes {
    let trimmed = payload.trim_ascii();
    if trimmed.is_empty() {
        return Bytes::from_static(b"{}");
    }
    let mut has_error = false;
    let visited = json::visit_members(trimmed, &mut |key, _| {
        has_error |= key == b"\"error\"" || json::string(key).as_deref() == Some("error");
    });
    if visited.is_ok() && trimmed.starts_with(b"{") && !has_error {
        return payload.slice_ref(trimmed);
    }
    let mut body = Vec::with_capacity(payload.len() + 32);
    body.extend_from_slice(b"{\"result\":");
    push_value(&mut body, payload, visited.is_ok());
    body.push(b'}');
    body.into()
}

/// The body of the response that answers with several messages: a list of them under `result`.
#[must_use]
pub fn list_body(messages: &[Bytes]) -> Bytes {
    let mut body = b"{\"result\":[".to_vec();
    for (idx, message) in messages.iter().enumerate() {
        if idx > 0 {
            body.push(b',');
        }
        push_value(&mut body, message, json::check(message).is_ok());
    }
    body.extend_from_slice(b"]}");
    body.into()
}

/// JSON as it is, text as a string, and octets that are no text in base64.
fn push_value(body: &mut Vec<u8>, payload: &[u8], is_json: bool) {
    if is_json {
        return body.extend_from_slice(payload.trim_ascii());
    }
    match str::from_utf8(payload) {
        Ok(text) => push_string(body, text),
        Err(_) => {
            body.extend_from_slice(b"{\"base64\":\"");
            push_base64(body, payload);
            body.extend_from_slice(b"\"}");
        }
    }
}

/// RFC 4648 section 4.
fn push_base64(out: &mut Vec<u8>, octets: &[u8]) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for group in octets.chunks(3) {
        let octet = |idx: usize| u32::from(group.get(idx).copied().unwrap_or_default());
        let bits = octet(0) << 16 | octet(1) << 8 | octet(2);
        for digit in 0..4 {
            let index = usize::try_from(bits >> (18 - 6 * digit) & 0x3f).unwrap_or_default();
            let is_of_group = digit <= group.len();
            let char = DIGITS.get(index).copied().filter(|_| is_of_group);
            out.push(char.unwrap_or(b'='));
        }
    }
}
