//! Where an instance is reached: scheme, host and port.

use std::{fmt, net::Ipv6Addr};

use crate::text::Text;

/// Octets of a host name (RFC 1035 section 2.3.4, without the root's dot).
pub const HOST_BYTES_MAX: usize = 253;

/// How calls travel to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    Tcp,
    Udp,
    Quic,
    WebSocket,
    Http,
}

/// An address, written `tcp://host:port`; an IPv6 host stands in brackets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    pub scheme: Scheme,
    /// A name or an address; IPv6 without brackets.
    pub host: Text,
    pub port: u16,
}

/// Why an address is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("`{0}` is not of the form scheme://host:port")]
    Form(String),
    #[error("`{0}` is not one of tcp, udp, quic, ws, http")]
    Scheme(String),
    #[error("host is empty")]
    HostEmpty,
    #[error("host of {bytes} octets exceeds the limit of {limit}")]
    HostTooLong { bytes: usize, limit: usize },
    #[error("host `{0}` is neither a name nor an IP address")]
    Host(String),
    #[error("port must be 1 to 65535")]
    Port,
}

impl Scheme {
    pub const ALL: [Self; 5] = [
        Self::Tcp,
        Self::Udp,
        Self::Quic,
        Self::WebSocket,
        Self::Http,
    ];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Quic => "quic",
            Self::WebSocket => "ws",
            Self::Http => "http",
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scheme| scheme.name() == name)
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Address {
    /// # Errors
    /// What is wrong with host or port.
    pub fn new(scheme: Scheme, host: impl Into<Text>, port: u16) -> Result<Self, AddressError> {
        let host = host.into();
        let address = Self { scheme, host, port };
        address.check()?;
        Ok(address)
    }

    /// Reads `tcp://127.0.0.1:9090` or `udp://[::1]:9090`.
    ///
    /// # Errors
    /// What is wrong with `text`.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let (bytes, limit) = (text.len(), HOST_BYTES_MAX);
        // The longest scheme and port with their marks take less than 32 octets.
        if bytes > limit + 32 {
            return Err(AddressError::HostTooLong { bytes, limit });
        }
        let form = || AddressError::Form(text.to_owned());
        let (scheme, place) = text.split_once("://").ok_or_else(form)?;
        let scheme =
            Scheme::from_name(scheme).ok_or_else(|| AddressError::Scheme(scheme.into()))?;
        let (host, port) = place.rsplit_once(':').ok_or_else(form)?;
        let is_number = !port.is_empty() && port.bytes().all(|octet| octet.is_ascii_digit());
        let port = port.parse().ok().filter(|_| is_number);
        let port = port.ok_or(AddressError::Port)?;
        let inner = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        // Without brackets the last part of an IPv6 address would be taken for the port.
        if inner.is_none() && host.contains(':') {
            return Err(form());
        }
        Self::new(scheme, inner.unwrap_or(host), port)
    }

    pub(super) fn check(&self) -> Result<(), AddressError> {
        let (bytes, limit) = (self.host.len(), HOST_BYTES_MAX);
        if bytes == 0 {
            return Err(AddressError::HostEmpty);
        }
        if bytes > limit {
            return Err(AddressError::HostTooLong { bytes, limit });
        }
        let is_name = |octet: u8| octet.is_ascii_alphanumeric() || b"-._".contains(&octet);
        if !self.host.bytes().all(is_name) && self.host.parse::<Ipv6Addr>().is_err() {
            return Err(AddressError::Host(self.host.to_string()));
        }
        if self.port == 0 {
            return Err(AddressError::Port);
        }
        Ok(())
    }

    pub(super) fn detached(&self) -> Self {
        Self {
            host: Text::from(self.host.as_str()),
            ..*self
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, host, port } = self;
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}")
        } else {
            write!(f, "{scheme}://{host}:{port}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_as_it_is_written() {
        for text in [
            "tcp://127.0.0.1:9090",
            "udp://[::1]:1",
            "quic://users.example:65535",
            "ws://a_b-c:80",
            "http://h:8080",
        ] {
            let address = Address::parse(text).expect(text);
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn refuses_by_name_what_is_no_address() {
        let check = |text: &str, expected| assert_eq!(Address::parse(text), Err(expected));
        let form = |text: &str| AddressError::Form(text.to_owned());
        check("127.0.0.1:9090", form("127.0.0.1:9090"));
        check("tcp://host", form("tcp://host"));
        check("tcp://::1:9090", form("tcp://::1:9090"));
        check("vsp://h:1", AddressError::Scheme("vsp".to_owned()));
        check("tcp://:1", AddressError::HostEmpty);
        check("tcp://[]:1", AddressError::HostEmpty);
        check("tcp://a b:1", AddressError::Host("a b".to_owned()));
        check("tcp://[a:b]:1", AddressError::Host("a:b".to_owned()));
        for port in ["", "0", "65536", "+1", "x"] {
            check(&format!("tcp://h:{port}"), AddressError::Port);
        }
    }

    #[test]
    fn host_length_is_bounded() {
        let host = |bytes: usize| format!("tcp://{}:1", "h".repeat(bytes));
        let (bytes, limit) = (HOST_BYTES_MAX + 1, HOST_BYTES_MAX);
        assert!(Address::parse(&host(limit)).is_ok());
        let refused = Err(AddressError::HostTooLong { bytes, limit });
        assert_eq!(Address::parse(&host(bytes)), refused);
    }
}
