//! Where an instance is reached: over which transport, and at which host and port or path.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

use crate::{
    text::Text,
    transport::{AddressForm, Transport, list},
};

/// Octets of a host name (RFC 1035 section 2.3.4, without the root's dot).
pub const HOST_BYTES_MAX: usize = 253;
/// Octets of a path: `sun_path` of `sockaddr_un` has 104 on BSD and macOS, 108 on Linux, and ends with
/// a zero.
pub const PATH_BYTES_MAX: usize = 103;

/// Octets of the path of a URL, with its query.
pub const URL_PATH_BYTES_MAX: usize = 255;

/// An address, written `tcp://host:port`, `ws://host:port/path`, `unix:///path` or `http://unix:/path`, as
/// with `grpc`; an IPv6 host stands in brackets. A name such as `@postern` may stand for each path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    pub transport: Transport,
    pub location: Location,
}

/// The part of an address behind the transport, of the form that the transport has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Location {
    Host {
        /// A name or an address; IPv6 without brackets.
        host: Text,
        port: u16,
    },
    /// A host and port, and a path that is not that of the transport.
    Url { host: Text, port: u16, path: Text },
    /// A socket of the machine that dials it: an absolute path, or `@` and an abstract name of Linux.
    Path(Text),
}

/// Why an address is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("`{0}` is not of the form scheme://host:port or scheme:///path")]
    Form(String),
    #[error("`{0}` is not one of {list}", list = list(Transport::addressed()))]
    Scheme(String),
    #[error("host is empty")]
    HostEmpty,
    #[error("host of {bytes} octets exceeds the limit of {limit}")]
    HostTooLong { bytes: usize, limit: usize },
    #[error("host `{0}` is neither a name nor an IP address")]
    Host(String),
    #[error("port must be 1 to 65535")]
    Port,
    #[error("path `{0}` is not absolute; write {example}", example = example(.1))]
    PathRelative(String, Transport),
    #[error("path of {bytes} octets exceeds the limit of {limit}")]
    PathTooLong { bytes: usize, limit: usize },
    #[error("path holds a control character")]
    PathControl,
    #[error("path `{0}` of a URL holds what is no character of one")]
    UrlPath(String),
}

impl Address {
    /// # Errors
    /// What is wrong with host or port, and `Form` for a transport that has no hosts.
    pub fn new(
        transport: Transport,
        host: impl Into<Text>,
        port: u16,
    ) -> Result<Self, AddressError> {
        let host = host.into();
        Self::checked(transport, Location::Host { host, port })
    }

