//! Where a caller is, whatever carries its calls: an IP address, a process of this machine, or this
//! process itself. Access rules, allowances and log lines are made of it.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use crate::text::Text;

/// Where a caller is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// At the far end of a network connection.
    Ip(SocketAddr),
    /// At the far end of a Unix socket.
    Unix(UnixPeer),
    /// In this process: a plugin, a test.
    Local,
}

/// The process at the far end of a Unix socket, as the kernel says (`SO_PEERCRED`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixPeer {
    /// Its effective user when it connected.
    pub uid: u32,
    pub gid: u32,
    /// Its process, where the system tells; another may have the number by now.
    pub pid: Option<i32>,
    /// The path of the socket that it connected to; none of a socket without a name.
    pub path: Option<Text>,
}

/// Who counts as one caller. What is kept of callers is kept by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CallerKey<'a> {
    /// One IPv4 address, or one IPv6 network of 64 bits: whoever has one address of it has them all
    /// (RFC 6177). An IPv4 address stands behind four octets of 0xff, as no IPv6 network does.
    Network([u8; 8]),
    /// All processes of one user.
    User(u32),
    /// One session, or one plugin by its name.
    Session(&'a str),
}

impl Origin {
    /// The address, where it has one.
    #[must_use]
    pub const fn socket_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::Unix(_) | Self::Local => None,
        }
    }

    /// The address without its port, where it has one.
    #[must_use]
    pub const fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(address.ip()),
            Self::Unix(_) | Self::Local => None,
        }
    }

    /// Who it counts as. `session` tells those apart that have no address.
    #[must_use]
    pub fn caller_key<'a>(&self, session: &'a str) -> CallerKey<'a> {
        match self {
            Self::Ip(address) => CallerKey::Network(network(address.ip())),
            Self::Unix(peer) => CallerKey::User(peer.uid),
            Self::Local => CallerKey::Session(session),
        }
    }

    /// What stays the same when the caller connects again: `10.0.0.7`, `uid:1000`. None of this
    /// process.
    #[must_use]
    pub fn host(&self) -> Option<String> {
        match self {
            Self::Ip(address) => Some(address.ip().to_canonical().to_string()),
            Self::Unix(peer) => Some(format!("uid:{}", peer.uid)),
            Self::Local => None,
        }
    }
}

impl From<SocketAddr> for Origin {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

/// For logs and operators: `10.0.0.7:5555`, `uid:1000 gid:1000 pid:77`, `local`.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(peer) => peer.fmt(f),
            Self::Local => f.write_str("local"),
        }
    }
}

impl fmt::Display for UnixPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uid:{} gid:{}", self.uid, self.gid)?;
        if let Some(pid) = self.pid {
            write!(f, " pid:{pid}")?;
        }
        Ok(())
    }
}

fn network(ip: IpAddr) -> [u8; 8] {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            [0xff, 0xff, 0xff, 0xff, a, b, c, d]
        }
        IpAddr::V6(ip) => {
            let [a, b, c, d, e, f, g, h, ..] = ip.octets();
            [a, b, c, d, e, f, g, h]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Origin {
        Origin::Ip(text.parse().expect("an address"))
    }

    fn unix(uid: u32, pid: Option<i32>) -> Origin {
        Origin::Unix(UnixPeer {
            uid,
            gid: 20,
            pid,
            path: Some("/run/postern.sock".into()),
        })
    }

    fn is_one_caller(one: &Origin, other: &Origin) -> bool {
        one.caller_key("s1") == other.caller_key("s2")
    }

    #[test]
    fn prints_on_one_line_what_operators_look_for() {
        let check = |origin: Origin, expected| assert_eq!(origin.to_string(), expected);
        check(ip("10.0.0.7:5555"), "10.0.0.7:5555");
        check(ip("[fd00::1]:80"), "[fd00::1]:80");
        check(unix(1000, Some(77)), "uid:1000 gid:20 pid:77");
        check(unix(0, None), "uid:0 gid:20");
        check(Origin::Local, "local");
    }

    #[test]
    fn an_address_is_one_caller_on_all_its_ports() {
        assert!(is_one_caller(&ip("10.0.0.7:1"), &ip("10.0.0.7:2")));
        assert!(is_one_caller(&ip("10.0.0.7:1"), &ip("[::ffff:10.0.0.7]:1")));
        assert!(!is_one_caller(&ip("10.0.0.7:1"), &ip("10.0.0.8:1")));
    }

    #[test]
    fn an_ipv6_network_of_64_bits_is_one_caller() {
        let one = ip("[2001:db8:0:1::1]:1");
        assert!(is_one_caller(
            &one,
            &ip("[2001:db8:0:1:ffff:ffff:ffff:ffff]:9")
        ));
        assert!(!is_one_caller(&one, &ip("[2001:db8:0:2::1]:1")));
        // Four octets of 0xff begin no network that anybody has.
        assert!(!is_one_caller(&ip("10.0.0.7:1"), &ip("[ff02:0:a00:7::]:1")));
    }

    #[test]
    fn a_user_is_one_caller_with_all_its_processes() {
        assert!(is_one_caller(&unix(1000, Some(1)), &unix(1000, Some(2))));
        assert!(!is_one_caller(&unix(1000, None), &unix(1001, None)));
        let eight = [0, 0, 0, 0, 0, 0, 3, 232];
        assert_ne!(unix(1000, None).caller_key(""), CallerKey::Network(eight));
    }

    #[test]
    fn what_has_no_address_is_told_apart_by_session_or_name() {
        let key = Origin::Local.caller_key("users");
        assert_eq!(key, CallerKey::Session("users"));
        assert!(!is_one_caller(&Origin::Local, &Origin::Local));
    }

    #[test]
    fn the_host_outlives_a_connection() {
        let check = |origin: Origin, expected: Option<&str>| {
            assert_eq!(origin.host().as_deref(), expected);
        };
        check(ip("[::ffff:10.0.0.7]:5"), Some("10.0.0.7"));
        check(unix(1000, Some(77)), Some("uid:1000"));
        check(Origin::Local, None);
    }
}
