//! Which servers a plugin may ask over HTTP: the grant `http` of a manifest.
//!
//! | written | allows |
//! | --- | --- |
//! | `api.example.org` | that name, by `https` on port 443 and by `http` on port 80 |
//! | `*.example.org` | every name below, on those ports |
//! | `*` | every name, on those ports |
//! | `api.example.org:8443` | that port, by both |
//! | `api.example.org:*` | every port |
//! | `https://api.example.org` | `https` alone |
//! | `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080` | that address; no `*` allows one, nor `localhost` |

use std::{fmt, net::IpAddr};

/// One server, or several, that a plugin may ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpGrant {
    /// `http` or `https`; both when absent.
    scheme: Option<&'static str>,
    host: GrantedHost,
    port: GrantedPort,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum GrantedHost {
    /// A name in lower case.
    Name(String),
    /// Every name that ends so; it begins with a dot.
    Below(String),
    Any,
    Address(IpAddr),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GrantedPort {
    /// That of the scheme.
    Usual,
    One(u16),
    Any,
}

/// Why a text is no such grant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpGrantError {
    #[error("{0:?} names the scheme {1:?}; requests are sent by http and https")]
    Scheme(String, String),
    #[error(
        "{0:?} names no host; write a host with or without a port, such as api.example.org:8443"
    )]
    Host(String),
    #[error("{0:?} has a port that is none; write 1 to 65535, or *")]
    Port(String),
}

impl HttpGrant {
    /// Reads a grant as a manifest has it.
    ///
    /// # Errors
    /// What of it is none.
    pub fn parse(text: &str) -> Result<Self, HttpGrantError> {
        let (scheme, rest) = match text.split_once("://") {
            None => (None, text),
            Some((scheme, rest)) => match known_scheme(scheme) {
                Some(scheme) => (Some(scheme), rest),
                None => {
                    return Err(HttpGrantError::Scheme(text.to_owned(), scheme.to_owned()));
                }
            },
        };
        let (host, port) = split_port(rest);
        let port = match port {
            None => GrantedPort::Usual,
            Some("*") => GrantedPort::Any,
            Some(port) => match port.parse() {
                Ok(port) if port > 0 => GrantedPort::One(port),
                Ok(_) | Err(_) => return Err(HttpGrantError::Port(text.to_owned())),
            },
        };
        let host = GrantedHost::parse(host).ok_or_else(|| HttpGrantError::Host(text.to_owned()))?;
        Ok(Self { scheme, host, port })
    }

    /// Whether it allows names that a star stands for as well: no address, and none of this machine.
    #[must_use]
    pub fn is_of_names(&self) -> bool {
        match &self.host {
            GrantedHost::Name(name) => !is_local(name),
            GrantedHost::Below(_) | GrantedHost::Any => true,
            GrantedHost::Address(_) => false,
        }
    }

    /// Whether requests by `scheme` to `host` and `port` are allowed. IPv6 without brackets.
    #[must_use]
    pub fn allows(&self, scheme: &str, host: &str, port: u16) -> bool {
        self.scheme.is_none_or(|granted| granted == scheme)
            && self.host.allows(host)
            && match self.port {
                GrantedPort::Any => true,
                GrantedPort::One(granted) => granted == port,
                GrantedPort::Usual => usual_port(scheme) == Some(port),
            }
    }
}

impl fmt::Display for HttpGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(scheme) = self.scheme {
            write!(f, "{scheme}://")?;
        }
        match &self.host {
            GrantedHost::Name(name) => f.write_str(name)?,
            GrantedHost::Below(below) => write!(f, "*{below}")?,
            GrantedHost::Any => f.write_str("*")?,
            GrantedHost::Address(IpAddr::V6(address)) => write!(f, "[{address}]")?,
            GrantedHost::Address(IpAddr::V4(address)) => write!(f, "{address}")?,
        }
        match self.port {
            GrantedPort::Usual => Ok(()),
            GrantedPort::One(port) => write!(f, ":{port}"),
            GrantedPort::Any => f.write_str(":*"),
        }
    }
}

impl GrantedHost {
    fn parse(host: &str) -> Option<Self> {
        if let Some(address) = address_of(host) {
            return Some(Self::Address(address));
        }
        if host == "*" {
            return Some(Self::Any);
        }
        let host = normal(host);
        match host.strip_prefix('*') {
            None => is_name(&host).then_some(Self::Name(host)),
            Some(below) => {
                let name = below.strip_prefix('.')?;
                is_name(name).then(|| Self::Below(below.to_owned()))
            }
        }
    }

    fn allows(&self, host: &str) -> bool {
        let address = address_of(host);
        let host = normal(host);
        match self {
            Self::Address(granted) => address == Some(*granted),
            Self::Name(granted) => address.is_none() && *granted == host,
            Self::Any => address.is_none() && !is_local(&host),
            Self::Below(below) => {
                let is_below = host.len() > below.len() && host.ends_with(below.as_str());
                address.is_none() && !is_local(&host) && is_below
            }
        }
    }
}