    /// Reads `tcp://127.0.0.1:9090`, `udp://[::1]:9090`, `unix:///run/users.sock` or, as listeners are
    /// written, `unix:/run/users.sock`.
    ///
    /// # Errors
    /// What is wrong with `text`.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let (bytes, limit) = (text.len(), HOST_BYTES_MAX + URL_PATH_BYTES_MAX);
        // The longest scheme and port with their marks take less than 32 octets.
        if bytes > limit + 32 {
            return Err(AddressError::HostTooLong { bytes, limit });
        }
        let form = || AddressError::Form(text.to_owned());
        let socket = text.split_once(':').filter(|(scheme, location)| {
            *scheme == Transport::Unix.name() && !location.starts_with("//")
        });
        let parts = socket.or_else(|| text.split_once("://"));
        let (scheme, location) = parts.ok_or_else(form)?;
        let transport =
            Transport::from_name(scheme).ok_or_else(|| AddressError::Scheme(scheme.to_owned()))?;
        let location = match transport.form() {
            AddressForm::HostPort => parse_host(location, form)?,
            AddressForm::HostOrPath => match parse_socket(location) {
                Some(path) => path,
                None => parse_host(location, form)?,
            },
            AddressForm::Url => parse_url(location, form)?,
            AddressForm::Path => Location::Path(location.into()),
            AddressForm::Unaddressed => return Err(AddressError::Scheme(scheme.to_owned())),
        };
        Self::checked(transport, location)
    }

    /// What stands behind `scheme://`.
    #[must_use]
    pub fn authority(&self) -> String {
        match (self.transport.form(), &self.location) {
            (AddressForm::HostOrPath, Location::Path(path)) => format!("{SOCKET}{path}"),
            (_, location) => location.to_string(),
        }
    }

    /// The host, where the address has one.
    #[must_use]
    pub const fn host(&self) -> Option<&Text> {
        match &self.location {
            Location::Host { host, .. } | Location::Url { host, .. } => Some(host),
            Location::Path(_) => None,
        }
    }

    /// Whether a name must be looked up before the address can be dialled.
    #[must_use]
    pub fn has_name(&self) -> bool {
        self.host()
            .is_some_and(|host| host.parse::<IpAddr>().is_err())
    }

    fn checked(transport: Transport, location: Location) -> Result<Self, AddressError> {
        let address = Self {
            transport,
            location,
        };
        address.check()?;
        Ok(address)
    }

    pub(super) fn check(&self) -> Result<(), AddressError> {
        match (self.transport.form(), &self.location) {
            (
                AddressForm::HostPort | AddressForm::HostOrPath | AddressForm::Url,
                Location::Host { host, port },
            ) => check_host(host, *port),
            (AddressForm::Url, Location::Url { host, port, path }) => {
                check_host(host, *port)?;
                check_url_path(path)
            }
            (AddressForm::Path | AddressForm::HostOrPath, Location::Path(path)) => {
                check_path(path, self.transport)
            }
            (_, Location::Host { .. } | Location::Url { .. } | Location::Path(_)) => {
                Err(AddressError::Form(self.to_string()))
            }
        }
    }

    /// Octets of its texts.
    pub(super) fn bytes(&self) -> usize {
        match &self.location {
            Location::Host { host, .. } => host.len(),
            Location::Url { host, path, .. } => host.len() + path.len(),
            Location::Path(path) => path.len(),
        }
    }

    pub(super) fn detached(&self) -> Self {
        let copy = |text: &Text| Text::from(text.as_str());
        let location = match &self.location {
            Location::Host { host, port } => Location::Host {
                host: copy(host),
                port: *port,
            },
            Location::Url { host, port, path } => Location::Url {
                host: copy(host),
                port: *port,
                path: copy(path),
            },
            Location::Path(path) => Location::Path(copy(path)),
        };
        Self {
            transport: self.transport,
            location,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.transport, self.authority())
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host { host, port } => write_host(f, host, *port),
            Self::Url { host, port, path } => {
                write_host(f, host, *port)?;
                f.write_str(path)
            }
            Self::Path(path) => f.write_str(path),
        }
    }
}

fn write_host(f: &mut fmt::Formatter<'_>, host: &str, port: u16) -> fmt::Result {
    match host.contains(':') {
        true => write!(f, "[{host}]:{port}"),
        false => write!(f, "{host}:{port}"),
    }
}

/// What a socket of the machine is called, where `location` names one: no port begins so.
fn parse_socket(location: &str) -> Option<Location> {
    let path = location.strip_prefix(SOCKET)?;
    path.starts_with(['/', '@'])
        .then(|| Location::Path(path.into()))
}

/// How a socket of the machine is written behind `transport`.
fn example(transport: &Transport) -> String {
    match transport.form() {
        AddressForm::HostOrPath => format!("{transport}://{SOCKET}/run/NAME.sock"),
        AddressForm::HostPort | AddressForm::Url | AddressForm::Path | AddressForm::Unaddressed => {
            format!("{transport}:///run/NAME.sock")
        }
    }
}

/// A path of `/` alone is none.
fn parse_url(location: &str, form: impl Fn() -> AddressError) -> Result<Location, AddressError> {
    let at = location.find('/').unwrap_or(location.len());
    let (authority, path) = location.split_at(at);
    match parse_host(authority, form)? {
        Location::Host { host, port } if path.len() > 1 => Ok(Location::Url {
            host,
            port,
            path: path.into(),
        }),
        location @ (Location::Host { .. } | Location::Url { .. } | Location::Path(_)) => {
            Ok(location)
        }
    }
}

