//! Paths of the listener: which of its three resources a request names.

use percent_encoding::percent_decode_str;
use postern_core::Text;

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Resource {
    /// `/v1/services`
    Services,
    /// `/v1/services/{service}`
    Service(Text),
    /// `/v1/services/{service}/{method}`
    Method { service: Text, method: Text },
}

/// Why a path names nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PathError {
    #[error(
        "nothing is at {path}; this port serves POST /v1/services/{{service}}/{{method}}, GET /v1/services and GET /v1/services/{{service}}"
    )]
    Unknown { path: String },
    #[error("path segment {segment} is not percent-encoded utf-8")]
    Encoding { segment: String },
}

impl Resource {
    /// Whether a path is of the listener's own, whatever it names: no route takes it.
    pub(super) fn is_own(path: &str) -> bool {
        let rest = path.strip_prefix("/v1/services");
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Reads a request path, without its query.
    pub(super) fn from_path(path: &str) -> Result<Self, PathError> {
        let unknown = || PathError::Unknown {
            path: shorten(path),
        };
        let rest = path.strip_prefix("/v1/services").ok_or_else(unknown)?;
        if rest.is_empty() || rest == "/" {
            return Ok(Self::Services);
        }
        let rest = rest.strip_prefix('/').ok_or_else(unknown)?;
        let Some((service, method)) = rest.split_once('/') else {
            return decode(rest).map(Self::Service);
        };
        if service.is_empty() || method.is_empty() || method.as_bytes().contains(&b'/') {
            return Err(unknown());
        }
        Ok(Self::Method {
            service: decode(service)?,
            method: decode(method)?,
        })
    }
}

/// Undoes percent-encoding (RFC 3986 section 2.1) of one segment; `%2F` becomes part of the name.
pub(super) fn decode(segment: &str) -> Result<Text, PathError> {
    if !segment.as_bytes().contains(&b'%') {
        return Ok(Text::from(segment));
    }
    let malformed = || PathError::Encoding {
        segment: shorten(segment),
    };
    // The library leaves a `%` without two digits as it is.
    let is_encoded = |rest: &str| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if !segment.split('%').skip(1).all(is_encoded) {
        return Err(malformed());
    }
    let octets: Vec<u8> = percent_decode_str(segment).collect();
    Text::from_utf8(octets.into()).map_err(|_| malformed())
}

/// What the caller sent, at a length fit for an error message.
fn shorten(text: &str) -> String {
    const CHARS_MAX: usize = 100;
    match text.char_indices().nth(CHARS_MAX) {
        None => text.to_owned(),
        Some((at, _)) => format!("{}...", text.get(..at).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expected: Resource) {
        assert_eq!(Resource::from_path(path), Ok(expected), "{path}");
    }

    fn method(service: &str, method: &str) -> Resource {
        Resource::Method {
            service: service.into(),
            method: method.into(),
        }
    }

    #[test]
    fn names_the_three_resources() {
        check("/v1/services", Resource::Services);
        check("/v1/services/", Resource::Services);
        check("/v1/services/users", Resource::Service("users".into()));
        check("/v1/services/users/GetUser", method("users", "GetUser"));
    }

    #[test]
    fn decodes_each_segment_by_itself() {
        check("/v1/services/a%2Fb/c%20d", method("a/b", "c d"));
        check("/v1/services/%c3%A9/m", method("é", "m"));
    }

    #[test]
    fn knows_no_other_path() {
        for path in [
            "/",
            "/v1",
            "/v1/servicesx",
            "/v1/services//m",
            "/v1/services/s/",
            "/v1/services/s/m/x",
            "*",
        ] {
            let unknown = PathError::Unknown { path: path.into() };
            assert_eq!(Resource::from_path(path), Err(unknown), "{path}");
        }
    }

    #[test]
    fn refuses_escapes_that_are_not_octets_of_utf8() {
        for segment in ["%", "%2", "%zz", "%ff"] {
            let error = PathError::Encoding {
                segment: segment.into(),
            };
            assert_eq!(
                Resource::from_path(&format!("/v1/services/{segment}")),
                Err(error)
            );
        }
    }

    #[test]
    fn shortens_what_it_repeats_past_100_characters() {
        assert_eq!(shorten(&"x".repeat(100)).len(), 100);
        assert_eq!(shorten(&"x".repeat(101)).len(), 103);
    }
}
