//! A request's path, taken apart once: what a route matches, a guard sees and a file is named by are
//! the same segments.
//!
//! | in the path | judgement | why |
//! | --- | --- | --- |
//! | `%41`, `%2F` | decoded within its segment; `%2F` is part of a name | RFC 3986 section 2.2 |
//! | `.` and `..`, encoded or not | refused | who follows the path may resolve them elsewhere; clients do it before they send (RFC 3986 section 5.2.4) |
//! | `//` | an empty segment: only what takes a rest of any form takes it | RFC 3986 section 3.3 |
//! | `/` at the end | an empty last segment: another path than without | RFC 3986 section 6.2.3 |
//! | control characters, encoded | refused | no name has them, and what reads on may end there |
//! | octets that are not UTF-8 | refused | parameters are text |

use std::borrow::Cow;

/// Segments of a path. Longer ones are refused, so that matching is bounded.
pub(super) const SEGMENTS_MAX: usize = 256;

/// The segments of a path, in order; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestPath<'a> {
    raw: &'a str,
    segments: Vec<PathSegment<'a>>,
}

/// What stands between two slashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathSegment<'a> {
    /// As it was sent.
    pub raw: &'a str,
    /// Without percent-encoding.
    pub text: Cow<'a, str>,
}

/// Why a path is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestPathError {
    #[error("path does not begin with a slash")]
    NotAbsolute,
    #[error("path of {count} segments exceeds the limit of {SEGMENTS_MAX}")]
    TooManySegments { count: usize },
    #[error("path segment {segment:?} is not percent-encoded utf-8")]
    Encoding { segment: String },
    #[error("path segment {segment:?} has a control character")]
    Control { segment: String },
    #[error("path segment {segment:?} leads elsewhere; send the path that is meant")]
    Dots { segment: String },
}

impl<'a> RequestPath<'a> {
    /// Takes a path apart, without its query.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn parse(raw: &'a str) -> Result<Self, RequestPathError> {
        let rest = raw.strip_prefix('/').ok_or(RequestPathError::NotAbsolute)?;
        let count = rest.split('/').count();
        if count > SEGMENTS_MAX {
            return Err(RequestPathError::TooManySegments { count });
        }
        let segments = rest.split('/').map(PathSegment::parse);
        Ok(Self {
            raw,
            segments: segments.collect::<Result<_, _>>()?,
        })
    }

    /// As it was sent.
    #[must_use]
    pub const fn raw(&self) -> &'a str {
        self.raw
    }

    #[must_use]
    pub fn segments(&self) -> &[PathSegment<'a>] {
        &self.segments
    }
}

impl<'a> PathSegment<'a> {
    fn parse(raw: &'a str) -> Result<Self, RequestPathError> {
        let segment = || shorten(raw);
        let text = decode(raw).ok_or_else(|| RequestPathError::Encoding { segment: segment() })?;
        if text.chars().any(char::is_control) {
            return Err(RequestPathError::Control { segment: segment() });
        }
        if text == "." || text == ".." {
            return Err(RequestPathError::Dots { segment: segment() });
        }
        Ok(Self { raw, text })
    }

    /// Its text, in which an encoded slash stays as it was sent.
    pub(super) fn text_with_slashes_escaped(&self) -> Cow<'a, str> {
        let mut escapes = self.raw.match_indices('%').filter_map(|(at, _)| {
            let escape = self.raw.get(at..at + 3)?;
            escape.eq_ignore_ascii_case("%2f").then_some(at)
        });
        let Some(mut at) = escapes.next() else {
            return self.text.clone();
        };
        let (mut text, mut begin) = (String::with_capacity(self.raw.len()), 0);
        loop {
            // What stands between slashes is UTF-8 where the whole is, and the whole was decoded.
            let before = self.raw.get(begin..at).and_then(decode);
            text.push_str(&before.unwrap_or_default());
            begin = at + 3;
            text.push_str(self.raw.get(at..begin).unwrap_or_default());
            match escapes.next() {
                Some(next) => at = next,
                None => break,
            }
        }
        let behind = self.raw.get(begin..).and_then(decode);
        text.push_str(&behind.unwrap_or_default());
        Cow::Owned(text)
    }
}

/// The segments of a path and its verb, which stands behind the last colon of the last segment. A colon
/// that is percent-encoded parts nothing, and a segment that would lead elsewhere without its verb has
/// none.
pub(super) fn split_verb<'a>(
    path: &[PathSegment<'a>],
) -> Option<(Vec<PathSegment<'a>>, Cow<'a, str>)> {
    let (last, before) = path.split_last()?;
    let (name, verb) = last.raw.rsplit_once(':')?;
    let name = PathSegment::parse(name).ok()?;
    let mut segments = before.to_vec();
    segments.push(name);
    Some((segments, decode(verb)?))
}

