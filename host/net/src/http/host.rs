//! Under which host a request is sent. One judgement for HTTP/1, whose heads are judged before hyper
//! reads them, and for HTTP/2, whose heads hyper gives. Pure.
//!
//! | rule | source |
//! | --- | --- |
//! | the target names an authority, or there is a `host` field, which may be empty; HTTP/1.0 needs neither | RFC 9112 section 3.2, RFC 9113 section 8.3.1 |
//! | one `host` field at most | RFC 9112 section 3.2 |
//! | `uri-host [ ":" port ]`, without user information | RFC 9110 section 7.2, RFC 9113 section 8.3.1 |
//! | where both are there they are the same | RFC 9113 section 8.3.1 |

use http::{HeaderMap, HeaderValue, Uri, Version, header};

use super::octets::Octets;

/// Why a request's host is not taken: 400.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    #[error("request has no host field and no :authority")]
    Missing,
    #[error("request has {0} host fields; it must have one")]
    Many(usize),
    #[error("host {0:?} is not a host with or without a port")]
    Malformed(String),
    #[error("hosts {host:?} and {authority:?} of one request differ")]
    Differ { host: String, authority: String },
}

/// The host of a request, as it is written; empty where an HTTP/1.0 request says none.
///
/// `authority` is that of the target, `field` the value of the first field `host` of `n_fields`.
///
/// # Errors
/// Why it is not taken.
pub(super) fn judge<'a>(
    is_http_1_0: bool,
    authority: Option<&'a str>,
    field: Option<&'a [u8]>,
    n_fields: usize,
) -> Result<&'a str, HostError> {
    if n_fields > 1 {
        return Err(HostError::Many(n_fields));
    }
    let field = field.map(|field| parse(field.trim_ascii())).transpose()?;
    let authority = authority
        .map(|authority| parse(authority.as_bytes()))
        .transpose()?;
    match (authority, field) {
        (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => {
            Err(HostError::Differ {
                host: host.to_owned(),
                authority: authority.to_owned(),
            })
        }
        (Some(host), _) | (None, Some(host)) => Ok(host),
        (None, None) if is_http_1_0 => Ok(""),
        (None, None) => Err(HostError::Missing),
    }
}

/// `judge` of a head that hyper has read.
///
/// # Errors
/// Why it is not taken.
pub(super) fn of<'a>(
    version: Version,
    uri: &'a Uri,
    headers: &'a HeaderMap,
) -> Result<&'a str, HostError> {
    let authority = uri.authority().map(|authority| authority.as_str());
    let mut fields = headers.get_all(header::HOST).iter();
    let field = fields.next().map(HeaderValue::as_bytes);
    let n_fields = usize::from(field.is_some()) + fields.count();
    judge(version == Version::HTTP_10, authority, field, n_fields)
}

fn parse(value: &[u8]) -> Result<&str, HostError> {
    let shown = || HostError::Malformed(value.escape_ascii().to_string());
    if !OF_HOSTS.have_all(value) {
        return Err(shown());
    }
    str::from_utf8(value).map_err(|_| shown())
}

/// RFC 3986 section 3.2.2 and the port.
const OF_HOSTS: Octets = Octets::alphanumeric_and(b"-._~%!$&'()*+,;=:[]");

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(authority: Option<&str>, fields: &[&str], expected: Result<&str, HostError>) {
        let field = fields.first().map(|field| field.as_bytes());
        let judged = judge(false, authority, field, fields.len());
        assert_eq!(judged, expected, "{fields:?}");
    }

    #[test]
    fn a_request_names_its_host_once() {
        check(None, &[], Err(HostError::Missing));
        assert_eq!(judge(true, None, None, 0), Ok(""));
        check(None, &[""], Ok(""));
        check(None, &[" x:1 "], Ok("x:1"));
        check(Some("x"), &[], Ok("x"));
        check(Some("x:1"), &["X:1"], Ok("x:1"));
        for fields in [&["x", "x"][..], &["x", "y"], &["", ""]] {
            check(None, fields, Err(HostError::Many(2)));
            check(Some("x"), fields, Err(HostError::Many(2)));
        }
    }

    #[test]
    fn field_and_authority_are_the_same() {
        for (authority, host) in [("x", "y"), ("x:80", "x"), ("x", "")] {
            let expected = HostError::Differ {
                host: host.to_owned(),
                authority: authority.to_owned(),
            };
            check(Some(authority), &[host], Err(expected));
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        check(None, &["[::1]:80"], Ok("[::1]:80"));
        for host in ["a b", "a/b", "u@a", "a\"", "<a>", "a\u{e9}"] {
            let shown = host.as_bytes().escape_ascii().to_string();
            let malformed = HostError::Malformed(shown);
            check(None, &[host], Err(malformed.clone()));
            check(Some(host), &[], Err(malformed));
        }
    }
}