fn parse_host(location: &str, form: impl Fn() -> AddressError) -> Result<Location, AddressError> {
    let (host, port) = location.rsplit_once(':').ok_or_else(&form)?;
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
    let host = inner.unwrap_or(host).into();
    Ok(Location::Host { host, port })
}

fn check_host(host: &str, port: u16) -> Result<(), AddressError> {
    let (bytes, limit) = (host.len(), HOST_BYTES_MAX);
    if bytes == 0 {
        return Err(AddressError::HostEmpty);
    }
    if bytes > limit {
        return Err(AddressError::HostTooLong { bytes, limit });
    }
    let is_name = |octet: u8| octet.is_ascii_alphanumeric() || b"-._".contains(&octet);
    if !host.bytes().all(is_name) && host.parse::<Ipv6Addr>().is_err() {
        return Err(AddressError::Host(host.to_owned()));
    }
    if port == 0 {
        return Err(AddressError::Port);
    }
    Ok(())
}

fn check_url_path(path: &str) -> Result<(), AddressError> {
    let (bytes, limit) = (path.len(), URL_PATH_BYTES_MAX);
    if bytes > limit {
        return Err(AddressError::PathTooLong { bytes, limit });
    }
    let is_sound = |octet: u8| octet.is_ascii_graphic() && octet != b'#';
    if !path.starts_with('/') || path.len() < 2 || !path.bytes().all(is_sound) {
        return Err(AddressError::UrlPath(path.to_owned()));
    }
    Ok(())
}

fn check_path(path: &str, transport: Transport) -> Result<(), AddressError> {
    let (bytes, limit) = (path.len(), PATH_BYTES_MAX);
    if bytes > limit {
        return Err(AddressError::PathTooLong { bytes, limit });
    }
    if path.chars().any(char::is_control) {
        return Err(AddressError::PathControl);
    }
    let is_named = match path.strip_prefix('@') {
        Some(name) => !name.is_empty(),
        None => path.starts_with('/') && !path.ends_with('/'),
    };
    if !is_named {
        return Err(AddressError::PathRelative(path.to_owned(), transport));
    }
    Ok(())
}

