//! Where a call goes: a transport's name means the configured listener, a URL says it all.

use std::{fmt, net::SocketAddr};

use super::failure::Failure;
use crate::config::{Carrier, Config, Listener, Protocol};

/// How, and to which `host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub transport: Transport,
    pub authority: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Tcp,
    Udp,
    Http,
}

/// As it was written, not looked up yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Written {
    Named(Transport),
    Url(Target),
}

impl std::str::FromStr for Written {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return match text {
                "tcp" => Ok(Self::Named(Transport::Tcp)),
                "udp" => Ok(Self::Named(Transport::Udp)),
                "http" => Ok(Self::Named(Transport::Http)),
                _ => Err(EXPECTED.to_owned()),
            };
        };
        let transport = match scheme {
            "vstp" | "vstp+tcp" | "tcp" => Transport::Tcp,
            "vstp+udp" | "udp" => Transport::Udp,
            "http" => Transport::Http,
            _ => return Err(EXPECTED.to_owned()),
        };
        let authority = rest.trim_end_matches('/');
        let has_port = authority.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && !port.is_empty() && port.chars().all(|c| c.is_ascii_digit())
        });
        if !has_port || authority.contains('/') {
            return Err(format!("{text:?} does not end with host:port"));
        }
        Ok(Self::Url(Target {
            transport,
            authority: authority.to_owned(),
        }))
    }
}

impl Written {
    /// The listener that the configuration opens for a transport that is only named.
    pub(super) fn resolve(self, config: &Config) -> Result<Target, Failure> {
        let transport = match self {
            Self::Url(target) => return Ok(target),
            Self::Named(transport) => transport,
        };
        let speaks = |listener: &&Listener| match transport {
            Transport::Http => listener.protocol == Protocol::Http,
            Transport::Tcp => carries(listener, Carrier::Tcp),
            Transport::Udp => carries(listener, Carrier::Udp),
        };
        let mut listeners = config
            .listeners
            .values()
            .filter(|listener| listener.enabled);
        let Some(listener) = listeners.find(speaks) else {
            let message = format!("the configuration opens no listener for {transport}");
            return Err(Failure::new(message).with_remedy("name it: --transport vstp://HOST:PORT"));
        };
        let mut address = listener.address;
        if address.ip().is_unspecified() {
            let local = match address {
                SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            };
            address.set_ip(local);
        }
        Ok(Target {
            transport,
            authority: address.to_string(),
        })
    }
}

fn carries(listener: &Listener, carrier: Carrier) -> bool {
    listener.protocol == Protocol::Vstp && listener.transports.contains(&carrier)
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Http => "http",
        })
    }
}

/// The first address of a `host:port`.
pub(super) async fn look_up(authority: &str) -> Result<SocketAddr, Failure> {
    let unknown =
        |reason: &dyn fmt::Display| Failure::new(format!("{authority} has no address: {reason}"));
    let mut addresses = tokio::net::lookup_host(authority)
        .await
        .map_err(|error| unknown(&error))?;
    addresses
        .next()
        .ok_or_else(|| unknown(&"the name is not known"))
}

const EXPECTED: &str = "write tcp, udp, http, or a URL: vstp://HOST:PORT, vstp+udp://HOST:PORT, \
                        http://HOST:PORT";

#[cfg(test)]
mod tests {
    use super::*;

    fn url(transport: Transport, authority: &str) -> Written {
        Written::Url(Target {
            transport,
            authority: authority.to_owned(),
        })
    }

    #[test]
    fn reads_names_and_urls() {
        let check =
            |text: &str, expected: Written| assert_eq!(text.parse(), Ok(expected), "{text}");
        check("udp", Written::Named(Transport::Udp));
        check(
            "vstp://localhost:9090",
            url(Transport::Tcp, "localhost:9090"),
        );
        check("vstp+udp://[::1]:9090", url(Transport::Udp, "[::1]:9090"));
        check(
            "http://127.0.0.1:8080/",
            url(Transport::Http, "127.0.0.1:8080"),
        );
        for text in [
            "",
            "quic",
            "https://a:1",
            "vstp://a",
            "vstp://:1",
            "vstp://a:b",
            "http://a:1/x",
        ] {
            assert!(text.parse::<Written>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_name_means_the_configured_listener() {
        let mut config = Config::default();
        let resolve = |transport, config: &Config| {
            Written::Named(transport)
                .resolve(config)
                .map(|target| target.authority)
                .ok()
        };
        assert_eq!(
            resolve(Transport::Udp, &config).as_deref(),
            Some("127.0.0.1:9090")
        );
        let vstp = config.listeners.get_mut("vstp").expect("built in");
        vstp.address = "0.0.0.0:7000".parse().expect("an address");
        vstp.transports = vec![Carrier::Tcp];
        assert_eq!(
            resolve(Transport::Tcp, &config).as_deref(),
            Some("127.0.0.1:7000")
        );
        assert_eq!(resolve(Transport::Udp, &config), None);
    }
}
