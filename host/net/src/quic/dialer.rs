//! Sessions with whoever listens for QUIC.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use postern_core::{Blame, BoxFuture, Error, Kind, Text, Transport};
use quinn::{ConnectError, ConnectionError, Endpoint, EndpointConfig, TokioRuntime};

use super::{
    config::{QuicConfig, QuicConfigError},
    link::QuicLink,
};
use crate::{
    client::{Client, ClientConfig},
    dial::{Destination, SessionDialer, Target},
    udp::with_large_buffers,
};

/// Opens sessions over QUIC, a connection each.
#[derive(Clone)]
pub struct QuicDialer {
    config: quinn::ClientConfig,
    /// What the server's certificate must name; the address that is dialled where there is none.
    server_name: Option<Text>,
    /// None for a socket of its own for each connection.
    endpoint: Option<Endpoint>,
}

impl QuicDialer {
    /// Trusts whom `tls` trusts. Its ALPN is `vstp`, whatever that of `tls` is.
    ///
    /// # Errors
    /// What of the settings cannot be.
    pub fn new(tls: &rustls::ClientConfig, config: &QuicConfig) -> Result<Self, QuicConfigError> {
        Ok(Self {
            config: config.client(tls)?,
            server_name: None,
            endpoint: None,
        })
    }

    /// Whose certificate the server must show, where that is not the address that is dialled.
    #[must_use]
    pub fn with_server_name(self, server_name: impl Into<Text>) -> Self {
        let server_name = Some(server_name.into());
        Self {
            server_name,
            ..self
        }
    }

    /// All its connections leave from the socket of `endpoint`.
    #[must_use]
    pub fn on(self, endpoint: Endpoint) -> Self {
        let endpoint = Some(endpoint);
        Self { endpoint, ..self }
    }

    fn endpoint_to(&self, address: SocketAddr) -> io::Result<Endpoint> {
        if let Some(endpoint) = &self.endpoint {
            return Ok(endpoint.clone());
        }
        let any = match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let socket = std::net::UdpSocket::bind(SocketAddr::new(any, 0))?;
        with_large_buffers(&socket)?;
        let runtime = Arc::new(TokioRuntime);
        Endpoint::new(EndpointConfig::default(), None, socket, runtime)
    }

    async fn open(self, destination: Destination, config: ClientConfig) -> Result<Client, Error> {
        let address = destination.ip()?;
        let unreachable = |error: &dyn fmt::Display| {
            let message = format!("cannot connect to {destination}: {error}");
            Error::unavailable(Blame::Upstream, message)
        };
        let endpoint = self
            .endpoint_to(address)
            .map_err(|error| unreachable(&error))?;
        let server_name = self
            .server_name
            .unwrap_or_else(|| address.ip().to_string().into());
        let connecting = endpoint
            .connect_with(self.config, address, &server_name)
            .map_err(|error| refused(&destination, &error))?;
        let connection = connecting
            .await
            .map_err(|error| unreachable(&told(&error)))?;
        // The stream is known to the server with the first octet, which is the client's.
        let opened = connection.open_bi().await;
        let (send, recv) = opened.map_err(|error| unreachable(&told(&error)))?;
        let link = QuicLink::new(send, recv);
        Client::over_quic(link, connection, destination, config).await
    }
}

impl SessionDialer for QuicDialer {
    fn name(&self) -> &'static str {
        Transport::Quic.name()
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn dial(
        &self,
        destination: &Destination,
        config: ClientConfig,
    ) -> BoxFuture<Result<Client, Error>> {
        Box::pin(self.clone().open(destination.clone(), config))
    }
}

impl Target {
    #[must_use]
    pub fn quic(dialer: QuicDialer, address: SocketAddr) -> Self {
        Self::new(Arc::new(dialer), Destination::Ip(address))
    }
}

impl fmt::Debug for QuicDialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuicDialer")
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

/// No attempt was made.
fn refused(destination: &Destination, error: &ConnectError) -> Error {
    let kind = match error {
        ConnectError::InvalidServerName(_) => Kind::InvalidArgument,
        ConnectError::EndpointStopping
        | ConnectError::CidsExhausted
        | ConnectError::InvalidRemoteAddress(_)
        | ConnectError::NoDefaultClientConfig
        | ConnectError::UnsupportedVersion => Kind::Unavailable,
    };
    let message = format!("cannot connect to {destination}: {error}");
    Error::new(kind, Blame::Gateway, message)
}

/// Why there is no connection, for whoever looks for the cause at the server.
fn told(error: &ConnectionError) -> String {
    match error {
        ConnectionError::ConnectionClosed(close)
            if close.error_code == quinn::TransportErrorCode::CONNECTION_REFUSED =>
        {
            "the server refuses connections: too many are open, or it is closing".into()
        }
        ConnectionError::ConnectionClosed(_)
        | ConnectionError::ApplicationClosed(_)
        | ConnectionError::VersionMismatch
        | ConnectionError::TransportError(_)
        | ConnectionError::Reset
        | ConnectionError::TimedOut
        | ConnectionError::LocallyClosed
        | ConnectionError::CidsExhausted => error.to_string(),
    }
}
