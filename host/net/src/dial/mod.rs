//! How calls leave this gateway: one table, a line per transport. Whoever dials (pool, upstreams, other
//! gateways, the command line) asks here, and what is not in the table is refused by its name.

mod destination;
mod target;

use std::{
    fmt,
    sync::{Arc, LazyLock},
};

use postern_core::{
    Blame, Error, Handler, Text, Transport,
    registry::Address,
    transport::{AddressForm, list},
};

pub(crate) use self::target::{StreamDialer, unreachable};
pub use self::{
    destination::Destination,
    target::{Carried, SessionDialer, Target},
};
use crate::{
    grpc,
    http::{self, HttpClientConfig},
    link::StreamLink,
    quic, tcp,
    tls::{self, ClientTls},
    udp, unix, velithon, websocket,
};

/// What this gateway dials.
static DIALS: LazyLock<[(Transport, Dial); 13]> = LazyLock::new(|| {
    [
        (Transport::Tcp, Dial::Sessions(Arc::new(tcp::TcpDialer))),
        (Transport::Tls, Dial::Sessions(Arc::new(tls::TlsDialer))),
        (Transport::Udp, Dial::Sessions(Arc::new(udp::UdpDialer))),
        (
            Transport::Quic,
            Dial::Sessions(Arc::<quic::QuicDialer>::default()),
        ),
        (
            Transport::WebSocket,
            Dial::Sessions(Arc::new(websocket::WebSocketDialer)),
        ),
        (
            Transport::SecureWebSocket,
            Dial::Sessions(Arc::new(websocket::SecureWebSocketDialer)),
        ),
        (Transport::Unix, Dial::Sessions(Arc::new(unix::UnixDialer))),
        (Transport::Http, Dial::Requests(http::dial)),
        (Transport::Https, Dial::Requests(http::dial_tls)),
        (Transport::Grpc, Dial::Requests(grpc::dial)),
        (Transport::Grpcs, Dial::Requests(grpc::dial_tls)),
        (Transport::Velithon, Dial::Requests(velithon::dial)),
        (Transport::Velithons, Dial::Requests(velithon::dial_tls)),
    ]
});

/// What a transport carries.
#[derive(Debug, Clone)]
pub enum Dial {
    /// VSTP sessions, which instances and other gateways are called over.
    Sessions(Arc<dyn SessionDialer>),
    /// One request after the other, for the command line.
    Requests(OpenRequests),
}

/// Given `host:port`.
pub type OpenRequests = fn(&str, HttpClientConfig) -> Result<Arc<dyn Handler>, Error>;

/// This gateway opens no sessions over a transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this gateway dials {dialled}, not {transport}", dialled = list(sessions()))]
pub struct Undialled {
    pub transport: Transport,
}

/// How `transport` is dialled, if it is.
#[must_use]
pub fn find(transport: Transport) -> Option<&'static Dial> {
    let mut dials = DIALS.iter();
    let found = dials.find(|(dialled, _)| *dialled == transport);
    found.map(|(_, dial)| dial)
}

/// All transports that are dialled, in the order of the table.
pub fn all() -> impl Iterator<Item = Transport> {
    DIALS.iter().map(|(transport, _)| *transport)
}

/// Those that sessions are opened over.
pub fn sessions() -> impl Iterator<Item = Transport> {
    all().filter(|transport| dialer(*transport).is_ok())
}

/// # Errors
/// When no sessions are opened over `transport`.
pub fn dialer(transport: Transport) -> Result<&'static Arc<dyn SessionDialer>, Undialled> {
    match find(transport) {
        Some(Dial::Sessions(dialer)) => Ok(dialer),
        Some(Dial::Requests(_)) | None => Err(Undialled { transport }),
    }
}

/// Whether sessions can be opened with whoever has `addresses`: over one of them is enough, the others
/// may be for others.
///
/// # Errors
/// The first that is not dialled, where none is.
pub fn check(addresses: &[Address]) -> Result<(), Undialled> {
    let mut refused = Ok(());
    for address in addresses {
        match dialer(address.transport) {
            Ok(_) => return Ok(()),
            Err(undialled) => refused = refused.and(Err(undialled)),
        }
    }
    refused
}

/// As `check`, where requests may be sent as well.
///
/// # Errors
/// As `check`.
pub fn check_all(addresses: &[Address]) -> Result<(), Undialled> {
    let takes_requests = |address: &Address| find(address.transport).is_some();
    match addresses.iter().any(takes_requests) {
        true => Ok(()),
        false => check(addresses),
    }
}