/// Undoes percent-encoding (RFC 3986 section 2.1). `None` where an escape is none, or the octets are
/// not UTF-8.
pub(super) fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let digit = |octet: u8| char::from(octet).to_digit(16);
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(octet) = rest.next() {
        if octet != b'%' {
            octets.push(octet);
            continue;
        }
        let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
        octets.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(octets).ok().map(Cow::Owned)
}

/// What a client sent, at a length fit for a message.
pub(super) fn shorten(text: &str) -> String {
    const CHARS_MAX: usize = 100;
    match text.char_indices().nth(CHARS_MAX) {
        None => text.to_owned(),
        Some((at, _)) => format!("{}...", text.get(..at).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, expected: &[&str]) {
        let parsed = RequestPath::parse(path).expect("a path");
        let texts: Vec<_> = parsed.segments().iter().map(|one| &*one.text).collect();
        assert_eq!(texts, expected, "{path}");
    }

    #[test]
    fn each_segment_is_decoded_by_itself() {
        check("/", &[""]);
        check("/a/b", &["a", "b"]);
        check("/a/", &["a", ""]);
        check("//a", &["", "a"]);
        check("/a%2Fb/c%20d", &["a/b", "c d"]);
        check("/%c3%A9/%252e%252e", &["é", "%2e%2e"]);
        check("/a+b;c=d", &["a+b;c=d"]);
    }

    #[test]
    fn what_leads_elsewhere_or_is_no_text_is_refused() {
        let error = |path: &str| RequestPath::parse(path).expect_err(path);
        for segment in [".", "..", "%2e", "%2E.", ".%2e", "%2e%2E"] {
            let expected = RequestPathError::Dots {
                segment: segment.into(),
            };
            assert_eq!(error(&format!("/a/{segment}/b")), expected);
            assert_eq!(error(&format!("/{segment}")), expected);
        }
        for segment in ["%", "%2", "%zz", "%ff", "%c3%28", "%+1"] {
            let expected = RequestPathError::Encoding {
                segment: segment.into(),
            };
            assert_eq!(error(&format!("/{segment}")), expected);
        }
        for segment in ["%00", "a%0d%0ab", "%7f", "%c2%85"] {
            let expected = RequestPathError::Control {
                segment: segment.into(),
            };
            assert_eq!(error(&format!("/x/{segment}")), expected);
        }
        for path in ["", "*", "a/b", "http://h/"] {
            assert_eq!(error(path), RequestPathError::NotAbsolute);
        }
    }

    #[test]
    fn a_verb_stands_behind_the_last_colon_that_is_written_as_one() {
        let verb = |path: &str| {
            let path = RequestPath::parse(path).expect("a path");
            let (segments, verb) = split_verb(path.segments())?;
            let texts: Vec<_> = segments.iter().map(|one| &*one.text).collect();
            Some(format!("{} {verb}", texts.join(",")))
        };
        assert_eq!(verb("/a/b:c").as_deref(), Some("a,b c"));
        assert_eq!(verb("/a:b:c").as_deref(), Some("a:b c"));
        assert_eq!(verb("/a%3Ab:%63").as_deref(), Some("a:b c"));
        assert_eq!(verb("/:c").as_deref(), Some(" c"));
        for path in ["/a", "/a:b/c", "/a%3Ab", "/..:c", "/%2e:c"] {
            assert_eq!(verb(path), None, "{path}");
        }
    }

    #[test]
    fn an_encoded_slash_may_stay_one() {
        for (raw, text) in [
            ("a%20b", "a b"),
            ("a%2Fb%2fc%20", "a%2Fb%2fc "),
            ("%2F", "%2F"),
            ("%252F", "%2F"),
            ("%c3%a9%2F", "é%2F"),
        ] {
            let segment = PathSegment::parse(raw).expect("a segment");
            assert_eq!(segment.text_with_slashes_escaped(), text, "{raw}");
        }
    }

    #[test]
    fn a_path_has_as_many_segments_as_the_limit_and_no_more() {
        assert!(RequestPath::parse(&"/x".repeat(SEGMENTS_MAX)).is_ok());
        let count = SEGMENTS_MAX + 1;
        assert_eq!(
            RequestPath::parse(&"/x".repeat(count)),
            Err(RequestPathError::TooManySegments { count })
        );
    }
}
