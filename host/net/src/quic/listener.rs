//! Where QUIC connections come in: admission, address validation under load, and the handshake until
//! the session's stream is open.

use std::{
    fmt, io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use arc_swap::ArcSwap;
use postern_core::{Origin, Text, tls::TlsFacts};
use quinn::{
    Connection, Endpoint, EndpointConfig, Incoming, ServerConfig, TokioRuntime,
    crypto::rustls::HandshakeData,
};
use rustls::pki_types::CertificateDer;

use super::{config::QuicConfig, link::QuicLink, restart::RestartKey};
use crate::{
    acceptor::{ConnectionFacts, Handshake},
    counters::Counters,
    link::Listener,
    tls::client_certificate,
    udp::with_large_buffers,
};

/// Gives the TLS settings that are in force when a connection begins.
pub type QuicTls = Arc<dyn Fn() -> Arc<rustls::ServerConfig> + Send + Sync>;

/// A UDP socket on which QUIC connections come in.
pub struct QuicListener {
    endpoint: Endpoint,
    tls: QuicTls,
    config: QuicControl,
    /// What `server` was made of.
    made_of: (Arc<rustls::ServerConfig>, Arc<QuicConfig>),
    server: Arc<ServerConfig>,
    handshakes: Handshakes,
    counters: Arc<Counters>,
}

/// Changes the settings of a listener while it serves, for connections that come after.
#[derive(Debug, Clone)]
pub struct QuicControl(Arc<ArcSwap<QuicConfig>>);

/// A connection that has begun.
#[derive(Debug)]
pub struct QuicIncoming {
    incoming: Incoming,
    server: Arc<ServerConfig>,
    counted: CountedHandshake,
}

/// From a connection that has begun to one whose session can be served.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QuicHandshake;

/// A connection whose session's stream is open.
pub(crate) struct QuicConnection {
    pub(crate) link: QuicLink,
    pub(crate) connection: Connection,
}

/// Counts handshakes that wait for their peers.
#[derive(Debug, Clone, Default)]
struct Handshakes(Arc<AtomicUsize>);

/// One of them, from its beginning until it is done or given up.
#[derive(Debug)]
struct CountedHandshake(Handshakes);

impl QuicListener {
    /// Takes connections at `address`; port 0 takes a free one. Those that begin have what `tls` gives
    /// then, with ALPN `vstp` and without early data, whatever it says of these.
    ///
    /// # Errors
    /// What the operating system says; `InvalidInput` with a `QuicConfigError` for settings that
    /// cannot be.
    pub fn bind(
        address: SocketAddr,
        tls: QuicTls,
        config: &QuicConfig,
        counters: Arc<Counters>,
    ) -> io::Result<Self> {
        Self::on(std::net::UdpSocket::bind(address)?, tls, config, counters)
    }

    /// As `bind`, on a socket that is bound.
    ///
    /// # Errors
    /// As `bind`.
    pub fn on(
        socket: std::net::UdpSocket,
        tls: QuicTls,
        config: &QuicConfig,
        counters: Arc<Counters>,
    ) -> io::Result<Self> {
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
        let current = tls();
        let server = Arc::new(config.server(&current).map_err(invalid)?);
        with_large_buffers(&socket)?;
        let runtime = Arc::new(TokioRuntime);
        let first = Some(ServerConfig::clone(&server));
        let restart_key = config.restart_key.as_ref();
        let settings = restart_key.map_or_else(EndpointConfig::default, RestartKey::endpoint);
        let endpoint = Endpoint::new(settings, first, socket, runtime)?;
        let config = Arc::new(config.clone());
        Ok(Self {
            endpoint,
            tls,
            config: QuicControl(Arc::new(ArcSwap::new(Arc::clone(&config)))),
            made_of: (current, config),
            server,
            handshakes: Handshakes::default(),
            counters,
        })
    }

    /// What changes its settings, also while it serves.
    #[must_use]
    pub fn control(&self) -> QuicControl {
        self.config.clone()
    }

    pub(crate) const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The next connection that is to be admitted. While many handshakes wait, one whose address may
    /// be forged is asked to come again with a proof, and nothing is kept of it.
    async fn next(&mut self) -> Option<QuicIncoming> {
        loop {
            let incoming = self.endpoint.accept().await?;
            self.follow_settings();
            let (_, config) = &self.made_of;
            let is_full = self.handshakes.count() >= config.unvalidated_handshakes_max;
            if is_full && !incoming.remote_address_validated() && incoming.may_retry() {
                tracing::debug!(peer = %incoming.remote_address(), "asked to prove its address");
                self.counters.retries_sent.add(1);
                // It may retry, so that there is no error.
                let _ = incoming.retry();
                continue;
            }
            return Some(QuicIncoming {
                incoming,
                server: Arc::clone(&self.server),
                counted: self.handshakes.begin(),
            });
        }
    }
}

impl QuicListener {
    /// Takes over settings that were replaced. Proofs of addresses stay good.
    fn follow_settings(&mut self) {
        let wanted = ((self.tls)(), self.config.0.load_full());
        let is_tls_same = Arc::ptr_eq(&wanted.0, &self.made_of.0);
        if is_tls_same && Arc::ptr_eq(&wanted.1, &self.made_of.1) {
            return;
        }
        let mut server = ServerConfig::clone(&self.server);
        match wanted.1.put_into(&mut server, &wanted.0) {
            Ok(()) => self.server = Arc::new(server),
            Err(error) => tracing::warn!(%error, "QUIC goes on with the settings before"),
        }
        self.made_of = wanted;
    }
}

impl Listener for QuicListener {
    type Link = QuicIncoming;

    async fn accept(&mut self) -> io::Result<(QuicIncoming, Origin)> {
        let accepted = self.next().await.ok_or(io::ErrorKind::NotConnected)?;
        let peer = accepted.incoming.remote_address();
        Ok((accepted, Origin::Ip(peer)))
    }

    /// Its socket stays open for the connections that drain, so that others must be told.
    async fn refuse(self) {
        while let Some(incoming) = self.endpoint.accept().await {
            incoming.refuse();
        }
    }
}

impl QuicControl {
    /// Puts `config` in force. What cannot be is logged, and changes nothing.
    pub fn apply(&self, config: QuicConfig) {
        self.0.store(Arc::new(config));
    }
}

impl QuicIncoming {
    /// Tells the peer that there is no room (`CONNECTION_REFUSED`), before anything is kept for it.
    pub(crate) fn refuse(self) {
        self.incoming.refuse();
    }
}

impl Handshake<QuicIncoming> for QuicHandshake {
    type Stream = QuicConnection;

    async fn shake(
        &self,
        accepted: QuicIncoming,
        facts: ConnectionFacts,
    ) -> io::Result<(QuicConnection, ConnectionFacts)> {
        let QuicIncoming {
            incoming,
            server,
            counted,
        } = accepted;
        let connection = incoming.accept_with(server)?.await?;
        drop(counted);
        let facts = ConnectionFacts {
            tls: Some(Arc::new(established(&connection)?)),
            ..facts
        };
        let (send, recv) = connection.accept_bi().await?;
        let link = QuicLink::new(send, recv);
        Ok((QuicConnection { link, connection }, facts))
    }
}

/// What TLS has established about a connection.
fn established(connection: &Connection) -> io::Result<TlsFacts> {
    let shaken = connection.handshake_data();
    let shaken = shaken.and_then(|data| data.downcast::<HandshakeData>().ok());
    let shown = connection.peer_identity();
    let shown = shown.and_then(|shown| shown.downcast::<Vec<CertificateDer<'static>>>().ok());
    let certificate = shown.as_deref().and_then(|chain| chain.first());
    let client = certificate.map(|shown| {
        client_certificate(shown)
            .ok_or_else(|| io::Error::other("the client's certificate cannot be read"))
    });
    let (server_name, protocol) = match shaken {
        Some(shaken) => (shaken.server_name, shaken.protocol),
        None => (None, None),
    };
    let protocol = protocol.and_then(|name| String::from_utf8(name).ok());
    Ok(TlsFacts {
        server_name: server_name.map(|name| Text::from(name.to_ascii_lowercase())),
        protocol: protocol.map(Text::from),
        client: client.transpose()?,
    })
}

impl Handshakes {
    fn count(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }

    fn begin(&self) -> CountedHandshake {
        self.0.fetch_add(1, Ordering::AcqRel);
        CountedHandshake(self.clone())
    }
}

impl fmt::Debug for QuicListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuicListener")
            .field("address", &self.endpoint.local_addr())
            .finish_non_exhaustive()
    }
}

impl Drop for CountedHandshake {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}