/// What stands before the path of a socket where a host might stand.
const SOCKET: &str = "unix:";

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
            "wss://[::1]:443/edge/vstp?x=1",
            "http://h:8080",
            "unix:///run/postern/users.sock",
            "unix://@users",
            "http://unix:/run/users.sock",
            "http://unix:@users",
            "http://unix:8080",
            "grpc://users.example:50051",
            "grpcs://[::1]:443",
            "grpc://unix:/run/users.sock",
            "grpc://unix:@users",
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
        check("memory://h:1", AddressError::Scheme("memory".to_owned()));
        check("tcp://:1", AddressError::HostEmpty);
        check("tcp://[]:1", AddressError::HostEmpty);
        check("tcp://a b:1", AddressError::Host("a b".to_owned()));
        check("tcp://[a:b]:1", AddressError::Host("a:b".to_owned()));
        for port in ["", "0", "65536", "+1", "x"] {
            check(&format!("tcp://h:{port}"), AddressError::Port);
        }
    }

    #[test]
    fn a_path_is_absolute_and_names_a_file() {
        for path in ["", "run/a.sock", "host:1", "/", "/run/"] {
            let refused = AddressError::PathRelative(path.to_owned(), Transport::Unix);
            assert_eq!(Address::parse(&format!("unix://{path}")), Err(refused));
        }
        let refused = Address::parse("unix:///run/\u{0}");
        assert_eq!(refused, Err(AddressError::PathControl));
        let relative = Address::parse("unix://a").expect_err("no path");
        assert_eq!(
            relative.to_string(),
            "path `a` is not absolute; write unix:///run/NAME.sock"
        );
    }

    #[test]
    fn a_socket_is_written_as_a_listeners_too() {
        for (text, url) in [
            ("unix:/run/a.sock", "unix:///run/a.sock"),
            ("unix:@a", "unix://@a"),
        ] {
            assert_eq!(Address::parse(text), Address::parse(url), "{text}");
        }
        let local = Address::parse("http://unix:/run/a.sock").expect("an address");
        assert_eq!(local.location, Location::Path("/run/a.sock".into()));
        assert_eq!(local.authority(), "unix:/run/a.sock");
        assert!(!local.has_name());
        for text in ["http://unix:/", "http://unix:@", "http://unix:/run/"] {
            let refused = Address::parse(text).expect_err(text).to_string();
            assert!(
                refused.ends_with("write http://unix:/run/NAME.sock"),
                "{refused}"
            );
        }
        for text in [
            "https://unix:/run/a.sock",
            "tcp://unix:/run/a.sock",
            "http://unix:a",
        ] {
            assert_eq!(Address::parse(text), Err(AddressError::Port), "{text}");
        }
    }

    #[test]
    fn a_url_may_have_a_path() {
        let plain = Address::parse("ws://h:80").expect("an address");
        assert_eq!(Address::parse("ws://h:80/"), Ok(plain));
        for path in ["/a b", "/a#b", "/é", "/\u{7f}"] {
            let refused = AddressError::UrlPath(path.to_owned());
            assert_eq!(Address::parse(&format!("ws://h:80{path}")), Err(refused));
        }
        let long = format!("/{}", "x".repeat(URL_PATH_BYTES_MAX - 1));
        assert!(Address::parse(&format!("ws://h:80{long}")).is_ok());
        let (bytes, limit) = (URL_PATH_BYTES_MAX + 1, URL_PATH_BYTES_MAX);
        let refused = Address::parse(&format!("ws://h:80{long}x"));
        assert_eq!(refused, Err(AddressError::PathTooLong { bytes, limit }));
        assert_eq!(Address::parse("tcp://h:80/x"), Err(AddressError::Port));
    }

    #[test]
    fn an_unknown_scheme_is_told_all_that_there_are() {
        let unknown = Address::parse("carrier://h:1").expect_err("no scheme");
        let expected = "`carrier` is not one of tcp, tls, udp, quic, ws, wss, http, https, grpc, grpcs, velithon, velithons, unix";
        assert_eq!(unknown.to_string(), expected);
    }

    #[test]
    fn a_location_has_the_form_of_its_transport() {
        let mut address = Address::new(Transport::Tcp, "h", 1).expect("a name");
        address.transport = Transport::Unix;
        assert_eq!(
            address.check(),
            Err(AddressError::Form("unix://h:1".to_owned()))
        );
        let unaddressed = Address::new(Transport::Plugin, "h", 1);
        assert!(matches!(unaddressed, Err(AddressError::Form(_))));
    }

    #[test]
    fn lengths_are_bounded() {
        let host = |bytes: usize| format!("tcp://{}:1", "h".repeat(bytes));
        let (bytes, limit) = (HOST_BYTES_MAX + 1, HOST_BYTES_MAX);
        assert!(Address::parse(&host(limit)).is_ok());
        let refused = Err(AddressError::HostTooLong { bytes, limit });
        assert_eq!(Address::parse(&host(bytes)), refused);
        let path = |bytes: usize| format!("unix:///{}", "p".repeat(bytes - 1));
        let (bytes, limit) = (PATH_BYTES_MAX + 1, PATH_BYTES_MAX);
        assert!(Address::parse(&path(limit)).is_ok());
        let refused = Err(AddressError::PathTooLong { bytes, limit });
        assert_eq!(Address::parse(&path(bytes)), refused);
    }

    #[test]
    fn only_names_are_looked_up() {
        let has_name = |text: &str| Address::parse(text).expect(text).has_name();
        assert!(has_name("tcp://users.example:1") && has_name("udp://localhost:1"));
        assert!(!has_name("tcp://10.0.0.1:1") && !has_name("tcp://[::1]:1"));
        assert!(!has_name("unix:///run/a.sock"));
    }
}
