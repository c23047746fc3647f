//! Forms of web pages as parameters, where a route takes them: `application/x-www-form-urlencoded`, and
//! `multipart/form-data` (RFC 7578), whose files are objects of `filename`, `content-type` and `data` in
//! base64. The body is whole, and was bounded when it was read.

use http::{HeaderMap, StatusCode, header};
use postern_core::json;

use super::{
    params::{ParamSource, Parameters},
    schema::ParamTypes,
};
use crate::http::{content::MULTIPART, media_type, request::Refusal};

/// One part of `multipart/form-data`.
#[derive(Debug, PartialEq, Eq)]
struct Part<'a> {
    name: String,
    filename: Option<String>,
    content_type: Option<String>,
    content: &'a [u8],
}

/// Adds the fields of a form to `parameters`.
///
/// # Errors
/// What is no form, and what `Parameters::add` refuses.
pub(super) fn read(
    body: &[u8],
    headers: &HeaderMap,
    parameters: &mut Parameters,
    types: ParamTypes<'_>,
) -> Result<(), Refusal> {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !media_type(kind).eq_ignore_ascii_case(MULTIPART) {
        let pairs = str::from_utf8(body).map_err(|_| malformed("it is not utf-8"))?;
        let pairs = pairs.trim_ascii_end();
        return Ok(parameters.add(pairs, ParamSource::Form, types)?);
    }
    let boundary = parameter(kind, "boundary").filter(|boundary| !boundary.is_empty());
    let boundary = boundary.ok_or_else(|| malformed("it names no boundary"))?;
    for part in parts(body, &boundary)? {
        match &part.filename {
            Some(filename) => {
                let file = file_json(filename, &part);
                parameters.push_file(part.name, file)?;
            }
            None => {
                let value = str::from_utf8(part.content);
                let value = value.map_err(|_| malformed("a field is not utf-8"))?;
                parameters.push(part.name, value.to_owned(), ParamSource::Form, types)?;
            }
        }
    }
    Ok(())
}

/// The parts between boundaries: RFC 2046 section 5.1.1.
fn parts<'a>(body: &'a [u8], boundary: &str) -> Result<Vec<Part<'a>>, Refusal> {
    let delimiter = format!("\r\n--{boundary}");
    let delimiter = delimiter.as_bytes();
    // The first boundary may stand at the very begin.
    let first = delimiter.get(2..).unwrap_or_default();
    let mut rest = match body.strip_prefix(first) {
        Some(rest) => rest,
        None => {
            let at = find(body, delimiter).ok_or_else(|| malformed("it has no boundary"))?;
            body.get(at + delimiter.len()..).unwrap_or_default()
        }
    };
    let mut parts = Vec::new();
    loop {
        if rest.starts_with(b"--") {
            return Ok(parts);
        }
        if parts.len() >= PARTS_MAX {
            return Err(malformed("it has more than 256 parts"));
        }
        let begin = rest.strip_prefix(b"\r\n");
        let begin = begin.ok_or_else(|| malformed("something follows a boundary"))?;
        let end = find(begin, delimiter).ok_or_else(|| malformed("it has no last boundary"))?;
        let (part, after) = begin.split_at(end);
        parts.push(Part::read(part)?);
        rest = after.get(delimiter.len()..).unwrap_or_default();
    }
}

impl<'a> Part<'a> {
    fn read(octets: &'a [u8]) -> Result<Self, Refusal> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let parsed = httparse::parse_headers(octets, &mut fields);
        let Ok(httparse::Status::Complete((length, fields))) = parsed else {
            return Err(malformed("a part has no head"));
        };
        let field = |name: &str| {
            let mut named = fields
                .iter()
                .filter(|one| one.name.eq_ignore_ascii_case(name));
            named
                .next()
                .and_then(|field| str::from_utf8(field.value).ok())
        };
        let disposition = field("content-disposition").unwrap_or_default();
        let is_field = media_type(disposition).eq_ignore_ascii_case("form-data");
        let name = parameter(disposition, "name").filter(|_| is_field);
        Ok(Self {
            name: name.ok_or_else(|| malformed("a part has no name"))?,
            filename: parameter(disposition, "filename"),
            content_type: field("content-type").map(str::to_owned),
            content: octets.get(length..).unwrap_or_default(),
        })
    }
}

/// The value of a parameter of a field: `name=text` or `name="text"`. Browsers write a quote within as
/// `%22`, which stays as it is.
fn parameter(value: &str, name: &str) -> Option<String> {
    let mut rest = value.split_once(';')?.1;
    loop {
        let (key, after) = rest.split_once('=')?;
        let (found, after) = match after.strip_prefix('"') {
            Some(quoted) => {
                let end = quoted.find('"')?;
                let (text, after) = quoted.split_at(end);
                (text, after.get(1..).unwrap_or_default())
            }
            None => {
                let end = after.find(';').unwrap_or(after.len());
                let (text, after) = after.split_at(end);
                (text.trim(), after)
            }
        };
        if key.trim().eq_ignore_ascii_case(name) {
            return Some(found.to_owned());
        }
        rest = after.trim_start().strip_prefix(';')?;
    }
}

