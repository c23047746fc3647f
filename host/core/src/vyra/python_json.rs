//! JSON as `json.dumps` of Python's standard library writes it: separators `, ` and `: `, ASCII only,
//! members in the order in which they came, floating-point numbers as `repr` has them.

use crate::json::{self, JsonError};

/// `document`, written anew. Whole numbers stay as they are, however large.
///
/// # Errors
/// What is wrong with `document`, where it is no JSON.
pub fn dumps(document: &[u8]) -> Result<Vec<u8>, JsonError> {
    json::check(document)?;
    let mut out = Vec::with_capacity(document.len() + document.len() / 8);
    let mut rest = document;
    while let Some((&octet, tail)) = rest.split_first() {
        rest = match octet {
            b' ' | b'\n' | b'\r' | b'\t' => tail,
            b',' | b':' => {
                out.extend_from_slice(&[octet, b' ']);
                tail
            }
            b'"' => {
                let (text, tail) = split(rest, string_end(rest));
                push_text(&mut out, &json::string(text).unwrap_or_default());
                tail
            }
            b'-' | b'0'..=b'9' => {
                let is_of_number =
                    |octet: &u8| matches!(octet, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
                let end = rest.iter().position(|octet| !is_of_number(octet));
                let (number, tail) = split(rest, end.unwrap_or(rest.len()));
                push_number(&mut out, number);
                tail
            }
            // Brackets and the letters of true, false and null.
            other => {
                out.push(other);
                tail
            }
        };
    }
    Ok(out)
}

/// Appends `text` as a string, quotes included.
pub fn push_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for c in text.chars() {
        match c {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\u{8}' => out.extend_from_slice(b"\\b"),
            '\u{c}' => out.extend_from_slice(b"\\f"),
            ' '..='~' => out.push(u8::try_from(c).unwrap_or(b'?')),
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    out.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
                }
            }
        }
    }
    out.push(b'"');
}

/// A floating-point number as `repr` writes it.
pub(super) fn repr(number: f64) -> String {
    let shortest = format!("{number:e}");
    let Some((mantissa, exponent)) = shortest.split_once('e') else {
        return shortest;
    };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..16).contains(&exponent) {
        // As many digits as needed, and one behind the point at least.
        return format!("{number:?}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs())
}

fn push_number(out: &mut Vec<u8>, number: &[u8]) {
    let is_whole = !number
        .iter()
        .any(|octet| matches!(octet, b'.' | b'e' | b'E'));
    let text = std::str::from_utf8(number).unwrap_or_default();
    match text.parse::<f64>() {
        Ok(number) if !is_whole && number.is_finite() => {
            out.extend_from_slice(repr(number).as_bytes());
        }
        Ok(_) | Err(_) => out.extend_from_slice(number),
    }
}

/// Octets of the string that `octets` begins with, quotes included.
fn string_end(octets: &[u8]) -> usize {
    let mut is_escaped = false;
    let mut inner = octets.iter().enumerate().skip(1);
    let end = inner.find(|(_, octet)| {
        let is_end = **octet == b'"' && !is_escaped;
        is_escaped = **octet == b'\\' && !is_escaped;
        is_end
    });
    end.map_or(octets.len(), |(at, _)| at + 1)
}

fn split(octets: &[u8], at: usize) -> (&[u8], &[u8]) {
    octets.split_at_checked(at).unwrap_or((octets, &[]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(document: &str, expected: &str) {
        let written = dumps(document.as_bytes()).expect("JSON");
        assert_eq!(String::from_utf8(written).expect("ASCII"), expected);
    }

    /// Each expected text is what `json.dumps(json.loads(DOCUMENT))` of Python 3.11 gives.
    #[test]
    fn documents_are_written_as_python_writes_them() {
        check(
            r#"{"value":23.5,"unit":"°C"}"#,
            r#"{"value": 23.5, "unit": "\u00b0C"}"#,
        );
        check("[ 1 ,2\n]", "[1, 2]");
        check("{}", "{}");
        check(
            r#"{"a":[],"b":{"c":null}}"#,
            r#"{"a": [], "b": {"c": null}}"#,
        );
        check("[true,false,null]", "[true, false, null]");
        check(r#""a, b: c\\""#, r#""a, b: c\\""#);
    }

    #[test]
    fn strings_are_ascii_with_pairs_for_what_is_beyond_two_octets() {
        check(r#""\u00b0\ud83d\ude00/\/""#, r#""\u00b0\ud83d\ude00//""#);
        check("\"😀\u{7f}\"", r#""\ud83d\ude00\u007f""#);
        check(r#""\b\f\n\r\t\u0001\"\\""#, r#""\b\f\n\r\t\u0001\"\\""#);
    }

    #[test]
    fn numbers_are_written_as_repr_has_them() {
        check(
            "[1.50,1.0,-0.0,1e5,1E-5,0.0001,1e16,123456789012345678]",
            "[1.5, 1.0, -0.0, 100000.0, 1e-05, 0.0001, 1e+16, 123456789012345678]",
        );
        check(
            "[1e22,1.5e300,5e-324,9007199254740993.0]",
            "[1e+22, 1.5e+300, 5e-324, 9007199254740992.0]",
        );
        check(
            "[1234567890123456789012345678901234567890]",
            "[1234567890123456789012345678901234567890]",
        );
        assert_eq!(repr(1_795_218_054.315_560_3), "1795218054.3155603");
    }

    #[test]
    fn what_is_no_json_is_refused() {
        assert!(dumps(b"").is_err() && dumps(b"{").is_err() && dumps(b"plain").is_err());
    }
}
