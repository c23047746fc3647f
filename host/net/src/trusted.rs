//! Proxies whose word counts: those at addresses that the operator names.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

use postern_core::Origin;

/// Addresses and networks of proxies that say truly for whom they speak. By default nobody.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TrustedProxies(pub Vec<TrustedProxy>);

/// One address, one network, or all processes that connect to a Unix socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrustedProxy {
    /// As IPv6, in which an address of IPv4 stands at `::ffff:0:0/96`; and how many bits count.
    Network {
        first: Ipv6Addr,
        n_bits: u8,
    },
    Unix,
}

/// What is no address of a proxy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither an address, nor a network such as 10.0.0.0/8, nor \"unix\"")]
pub struct TrustedProxyError(String);

impl TrustedProxies {
    #[must_use]
    pub fn contain(&self, origin: &Origin) -> bool {
        match origin {
            Origin::Ip(address) => self.contain_ip(address.ip()),
            Origin::Unix(_) => self.0.contains(&TrustedProxy::Unix),
            Origin::Local => false,
        }
    }

    #[must_use]
    pub(crate) fn contain_ip(&self, ip: IpAddr) -> bool {
        let ip = widened(ip);
        self.0.iter().any(|one| one.contains(ip))
    }
}

impl TrustedProxy {
    fn contains(&self, ip: Ipv6Addr) -> bool {
        match self {
            Self::Network { first, n_bits } => {
                let other_bits = 128 - u32::from(*n_bits);
                let network = |ip: &Ipv6Addr| ip.to_bits().checked_shr(other_bits);
                network(first) == network(&ip)
            }
            Self::Unix => false,
        }
    }
}

impl FromStr for TrustedProxy {
    type Err = TrustedProxyError;

    fn from_str(text: &str) -> Result<Self, TrustedProxyError> {
        if text == "unix" {
            return Ok(Self::Unix);
        }
        let refused = || TrustedProxyError(text.to_owned());
        let (ip, n_bits) = match text.split_once('/') {
            Some((ip, n_bits)) => (ip, Some(n_bits)),
            None => (text, None),
        };
        let ip: IpAddr = ip.parse().map_err(|_| refused())?;
        let (bits_max, before) = if ip.is_ipv4() { (32, 96) } else { (128, 0) };
        let n_bits: u8 = match n_bits {
            Some(n_bits) if n_bits.bytes().all(|octet| octet.is_ascii_digit()) => {
                n_bits.parse().map_err(|_| refused())?
            }
            Some(_) => return Err(refused()),
            None => bits_max,
        };
        if n_bits > bits_max {
            return Err(refused());
        }
        Ok(Self::Network {
            first: widened(ip),
            n_bits: before + n_bits,
        })
    }
}

impl fmt::Display for TrustedProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network { first, n_bits } => match (first.to_canonical(), n_bits) {
                (ip, 128) => ip.fmt(f),
                (IpAddr::V4(ip), 96..) => write!(f, "{ip}/{}", n_bits - 96),
                (_, n_bits) => write!(f, "{first}/{n_bits}"),
            },
            Self::Unix => f.write_str("unix"),
        }
    }
}

fn widened(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusted(list: &[&str]) -> TrustedProxies {
        TrustedProxies(list.iter().map(|one| one.parse().expect(one)).collect())
    }

    #[track_caller]
    fn check(network: &str, ip: &str, is_trusted: bool) {
        let ip: IpAddr = ip.parse().expect("an address");
        let origin = Origin::Ip((ip, 1).into());
        assert_eq!(trusted(&[network]).contain(&origin), is_trusted, "{ip}");
    }

    #[test]
    fn a_network_has_its_addresses_and_no_others() {
        check("10.0.0.0/8", "10.255.255.255", true);
        check("10.0.0.0/8", "11.0.0.0", false);
        check("192.0.2.1", "192.0.2.1", true);
        check("192.0.2.1", "192.0.2.2", false);
        check("192.0.2.1", "::ffff:192.0.2.1", true);
        check("0.0.0.0/0", "203.0.113.9", true);
        check("0.0.0.0/0", "2001:db8::1", false);
        check("::/0", "203.0.113.9", true);
        check("2001:db8::/32", "2001:db8:ffff::1", true);
        check("2001:db8::/32", "2001:db9::1", false);
        check("unix", "127.0.0.1", false);
    }

    #[test]
    fn nobody_is_trusted_unless_named() {
        let origin = Origin::Ip(([127, 0, 0, 1], 1).into());
        assert!(!TrustedProxies::default().contain(&origin));
        assert!(!trusted(&["::/0", "unix"]).contain(&Origin::Local));
    }

    #[test]
    fn is_written_as_it_is_read() {
        for text in [
            "10.0.0.0/8",
            "192.0.2.1",
            "2001:db8::/32",
            "::1",
            "unix",
            "::/0",
            "0.0.0.0/0",
        ] {
            let one: TrustedProxy = text.parse().expect(text);
            assert_eq!(one.to_string(), text);
        }
        for text in [
            "",
            "10.0.0.0/33",
            "::/129",
            "10.0.0/8",
            "a",
            "10.0.0.0/",
            "10.0.0.0/+8",
        ] {
            assert!(text.parse::<TrustedProxy>().is_err(), "{text}");
        }
    }
}
