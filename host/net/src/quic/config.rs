//! What both ends of a QUIC connection may be told, and what quinn is made of it.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use quinn::{
    IdleTimeout, TransportConfig, VarInt,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};
use rustls::{pki_types::ServerName, quic::Version};

use super::{congestion::CongestionConfig, restart::RestartKey};

/// The application protocol that both ends must agree on (ALPN, RFC 7301).
pub const ALPN: &[u8] = b"vstp";

/// Bounds and times of QUIC connections. Whatever a peer makes this end hold has its bound here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuicConfig {
    /// A packet is sent when none was for this long, so that the path and its middleboxes know of the
    /// connection. Shorter than `idle_timeout`. Default 60 s, as the documents have it; `None` never.
    /// A session of the full dialect says PING by itself, see `SessionConfig::keep_alive`.
    pub keep_alive: Option<Duration>,
    /// The connection is over when nothing came for this long: its peer is gone, for `keep_alive` would
    /// have been answered. The shorter of what both ends want counts. Default 90 s. A session that is
    /// idle ends by itself, see `SessionConfig::idle_timeout`.
    pub idle_timeout: Duration,
    /// Streams of calls that the peer may have open. A call that finds none free goes over the
    /// session's own stream. Default 256, as many as a session may have streaming calls.
    pub call_streams_max: u32,
    /// Octets of one stream that may have come and not been read. Default 512 KiB.
    pub stream_window_bytes: u32,
    /// Octets of all streams of a connection that may have come and not been read, and as many that
    /// may be on their way to the peer. Default 1 MiB, which is a round trip of 20 ms at 400 Mbit/s.
    pub window_bytes: u32,
    /// Octets of datagrams that may have come and not been read; of more the oldest are dropped. `None`
    /// offers the peer no datagrams. Who offers them takes events that may be lost and overtake one
    /// another. Default 64 KiB for a listener, `None` for who dials.
    pub datagram_bytes_max: Option<usize>,
    /// While so many handshakes wait for their peers, a peer must prove by Retry that it receives at
    /// its address before anything is kept for it (RFC 9000, section 8.1.2). Default 64.
    pub unvalidated_handshakes_max: usize,
    /// By what peers are told, when the listener was started again, that their connections are gone.
    /// Default none: they find out by `idle_timeout`. Taken when the listener is bound.
    pub restart_key: Option<RestartKey>,
}

/// Why there is no QUIC with these settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuicConfigError {
    #[error(
        "keep-alive of {keep_alive:?} is not shorter than idle-timeout of {idle_timeout:?}, which would end the connection first"
    )]
    KeepAlive {
        keep_alive: Duration,
        idle_timeout: Duration,
    },
    #[error(
        "idle-timeout of {0:?} is longer than a QUIC connection can say; use at most 100 years"
    )]
    IdleTimeout(Duration),
    #[error("{name} of {found} octets is below {min}, which one packet may take")]
    Window {
        name: &'static str,
        found: u64,
        min: u64,
    },
    #[error("the TLS settings have no TLS 1.3 with AES-128-GCM-SHA256, which QUIC begins with")]
    Tls13,
}

impl Default for QuicConfig {
    fn default() -> Self {
        Self {
            keep_alive: Some(Duration::from_secs(60)),
            idle_timeout: Duration::from_secs(90),
            call_streams_max: 256,
            stream_window_bytes: 512 * 1024,
            window_bytes: 1024 * 1024,
            datagram_bytes_max: None,
            unvalidated_handshakes_max: 64,
            restart_key: None,
        }
    }
}

impl QuicConfig {
    /// The defaults of a listener.
    #[must_use]
    pub fn listener() -> Self {
        Self {
            datagram_bytes_max: Some(64 * 1024),
            ..Self::default()
        }
    }

