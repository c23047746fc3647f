//! Hosts of a route: `api.example.org`, or `*.example.org` for every name below.

use crate::text::Text;

/// Which hosts a route takes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostPattern {
    /// That name, in lower case.
    Exact(Text),
    /// Names below that one, with one label more or with several.
    Below(Text),
}

/// Why a text is no host of a route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostPatternError {
    #[error("{0:?} is no host: labels of letters, digits, dashes and underscores, or an address")]
    Name(String),
    #[error("{0:?} has a star elsewhere than as its first label")]
    Star(String),
    #[error("{0:?} has a port; a route is for every port, `listeners` says which")]
    Port(String),
}

impl HostPattern {
    /// # Errors
    /// Why it is none.
    pub fn parse(text: &str) -> Result<Self, HostPatternError> {
        let written = || text.to_owned();
        let lower = text.to_ascii_lowercase();
        if host_of(&lower).len() < lower.trim_end_matches('.').len() {
            return Err(HostPatternError::Port(written()));
        }
        let (name, is_below) = match lower.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (&*lower, false),
        };
        if name.contains('*') {
            return Err(HostPatternError::Star(written()));
        }
        let name = name.strip_suffix('.').unwrap_or(name);
        let is_octet = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let is_name = !name.is_empty()
            && name
                .split('.')
                .all(|l| !l.is_empty() && l.chars().all(is_octet));
        let is_address = name.starts_with('[') && name.ends_with(']') && !is_below;
        if !(is_name || is_address) || name.len() > HOST_BYTES_MAX {
            return Err(HostPatternError::Name(written()));
        }
        Ok(match is_below {
            true => Self::Below(name.into()),
            false => Self::Exact(name.into()),
        })
    }

    /// As it is written.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Exact(name) => name.to_string(),
            Self::Below(name) => format!("*.{name}"),
        }
    }
}

/// The name of an authority in lower case: without port and the dot of a root.
pub(super) fn host_of(authority: &str) -> &str {
    let name = match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|octet| octet.is_ascii_digit()) => name,
        _ => authority,
    };
    name.strip_suffix('.').unwrap_or(name)
}

/// Longest name of the DNS (RFC 1035 section 2.3.4). A longer one is looked up nowhere.
pub(super) const HOST_BYTES_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<HostPattern, HostPatternError>) {
        assert_eq!(HostPattern::parse(text), expected, "{text}");
    }

    #[test]
    fn hosts_are_names_addresses_and_what_is_below_a_name() {
        check(
            "API.Example.org.",
            Ok(HostPattern::Exact("api.example.org".into())),
        );
        check(
            "*.example.org",
            Ok(HostPattern::Below("example.org".into())),
        );
        check("127.0.0.1", Ok(HostPattern::Exact("127.0.0.1".into())));
        check("[::1]", Ok(HostPattern::Exact("[::1]".into())));
        for text in ["", "*", "a..b", "a/b", "é.org", "*.", "*.[::1]"] {
            let refused = HostPattern::parse(text);
            assert!(refused.is_err(), "{text}: {refused:?}");
        }
        check("a.*.b", Err(HostPatternError::Star("a.*.b".into())));
        check("a:80", Err(HostPatternError::Port("a:80".into())));
    }

    #[test]
    fn a_host_is_without_port_and_root() {
        for (authority, host) in [
            ("a.b:80", "a.b"),
            ("a.b.", "a.b"),
            ("a.b.:1", "a.b"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("", ""),
        ] {
            assert_eq!(host_of(authority), host);
        }
    }
}
