//! Addresses that may be anywhere, as apart from those of this machine and of its network.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use postern_core::{Blame, Error, Kind};
use tokio::net::lookup_host;

/// The public addresses of a name.
///
/// # Errors
/// `PermissionDenied` where it has none but others.
pub(super) async fn public_addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let all: Vec<_> = lookup_host((host, port)).await?.collect();
    let public: Vec<_> = all
        .iter()
        .copied()
        .filter(|one| is_public(one.ip()))
        .collect();
    match (public.is_empty(), all.first()) {
        (true, Some(other)) => {
            let message = format!(
                "{host} leads to {}, which is no public address; name the address itself",
                other.ip()
            );
            Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
        }
        (true, None) => {
            let message = format!("{host} has no address");
            Err(io::Error::new(io::ErrorKind::NotFound, message))
        }
        (false, _) => Ok(public),
    }
}

/// Why no connection could be had, where that was for the sake of its address.
pub(super) fn prohibited(error: &io::Error) -> Option<Error> {
    (error.kind() == io::ErrorKind::PermissionDenied).then(|| {
        let message = error.to_string();
        Error::new(Kind::PermissionDenied, Blame::Gateway, message)
    })
}

/// Whether an address may be anywhere: the registries of special addresses of RFC 6890.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = a == 0
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        // Shared by providers, protocol assignments, benchmarks, and what is reserved.
        || a == 100 && b & 0b1100_0000 == 64
        || a == 192 && b == 0 && c == 0
        || a == 198 && b & 0b1111_1110 == 18
        || a >= 240;
    !is_special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let embedded = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match (a, b) {
        // Mapped and compatible ones, the loopback and none at all.
        (0, 0) if [c, d, e] == [0, 0, 0] && (f == 0xffff || f == 0) => embedded(g, h),
        // Translated ones (RFC 6052), those of 6to4 (RFC 3056). Other prefixes for translation are of one network
        // (RFC 8215), and have the address elsewhere.
        (0x64, 0xff9b) => [c, d, e, f] == [0; 4] && embedded(g, h),
        (0x2002, _) => embedded(b, c),
        // Teredo, ORCHID, documentation, benchmarks: 2001::/23, 2001:db8::/32, 3fff::/20.
        (0x2001, b) => b >= 0x200 && b != 0xdb8,
        (0x3fff, b) => b >= 0x1000,
        // What is global begins with 001 (RFC 4291 section 2.4).
        (a, _) => a & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_address_is_of_no_machine_nearby() {
        for (address, expected) in [
            ("8.8.8.8", true),
            ("127.0.0.1", false),
            ("0.0.0.0", false),
            ("10.1.2.3", false),
            ("172.16.0.1", false),
            ("172.32.0.1", true),
            ("192.168.1.1", false),
            ("169.254.169.254", false),
            ("100.64.0.1", false),
            ("100.128.0.1", true),
            ("198.18.0.1", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("2606:4700::1111", true),
            ("::", false),
            ("::1", false),
            ("::ffff:127.0.0.1", false),
            ("::ffff:8.8.8.8", true),
            ("64:ff9b::10.0.0.1", false),
            ("64:ff9b::8.8.8.8", true),
            ("64:ff9b:1:a00:0:100:808:808", false),
            ("64:ff9b:1::8.8.8.8", false),
            ("2002:a00:1::1", false),
            ("2001:db8::1", false),
            ("fe80::1", false),
            ("fc00::1", false),
            ("ff02::1", false),
        ] {
            let parsed = address.parse().expect("an address");
            assert_eq!(is_public(parsed), expected, "{address}");
        }
    }

    #[tokio::test]
    async fn a_name_of_this_machine_is_refused_with_the_way_out() {
        let error = public_addresses("localhost", 1).await.expect_err("local");
        assert!(error.to_string().contains("no public address"), "{error}");
        assert!(prohibited(&error).is_some());
    }
}