/// The port that a scheme has where none is named.
pub(crate) fn usual_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

/// The grant that would allow such a request, as a manifest has it.
pub(crate) fn wanted(scheme: &str, host: &str, port: u16) -> String {
    let host = match address_of(host) {
        Some(IpAddr::V6(address)) => format!("[{address}]"),
        Some(IpAddr::V4(_)) | None => normal(host),
    };
    match usual_port(scheme) == Some(port) {
        true => host,
        false => format!("{host}:{port}"),
    }
}

fn known_scheme(scheme: &str) -> Option<&'static str> {
    let mut known = ["http", "https"].into_iter();
    known.find(|known| scheme.eq_ignore_ascii_case(known))
}

/// Host and port of an authority.
fn split_port(text: &str) -> (&str, Option<&str>) {
    if text.starts_with('[') {
        return match text.split_once("]:") {
            // The bracket belongs to the host.
            Some((host, port)) => (text.get(..=host.len()).unwrap_or(text), Some(port)),
            None => (text, None),
        };
    }
    match text.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    }
}

/// The address that a host is, with or without brackets.
fn address_of(host: &str) -> Option<IpAddr> {
    let inner = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    inner.unwrap_or(host).parse().ok()
}

/// Lower case, without the dot of the root.
fn normal(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// Whether a name is one of this machine: RFC 6761 section 6.3.
fn is_local(host: &str) -> bool {
    host == "localhost" || host.ends_with(".localhost")
}

fn is_name(host: &str) -> bool {
    let is_label = |label: &str| {
        let is_octet = |octet: u8| octet.is_ascii_alphanumeric() || b"-_".contains(&octet);
        (1..=63).contains(&label.len()) && label.bytes().all(is_octet)
    };
    host.len() <= 253 && host.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(grant: &str, request: (&str, &str, u16), expected: bool) {
        let (scheme, host, port) = request;
        let grant = HttpGrant::parse(grant).expect("a grant");
        assert_eq!(
            grant.allows(scheme, host, port),
            expected,
            "{grant} {request:?}"
        );
    }

    #[test]
    fn a_name_is_granted_on_the_ports_of_its_schemes() {
        check("api.example.org", ("https", "api.example.org", 443), true);
        check("api.example.org", ("http", "API.example.org.", 80), true);
        check("api.example.org", ("http", "api.example.org", 443), false);
        check("api.example.org", ("https", "api.example.org", 8443), false);
        check(
            "api.example.org",
            ("https", "x.api.example.org", 443),
            false,
        );
        check(
            "https://api.example.org",
            ("http", "api.example.org", 80),
            false,
        );
        check(
            "api.example.org:8443",
            ("http", "api.example.org", 8443),
            true,
        );
        check(
            "api.example.org:8443",
            ("https", "api.example.org", 443),
            false,
        );
        check("api.example.org:*", ("https", "api.example.org", 9), true);
    }

    #[test]
    fn a_star_is_for_names_and_not_for_this_machine_nor_for_addresses() {
        check("*.example.org", ("https", "a.b.example.org", 443), true);
        check("*.example.org", ("https", "example.org", 443), false);
        check("*.example.org", ("https", "badexample.org", 443), false);
        check("*", ("https", "example.org", 443), true);
        for host in [
            "localhost",
            "a.localhost",
            "127.0.0.1",
            "::1",
            "10.0.0.1",
            "8.8.8.8",
        ] {
            check("*:*", ("http", host, 80), false);
        }
        check("localhost:8080", ("http", "localhost", 8080), true);
        check("127.0.0.1:8080", ("http", "127.0.0.1", 8080), true);
        check("127.0.0.1:8080", ("http", "127.0.0.2", 8080), false);
        check("[::1]:8080", ("http", "::1", 8080), true);
        check("[::1]:8080", ("http", "[0:0::1]", 8080), true);
    }

    #[test]
    fn what_is_no_grant_is_told() {
        let refused = |text: &str| HttpGrant::parse(text).expect_err(text).to_string();
        let scheme = "\"ftp://x\" names the scheme \"ftp\"; requests are sent by http and https";
        assert_eq!(refused("ftp://x"), scheme);
        for text in ["", "a..b", "a b", "*x.org", "https://", "x.org/path", "*."] {
            assert!(refused(text).contains("names no host"), "{text}");
        }
        for text in ["x:0", "x:65536", "x:", "[::1]:y"] {
            assert!(refused(text).contains("has a port that is none"), "{text}");
        }
    }

    #[test]
    fn a_grant_is_written_as_it_was_read_and_one_that_is_wanted_allows() {
        for text in [
            "*",
            "*.x.org:8443",
            "http://a:*",
            "[::1]:80",
            "127.0.0.1",
            "a.b",
        ] {
            assert_eq!(HttpGrant::parse(text).expect("a grant").to_string(), text);
        }
        for (scheme, host, port) in [
            ("https", "A.b", 443),
            ("http", "::1", 8080),
            ("http", "x", 80),
        ] {
            check(&wanted(scheme, host, port), (scheme, host, port), true);
        }
    }
}
