//! Where QUIC connections come in: admission, address validation under load, and the handshake until
//! the session's stream is open.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use quinn::{Connection, Endpoint, EndpointConfig, Incoming, TokioRuntime};

use super::{config::QuicConfig, link::QuicLink};
use crate::{
    acceptor::{ConnectionFacts, Handshake},
    counters::Counters,
    link::Listener,
    udp::with_large_buffers,
};

/// A UDP socket on which QUIC connections come in.
#[derive(Debug)]
pub struct QuicListener {
    endpoint: Endpoint,
    handshakes: Handshakes,
    unvalidated_handshakes_max: usize,
    counters: Arc<Counters>,
}

/// A connection that has begun.
#[derive(Debug)]
pub struct QuicIncoming {
    incoming: Incoming,
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
    /// Takes connections at `address`, with certificates of `tls`; port 0 takes a free one. Its ALPN is
    /// `vstp`, whatever that of `tls` is.
    ///
    /// # Errors
    /// What the operating system says; `InvalidInput` with a `QuicConfigError` for settings that
    /// cannot be.
    pub fn bind(
        address: SocketAddr,
        tls: &rustls::ServerConfig,
        config: &QuicConfig,
        counters: Arc<Counters>,
    ) -> io::Result<Self> {
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
        let server = config.server(tls).map_err(invalid)?;
        let socket = std::net::UdpSocket::bind(address)?;
        with_large_buffers(&socket)?;
        let runtime = Arc::new(TokioRuntime);
        let endpoint = Endpoint::new(EndpointConfig::default(), Some(server), socket, runtime)?;
        Ok(Self {
            endpoint,
            handshakes: Handshakes::default(),
            unvalidated_handshakes_max: config.unvalidated_handshakes_max,
            counters,
        })
    }

    pub(crate) const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The next connection that is to be admitted. While many handshakes wait, one whose address may
    /// be forged is asked to come again with a proof, and nothing is kept of it.
    async fn next(&self) -> Option<QuicIncoming> {
        loop {
            let incoming = self.endpoint.accept().await?;
            let is_full = self.handshakes.count() >= self.unvalidated_handshakes_max;
            if is_full && !incoming.remote_address_validated() && incoming.may_retry() {
                tracing::debug!(peer = %incoming.remote_address(), "asked to prove its address");
                self.counters.retries_sent.add(1);
                // It may retry, so that there is no error.
                let _ = incoming.retry();
                continue;
            }
            return Some(QuicIncoming {
                incoming,
                counted: self.handshakes.begin(),
            });
        }
    }
}

impl Listener for QuicListener {
    type Link = QuicIncoming;

    async fn accept(&mut self) -> io::Result<(QuicIncoming, SocketAddr)> {
        let accepted = self.next().await.ok_or(io::ErrorKind::NotConnected)?;
        let peer = accepted.incoming.remote_address();
        Ok((accepted, peer))
    }

    /// Its socket stays open for the connections that drain, so that others must be told.
    async fn refuse(self) {
        while let Some(incoming) = self.endpoint.accept().await {
            incoming.refuse();
        }
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
        let QuicIncoming { incoming, counted } = accepted;
        let connection = incoming.accept()?.await?;
        drop(counted);
        let (send, recv) = connection.accept_bi().await?;
        let link = QuicLink::new(send, recv);
        Ok((QuicConnection { link, connection }, facts))
    }
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

impl Drop for CountedHandshake {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::AcqRel);
    }
}
