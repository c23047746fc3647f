//! The header of the PROXY protocol, <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>. Pure.
//!
//! ```text
//! v1: PROXY TCP4 192.0.2.1 192.0.2.9 4711 443 CR LF        at most 107 octets
//! v2: signature:12  0x2:4 command:4  family:4 protocol:4  length:u16  addresses  TLVs
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Which header is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyVersion {
    /// Text.
    V1,
    /// Octets.
    V2,
}

/// Why octets are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProxyError {
    #[error("the connection does not begin with a header of the PROXY protocol")]
    Missing,
    #[error("the header of the PROXY protocol exceeds the limit of {limit} octets")]
    TooLong { limit: usize },
    #[error("the header of the PROXY protocol has no addresses that can be read")]
    Addresses,
    #[error("the header of the PROXY protocol has the unknown version or command {0:#04x}")]
    Command(u8),
}

/// Octets that tell which version a header has: no header is shorter.
pub(crate) const BEGIN_BYTES: usize = 12;
/// Longest header of version 1, CR LF included.
pub(crate) const V1_BYTES_MAX: usize = 107;
/// Longest part behind the fixed one of version 2 that is read. Addresses take 216 at most; what
/// follows them are certificates' names and the like.
pub(crate) const V2_BYTES_MAX: usize = 4096;
/// Of version 2, behind the first `BEGIN_BYTES`.
pub(crate) const V2_FIXED_BYTES: usize = 4;

const SIGNATURE: [u8; BEGIN_BYTES] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Which version `begin` is of.
///
/// # Errors
/// `Missing`.
pub(crate) fn version(begin: &[u8; BEGIN_BYTES]) -> Result<ProxyVersion, ProxyError> {
    if *begin == SIGNATURE {
        Ok(ProxyVersion::V2)
    } else if begin.starts_with(b"PROXY ") {
        Ok(ProxyVersion::V1)
    } else {
        Err(ProxyError::Missing)
    }
}

/// Reads a line of version 1, with or without its end. `None` where whoever connects speaks for itself,
/// or does not say for whom.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn read_v1(line: &[u8]) -> Result<Option<SocketAddr>, ProxyError> {
    let line = line.strip_suffix(b"\r\n").ok_or(ProxyError::Addresses)?;
    let line = str::from_utf8(line).map_err(|_| ProxyError::Addresses)?;
    let mut words = line.split(' ');
    let (Some("PROXY"), Some(family)) = (words.next(), words.next()) else {
        return Err(ProxyError::Missing);
    };
    if family == "UNKNOWN" {
        return Ok(None);
    }
    let mut next = || words.next().ok_or(ProxyError::Addresses);
    let (source, _destination) = (next()?, next()?);
    let (port, _destination_port) = (next()?, next()?);
    let is_end = words.next().is_none();
    let ip: IpAddr = source.parse().map_err(|_| ProxyError::Addresses)?;
    let is_family = match family {
        "TCP4" => ip.is_ipv4(),
        "TCP6" => ip.is_ipv6(),
        _ => false,
    };
    let is_number = port.bytes().all(|octet| octet.is_ascii_digit());
    let port = port.parse().ok().filter(|_| is_number);
    match port {
        Some(port) if is_family && is_end => Ok(Some(SocketAddr::new(ip, port))),
        Some(_) | None => Err(ProxyError::Addresses),
    }
}

/// Octets behind the fixed part of version 2.
///
/// # Errors
/// `TooLong`.
pub(crate) fn v2_length(fixed: [u8; V2_FIXED_BYTES]) -> Result<usize, ProxyError> {
    let [.., high, low] = fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let limit = V2_BYTES_MAX;
    if length > limit {
        return Err(ProxyError::TooLong { limit });
    }
    Ok(length)
}

/// Reads version 2: its fixed part, and what follows. `None` as in `read_v1`, and for families that have
/// no address.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn read_v2(
    fixed: [u8; V2_FIXED_BYTES],
    rest: &[u8],
) -> Result<Option<SocketAddr>, ProxyError> {
    let [command, family, ..] = fixed;
    match command {
        LOCAL => return Ok(None),
        PROXY => {}
        unknown => return Err(ProxyError::Command(unknown)),
    }
    // The low half is TCP or UDP.
    match family >> 4 {
        1 => {
            let Some([a, b, c, d, _, _, _, _, high, low, _, _]) = rest.first_chunk::<12>() else {
                return Err(ProxyError::Addresses);
            };
            let ip = Ipv4Addr::new(*a, *b, *c, *d);
            let port = u16::from_be_bytes([*high, *low]);
            Ok(Some(SocketAddr::new(ip.into(), port)))
        }
        2 => {
            let source = rest.first_chunk::<16>().copied();
            let port = rest.get(32..).and_then(|ports| ports.first_chunk::<4>());
            let (Some(source), Some([high, low, ..])) = (source, port) else {
                return Err(ProxyError::Addresses);
            };
            let port = u16::from_be_bytes([*high, *low]);
            Ok(Some(SocketAddr::new(Ipv6Addr::from(source).into(), port)))
        }
        _ => Ok(None),
    }
}

/// What an upstream is told: who connects, and to where. Without, the gateway speaks for itself.
#[must_use]
pub(crate) fn encode(version: ProxyVersion, ends: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
    let ends = ends.map(|(source, destination)| same_family(source, destination));
    match version {
        ProxyVersion::V1 => encode_v1(ends),
        ProxyVersion::V2 => encode_v2(ends),
    }
}