fn file_json(filename: &str, part: &Part<'_>) -> Vec<u8> {
    let kind = part.content_type.as_deref();
    let mut out = Vec::with_capacity(part.content.len() / 3 * 4 + 128);
    out.extend_from_slice(b"{\"filename\":");
    json::push_string(&mut out, filename);
    out.extend_from_slice(b",\"content-type\":");
    json::push_string(&mut out, kind.unwrap_or("application/octet-stream"));
    out.extend_from_slice(b",\"data\":\"");
    push_base64(&mut out, part.content);
    out.extend_from_slice(b"\"}");
    out
}

/// RFC 4648 section 4, with padding.
fn push_base64(out: &mut Vec<u8>, octets: &[u8]) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for chunk in octets.chunks(3) {
        let at = |idx: usize| u32::from(chunk.get(idx).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for (idx, shift) in [18_u32, 12, 6, 0].into_iter().enumerate() {
            let digit = ALPHABET.get((bits >> shift & 63) as usize).copied();
            out.push(match idx <= chunk.len() {
                true => digit.unwrap_or(b'='),
                false => b'=',
            });
        }
    }
}

fn find(octets: &[u8], wanted: &[u8]) -> Option<usize> {
    // Boundaries begin with CR, which is rare.
    let mut from = 0;
    loop {
        let rest = octets.get(from..)?;
        let at = from + rest.iter().position(|octet| *octet == b'\r')?;
        if octets.get(at..)?.starts_with(wanted) {
            return Some(at);
        }
        from = at + 1;
    }
}

fn malformed(reason: &str) -> Refusal {
    let message = format!("the form cannot be read: {reason}");
    Refusal::invalid(StatusCode::BAD_REQUEST, message)
}

const PARTS_MAX: usize = 256;
/// Fields of the head of one part; browsers send two.
const FIELDS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use postern_core::route::ParamType;

    use super::*;

    fn object(kind: &'static str, body: &str) -> Result<String, String> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        let stated = [("n".into(), ParamType::Int)].into();
        let types = ParamTypes {
            stated: &stated,
            schema: None,
        };
        let mut parameters = Parameters::default();
        let told = |refusal: Refusal| refusal.error.message.into_owned();
        read(body.as_bytes(), &headers, &mut parameters, types).map_err(told)?;
        let object = parameters.into_object(b"").expect("an object");
        Ok(String::from_utf8(object.to_vec()).expect("text"))
    }

    const KIND: &str = "multipart/form-data; charset=utf-8; boundary=\"a b\"";

    #[test]
    fn fields_are_parameters_and_files_objects() {
        let pairs = object("application/x-www-form-urlencoded", "n=7&a=b+c&a=d\r\n");
        assert_eq!(pairs.as_deref(), Ok("{\"a\":[\"b c\",\"d\"],\"n\":7}"));
        let body = "preamble\r\n--a b\r\ncontent-disposition: form-data; name=\"n\"\r\n\r\n7\r\n--a b\r\n\
                    Content-Disposition: form-data; filename=\"x;y.bin\"; name=f\r\n\
                    content-type: image/png\r\n\r\n\r\nab\r\n--a bc\r\n--a b--\r\nepilogue";
        // The boundary must stand alone in its line.
        assert_eq!(
            object(KIND, body),
            Err("the form cannot be read: something follows a boundary".into())
        );
        let body = body.replace("\r\n--a bc", "");
        assert_eq!(
            object(KIND, &body).as_deref(),
            Ok(
                "{\"f\":{\"filename\":\"x;y.bin\",\"content-type\":\"image/png\",\"data\":\"DQphYg==\"},\"n\":7}"
            )
        );
    }

    #[test]
    fn what_is_no_form_is_refused() {
        for (kind, body, reason) in [
            ("multipart/form-data", "", "it names no boundary"),
            (KIND, "", "it has no boundary"),
            (KIND, "--a b\r\n\r\n", "it has no last boundary"),
            (KIND, "--a b\r\nx\r\n--a b--", "a part has no head"),
            (
                KIND,
                "--a b\r\nx: y\r\n\r\n\r\n--a b--",
                "a part has no name",
            ),
            (
                KIND,
                "--a b\r\ncontent-disposition: attachment; name=x\r\n\r\n\r\n--a b--",
                "a part has no name",
            ),
        ] {
            let expected = format!("the form cannot be read: {reason}");
            assert_eq!(object(kind, body), Err(expected), "{body:?}");
        }
        let part = "--a b\r\ncontent-disposition: form-data; name=x\r\n\r\n\r\n";
        let many = part.repeat(PARTS_MAX + 1) + "--a b--";
        let expected = "the form cannot be read: it has more than 256 parts";
        assert_eq!(object(KIND, &many), Err(expected.to_owned()));
    }

    #[test]
    fn octets_are_written_in_base64() {
        for (octets, expected) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ] {
            let mut out = Vec::new();
            push_base64(&mut out, octets.as_bytes());
            assert_eq!(out, expected.as_bytes());
        }
    }
}