/// Whom `authority`, which is `host:port` or a path as the transport has it, stands for: one target
/// per address of the host.
///
/// # Errors
/// `unavailable` when the transport is not dialled, or the host is not found.
pub async fn targets(transport: Transport, authority: &str) -> Result<Vec<Target>, Error> {
    let dialer = dialer(transport)?;
    let target = |destination| Target::new(Arc::clone(dialer), destination);
    match transport.form() {
        AddressForm::Path => Ok(vec![target(Destination::Path(authority.into()))]),
        AddressForm::HostPort
        | AddressForm::HostOrPath
        | AddressForm::Url
        | AddressForm::Unaddressed => {
            let at = authority.find('/').unwrap_or(authority.len());
            let (authority, path) = authority.split_at(at);
            let unknown = |reason: &dyn fmt::Display| {
                // Nothing was sent, so another instance may be asked.
                let message = format!("{authority} is not found: {reason}");
                Error::unavailable(Blame::Upstream, message)
            };
            // An IP address is its own answer.
            let found = tokio::net::lookup_host(authority).await;
            let found = found.map_err(|error| unknown(&error))?;
            let host = authority
                .rsplit_once(':')
                .map_or(authority, |(host, _)| host);
            let destination = |address| match dialer.needs_host() {
                true if !path.is_empty() => Destination::Url {
                    host: Text::from(host.trim_matches(['[', ']'])),
                    address,
                    path: path.into(),
                },
                true => Destination::Host {
                    host: Text::from(host.trim_matches(['[', ']'])),
                    address,
                },
                false => Destination::Ip(address),
            };
            let targets: Vec<_> = found.map(destination).map(target).collect();
            if targets.is_empty() {
                return Err(unknown(&"the name has no address"));
            }
            Ok(targets)
        }
    }
}

/// A stream that begins where the handshakes of `transport` end, to whoever of `authority` answers
/// first. The caller bounds the time.
///
/// # Errors
/// `unavailable` with what failed last; also where `transport` carries no streams.
pub(crate) async fn open_stream(
    transport: Transport,
    authority: &str,
    carried: Carried,
    (tls, server_name): (&ClientTls, Option<&Text>),
) -> Result<Box<dyn StreamLink>, Error> {
    let mut failed = None;
    for target in targets(transport, authority).await? {
        let Some(opening) = target.open_stream(carried, tls, server_name) else {
            return Err(Undialled { transport }.into());
        };
        match opening.await {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = Some(error),
        }
    }
    Err(failed.unwrap_or_else(|| Undialled { transport }.into()))
}

/// Nothing was sent, so another instance may be asked.
impl From<Undialled> for Error {
    fn from(undialled: Undialled) -> Self {
        Self::unavailable(Blame::Gateway, undialled.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_of_the_table_is_found_by_its_transport() {
        for (transport, dial) in DIALS.iter() {
            assert!(find(*transport).is_some());
            assert_ne!(transport.form(), AddressForm::Unaddressed);
            if let Dial::Sessions(dialer) = dial {
                assert_eq!(dialer.name(), transport.name());
            }
        }
    }

    #[tokio::test]
    async fn what_is_not_dialled_is_refused_by_its_name_before_anything_is_looked_up() {
        for transport in [Transport::Https, Transport::Http] {
            let refused = targets(transport, "no such host:1").await;
            let refused = refused.expect_err("not dialled").message;
            let expected =
                format!("this gateway dials tcp, tls, udp, quic, ws, wss, unix, not {transport}");
            assert_eq!(*refused, *expected);
        }
    }

    #[tokio::test]
    async fn an_authority_is_read_as_its_transport_has_it() {
        let found = async |transport, authority| {
            let targets = targets(transport, authority).await.expect("found");
            targets[0].destination().clone()
        };
        let ip = Destination::Ip(([127, 0, 0, 1], 9).into());
        assert_eq!(found(Transport::Tcp, "127.0.0.1:9").await, ip);
        assert_eq!(found(Transport::Udp, "127.0.0.1:9").await, ip);
        let named = found(Transport::Tls, "localhost:9").await;
        assert_eq!(named.host(), Some("localhost"));
        let named = found(Transport::Quic, "localhost:9").await;
        assert_eq!(named.host(), Some("localhost"));
        let named = found(Transport::Tls, "[::1]:9").await;
        assert_eq!(named.to_string(), "::1 ([::1]:9)");
        let url = found(Transport::WebSocket, "127.0.0.1:9/x/y").await;
        assert_eq!(url.to_string(), "127.0.0.1/x/y (127.0.0.1:9)");
        let path = Destination::Path("/run/a.sock".into());
        assert_eq!(found(Transport::Unix, "/run/a.sock").await, path);
    }
}
