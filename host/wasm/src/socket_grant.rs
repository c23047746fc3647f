//! What a manifest grants of sockets: `tcp:10.0.0.0/8:5432`, `udp:*:53`, `tcp:[2001:db8::]/32:80-90`, `dns`.

use std::{
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
};

/// What a guest may reach by its own sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SocketGrant {
    /// Connections or datagrams to addresses.
    Outgoing {
        protocol: SocketProtocol,
        network: SocketNetwork,
        ports: RangeInclusive<u16>,
    },
    /// Addresses of names, by the machine's resolver.
    Names,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketProtocol {
    Tcp,
    Udp,
}

/// Addresses whose first bits are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketNetwork {
    Any,
    Prefix { address: IpAddr, bits: u8 },
}

/// Why a text grants nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SocketGrantError {
    #[error("it begins with neither \"tcp:\" nor \"udp:\"")]
    Protocol,
    #[error("it names no ports behind the address")]
    NoPorts,
    #[error("\"{0}\" is no address, no network and not \"*\"")]
    Address(String),
    #[error("a prefix of {bits} bits is longer than the address, which has {most}")]
    Prefix { bits: u16, most: u8 },
    #[error("\"{0}\" is no port, no range of ports and not \"*\"")]
    Ports(String),
}

impl SocketGrant {
    /// Reads a grant.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, SocketGrantError> {
        if text == "dns" {
            return Ok(Self::Names);
        }
        let (protocol, rest) = match text.split_once(':') {
            Some(("tcp", rest)) => (SocketProtocol::Tcp, rest),
            Some(("udp", rest)) => (SocketProtocol::Udp, rest),
            Some(_) | None => return Err(SocketGrantError::Protocol),
        };
        let (network, ports) = rest.rsplit_once(':').ok_or(SocketGrantError::NoPorts)?;
        Ok(Self::Outgoing {
            protocol,
            network: SocketNetwork::parse(network)?,
            ports: read_ports(ports)?,
        })
    }

    pub(crate) fn is_of(&self, wanted: SocketProtocol) -> bool {
        match self {
            Self::Outgoing { protocol, .. } => *protocol == wanted,
            Self::Names => false,
        }
    }

    pub(crate) fn allows(&self, wanted: SocketProtocol, address: SocketAddr) -> bool {
        match self {
            Self::Outgoing {
                protocol,
                network,
                ports,
            } => {
                *protocol == wanted && ports.contains(&address.port()) && network.has(address.ip())
            }
            Self::Names => false,
        }
    }
}

impl SocketProtocol {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

impl SocketNetwork {
    fn parse(text: &str) -> Result<Self, SocketGrantError> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let refused = || SocketGrantError::Address(text.to_owned());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let bare = address
            .strip_prefix('[')
            .and_then(|address| address.strip_suffix(']'));
        let address: IpAddr = match bare {
            Some(bare) => IpAddr::V6(bare.parse().map_err(|_| refused())?),
            None => IpAddr::V4(address.parse().map_err(|_| refused())?),
        };
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits: u16 = match bits {
            Some(bits) => bits.parse().map_err(|_| refused())?,
            None => u16::from(most),
        };
        match u8::try_from(bits) {
            Ok(bits) if bits <= most => Ok(Self::Prefix { address, bits }),
            Ok(_) | Err(_) => Err(SocketGrantError::Prefix { bits, most }),
        }
    }

    /// An address of IPv4 within one of IPv6 is what it stands for.
    fn has(self, wanted: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::Prefix { address, bits } => match (address, wanted.to_canonical()) {
                (IpAddr::V4(address), IpAddr::V4(wanted)) => {
                    let differing = u32::from(address) ^ u32::from(wanted);
                    differing.leading_zeros() >= u32::from(bits)
                }
                (IpAddr::V6(address), IpAddr::V6(wanted)) => {
                    let differing = u128::from(address) ^ u128::from(wanted);
                    differing.leading_zeros() >= u32::from(bits)
                }
                (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
            },
        }
    }
}

fn read_ports(text: &str) -> Result<RangeInclusive<u16>, SocketGrantError> {
    if text == "*" {
        return Ok(1..=u16::MAX);
    }
    let refused = || SocketGrantError::Ports(text.to_owned());
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    let (first, last) = port(first).zip(port(last)).ok_or_else(refused)?;
    if first > last {
        return Err(refused());
    }
    Ok(first..=last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(grant: &str, protocol: SocketProtocol, address: &str, expected: bool) {
        let grant = SocketGrant::parse(grant).unwrap();
        let address = address.parse().unwrap();
        assert_eq!(grant.allows(protocol, address), expected, "{address}");
    }

    #[test]
    fn an_address_and_a_port_are_that_address_and_that_port() {
        let grant = "tcp:10.0.0.7:5432";
        check(grant, SocketProtocol::Tcp, "10.0.0.7:5432", true);
        check(grant, SocketProtocol::Tcp, "[::ffff:10.0.0.7]:5432", true);
        check(grant, SocketProtocol::Tcp, "10.0.0.7:5433", false);
        check(grant, SocketProtocol::Tcp, "10.0.0.8:5432", false);
        check(grant, SocketProtocol::Udp, "10.0.0.7:5432", false);
        check("dns", SocketProtocol::Udp, "10.0.0.7:53", false);
    }

    #[test]
    fn networks_and_ranges_hold_their_edges() {
        let grant = "udp:10.0.0.0/8:80-90";
        check(grant, SocketProtocol::Udp, "10.0.0.0:80", true);
        check(grant, SocketProtocol::Udp, "10.255.255.255:90", true);
        check(grant, SocketProtocol::Udp, "11.0.0.0:80", false);
        check(grant, SocketProtocol::Udp, "10.0.0.0:79", false);
        check(grant, SocketProtocol::Udp, "10.0.0.0:91", false);
        check(
            "tcp:[2001:db8::]/32:*",
            SocketProtocol::Tcp,
            "[2001:db8::1]:9",
            true,
        );
        check(
            "tcp:[2001:db8::]/32:*",
            SocketProtocol::Tcp,
            "[2001:db9::1]:9",
            false,
        );
        check("tcp:[::1]:1", SocketProtocol::Tcp, "[::1]:1", true);
        check(
            "tcp:0.0.0.0/0:*",
            SocketProtocol::Tcp,
            "[2001:db8::1]:9",
            false,
        );
        check("tcp:*:*", SocketProtocol::Tcp, "[2001:db8::1]:9", true);
    }

    #[test]
    fn what_grants_nothing_says_why() {
        use SocketGrantError as Fault;
        let fault = |text: &str| SocketGrant::parse(text).unwrap_err();
        let text = |text: &str| text.to_owned();
        assert_eq!(fault("10.0.0.1:80"), Fault::Protocol);
        assert_eq!(fault("tcp:80"), Fault::NoPorts);
        assert_eq!(fault("tcp:db:80"), Fault::Address(text("db")));
        assert_eq!(fault("tcp:::1:80"), Fault::Address(text("::1")));
        assert_eq!(
            fault("tcp:10.0.0.0/x:80"),
            Fault::Address(text("10.0.0.0/x"))
        );
        let (bits, most) = (33, 32);
        assert_eq!(fault("tcp:10.0.0.0/33:80"), Fault::Prefix { bits, most });
        for ports in ["", "0", "90-80", "1-", "65536", "a"] {
            let grant = format!("tcp:10.0.0.1:{ports}");
            assert_eq!(fault(&grant), Fault::Ports(text(ports)));
        }
    }
}