/// An IPv4 address beside an IPv6 one is written as one of IPv6.
fn same_family(source: SocketAddr, destination: SocketAddr) -> (SocketAddr, SocketAddr) {
    let canonical = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
    let (source, destination) = (canonical(source), canonical(destination));
    if source.is_ipv4() == destination.is_ipv4() {
        return (source, destination);
    }
    let widened = |end: SocketAddr| match end.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), end.port()),
        IpAddr::V6(_) => end,
    };
    (widened(source), widened(destination))
}

fn encode_v1(ends: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
    let Some((source, destination)) = ends else {
        return b"PROXY UNKNOWN\r\n".to_vec();
    };
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let line = format!(
        "PROXY {family} {} {} {} {}\r\n",
        source.ip(),
        destination.ip(),
        source.port(),
        destination.port()
    );
    line.into_bytes()
}

fn encode_v2(ends: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    let Some((source, destination)) = ends else {
        header.extend_from_slice(&[LOCAL, 0, 0, 0]);
        return header;
    };
    let (family, length): (u8, u16) = if source.is_ipv4() {
        (TCP4, 12)
    } else {
        (TCP6, 36)
    };
    header.extend_from_slice(&[PROXY, family]);
    header.extend_from_slice(&length.to_be_bytes());
    for end in [source, destination] {
        match end.ip() {
            IpAddr::V4(ip) => header.extend_from_slice(&ip.octets()),
            IpAddr::V6(ip) => header.extend_from_slice(&ip.octets()),
        }
    }
    header.extend_from_slice(&source.port().to_be_bytes());
    header.extend_from_slice(&destination.port().to_be_bytes());
    header
}

const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

#[cfg(test)]
mod tests {
    use super::*;

    fn end(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    /// Reads what `encode` wrote.
    fn read(header: &[u8]) -> Result<Option<SocketAddr>, ProxyError> {
        let begin = header.first_chunk().ok_or(ProxyError::Missing)?;
        if version(begin)? == ProxyVersion::V1 {
            return read_v1(header);
        }
        let fixed = *header[BEGIN_BYTES..].first_chunk().expect("a fixed part");
        let rest = &header[BEGIN_BYTES + V2_FIXED_BYTES..];
        assert_eq!(v2_length(fixed)?, rest.len());
        read_v2(fixed, rest)
    }

    #[test]
    fn what_is_written_is_read() {
        let pairs = [
            ("192.0.2.1:4711", "198.51.100.9:80"),
            ("[2001:db8::1]:4711", "[::1]:80"),
        ];
        for version in [ProxyVersion::V1, ProxyVersion::V2] {
            for (source, destination) in pairs {
                let header = encode(version, Some((end(source), end(destination))));
                assert_eq!(read(&header), Ok(Some(end(source))));
                assert!(header.len() <= V1_BYTES_MAX);
            }
            assert_eq!(read(&encode(version, None)), Ok(None));
        }
    }

    #[test]
    fn octets_are_those_of_the_specification() {
        let ends = (end("192.0.2.1:4711"), end("198.51.100.9:80"));
        let text = encode(ProxyVersion::V1, Some(ends));
        assert_eq!(text, b"PROXY TCP4 192.0.2.1 198.51.100.9 4711 80\r\n");
        let octets = encode(ProxyVersion::V2, Some(ends));
        let addresses = [192, 0, 2, 1, 198, 51, 100, 9, 0x12, 0x67, 0, 80];
        let expected = [&SIGNATURE[..], &[0x21, 0x11, 0, 12], &addresses].concat();
        assert_eq!(octets, expected);
    }

    #[test]
    fn addresses_of_two_families_are_written_as_one() {
        let header = encode(ProxyVersion::V1, Some((end("192.0.2.1:1"), end("[::1]:2"))));
        assert_eq!(header, b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n");
        let mapped = Some((end("[::ffff:192.0.2.1]:1"), end("192.0.2.2:2")));
        let header = encode(ProxyVersion::V1, mapped);
        assert_eq!(header, b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n");
    }

    #[test]
    fn a_line_that_is_none_is_refused() {
        for line in [
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
            "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n",
            "PROXY TCP4 a b 1 2\r\n",
            "PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY \r\n",
        ] {
            assert!(read_v1(line.as_bytes()).is_err(), "{line}");
        }
        let unknown = b"PROXY UNKNOWN whatever follows\r\n";
        assert_eq!(read_v1(unknown), Ok(None));
    }

    #[test]
    fn octets_that_are_none_are_refused() {
        assert_eq!(version(b"GET / HTTP/1"), Err(ProxyError::Missing));
        let limit = V2_BYTES_MAX;
        assert_eq!(v2_length([0x21, 0x11, 0x10, 0]), Ok(4096));
        let refused = Err(ProxyError::TooLong { limit });
        assert_eq!(v2_length([0x21, 0x11, 0x10, 1]), refused);
        let short = Err(ProxyError::Addresses);
        assert_eq!(read_v2([0x21, 0x11, 0, 11], &[0; 11]), short);
        assert_eq!(read_v2([0x21, 0x21, 0, 35], &[0; 35]), short);
        let unknown = Err(ProxyError::Command(0x11));
        assert_eq!(read_v2([0x11, 0x11, 0, 12], &[0; 12]), unknown);
        // A Unix socket has no address that counts here.
        assert_eq!(read_v2([0x21, 0x31, 0, 216], &[0; 216]), Ok(None));
    }
}