    fn transport(&self, n_session_streams: u32) -> Result<TransportConfig, QuicConfigError> {
        let idle_timeout = self.idle_timeout;
        if let Some(keep_alive) = self.keep_alive
            && keep_alive >= idle_timeout
        {
            return Err(QuicConfigError::KeepAlive {
                keep_alive,
                idle_timeout,
            });
        }
        let datagrams = self.datagram_bytes_max.map(|bytes| bytes as u64);
        for (name, found) in [
            ("stream-window", Some(u64::from(self.stream_window_bytes))),
            ("window", Some(u64::from(self.window_bytes))),
            ("datagram buffer", datagrams),
        ] {
            if let Some(found) = found.filter(|found| *found < PACKET_BYTES) {
                let min = PACKET_BYTES;
                return Err(QuicConfigError::Window { name, found, min });
            }
        }
        let idle = IdleTimeout::try_from(idle_timeout)
            .map_err(|_| QuicConfigError::IdleTimeout(idle_timeout))?;
        let n_streams = self.call_streams_max.saturating_add(n_session_streams);
        let mut transport = TransportConfig::default();
        transport
            .congestion_controller_factory(Arc::new(CongestionConfig::default()))
            .keep_alive_interval(self.keep_alive)
            .max_idle_timeout(Some(idle))
            .max_concurrent_bidi_streams(VarInt::from_u32(n_streams))
            .max_concurrent_uni_streams(VarInt::from_u32(0))
            .stream_receive_window(VarInt::from_u32(self.stream_window_bytes))
            .receive_window(VarInt::from_u32(self.window_bytes))
            .send_window(u64::from(self.window_bytes))
            .datagram_receive_buffer_size(self.datagram_bytes_max)
            .datagram_send_buffer_size(DATAGRAMS_SENT_BYTES_MAX);
        Ok(transport)
    }

    /// What a listener is made of.
    ///
    /// # Errors
    /// What of the settings cannot be.
    pub(super) fn server(
        &self,
        tls: &rustls::ServerConfig,
    ) -> Result<quinn::ServerConfig, QuicConfigError> {
        let mut server = quinn::ServerConfig::with_crypto(server_crypto(tls)?);
        server
            .transport_config(Arc::new(self.transport(1)?))
            .migration(true)
            .max_incoming(INCOMING_MAX)
            .incoming_buffer_size(INCOMING_BYTES_MAX)
            .incoming_buffer_size_total(INCOMING_BYTES_MAX * INCOMING_MAX as u64 / 4);
        Ok(server)
    }

    /// Changes `server` to these settings and `tls`.
    ///
    /// # Errors
    /// What of the settings cannot be; then `server` is of no use.
    pub(super) fn put_into(
        &self,
        server: &mut quinn::ServerConfig,
        tls: &rustls::ServerConfig,
    ) -> Result<(), QuicConfigError> {
        server.crypto = server_crypto(tls)?;
        server.transport_config(Arc::new(self.transport(1)?));
        Ok(())
    }

    /// What who dials uses.
    ///
    /// # Errors
    /// What of the settings cannot be.
    pub(super) fn client(
        &self,
        tls: &rustls::ClientConfig,
    ) -> Result<quinn::ClientConfig, QuicConfigError> {
        let mut tls = tls.clone();
        tls.alpn_protocols = vec![ALPN.to_vec()];
        tls.enable_early_data = false;
        let tls = Arc::new(tls);
        let nobody = ServerName::IpAddress(Ipv4Addr::LOCALHOST.into());
        rustls::quic::ClientConnection::new(Arc::clone(&tls), Version::V1, nobody, Vec::new())
            .map_err(|_| QuicConfigError::Tls13)?;
        let crypto = QuicClientConfig::try_from(tls).map_err(|_| QuicConfigError::Tls13)?;
        let mut client = quinn::ClientConfig::new(Arc::new(crypto));
        client.transport_config(Arc::new(self.transport(0)?));
        Ok(client)
    }
}

/// What a listener proves itself by. There is no early data: whoever records it could send it again.
///
/// # Errors
/// Where `tls` is not for QUIC.
fn server_crypto(tls: &rustls::ServerConfig) -> Result<Arc<QuicServerConfig>, QuicConfigError> {
    let mut tls = tls.clone();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    tls.max_early_data_size = 0;
    let tls = Arc::new(tls);
    // What it refuses would otherwise be refused with every connection.
    rustls::quic::ServerConnection::new(Arc::clone(&tls), Version::V1, Vec::new())
        .map_err(|_| QuicConfigError::Tls13)?;
    let crypto = QuicServerConfig::try_from(tls).map_err(|_| QuicConfigError::Tls13)?;
    Ok(Arc::new(crypto))
}

/// Most octets of a QUIC packet on a path that is not known (RFC 9000, section 14).
const PACKET_BYTES: u64 = 1200;
/// Octets of datagrams that wait to leave.
const DATAGRAMS_SENT_BYTES_MAX: usize = 64 * 1024;
/// Connections that have begun and are not accepted yet; more are refused. Accepting waits for nobody.
const INCOMING_MAX: usize = 1024;
/// Octets that wait for each of them to be accepted: a first flight with a large certificate.
const INCOMING_BYTES_MAX: u64 = 16 * 1024;
