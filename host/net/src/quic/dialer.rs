//! Sessions with whoever listens for QUIC.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use postern_core::{Blame, BoxFuture, Error, Transport};
use quinn::{Endpoint, EndpointConfig, TokioRuntime};

use super::{
    config::{QuicConfig, QuicConfigError},
    link::{QuicLink, told},
};
use crate::{
    client::{Client, ClientConfig},
    dial::{Destination, SessionDialer, Target},
    udp::with_large_buffers,
};

/// Opens sessions over QUIC, a connection each. Trusts whom the `tls` of a client's configuration does.
#[derive(Clone, Default)]
pub struct QuicDialer {
    config: QuicConfig,
    /// In the place of the client's configuration.
    tls: Option<Arc<rustls::ClientConfig>>,
    /// None for a socket of its own for each connection.
    endpoint: Option<Endpoint>,
}

impl QuicDialer {
    /// Trusts whom `tls` trusts, whatever a client's configuration says. Its ALPN is `vstp`, whatever
    /// that of `tls` is.
    ///
    /// # Errors
    /// What of the settings cannot be.
    pub fn new(
        tls: Arc<rustls::ClientConfig>,
        config: QuicConfig,
    ) -> Result<Self, QuicConfigError> {
        config.client(&tls)?;
        Ok(Self {
            config,
            tls: Some(tls),
            endpoint: None,
        })
    }

    /// With settings of its own. Those that cannot be fail each dial.
    #[must_use]
    pub fn with_config(self, config: QuicConfig) -> Self {
        Self { config, ..self }
    }

    /// All its connections leave from the socket of `endpoint`.
    #[must_use]
    pub fn on(self, endpoint: Endpoint) -> Self {
        let endpoint = Some(endpoint);
        Self { endpoint, ..self }
    }

    /// The settings of a connection that begins.
    fn client(&self, config: &ClientConfig) -> Result<quinn::ClientConfig, String> {
        let tls = match &self.tls {
            Some(tls) => Arc::clone(tls),
            None => config.tls.config(&[]).map_err(|error| error.to_string())?,
        };
        self.config.client(&tls).map_err(|error| error.to_string())
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
        let quic = self.client(&config).map_err(|reason| {
            let message = format!("cannot verify {destination}: {reason}");
            Error::unavailable(Blame::Gateway, message)
        })?;
        let unreachable = |reason: &dyn fmt::Display| {
            let message = format!("cannot connect to {destination}: {reason}");
            Error::unavailable(Blame::Upstream, message)
        };
        let endpoint = self.endpoint_to(address);
        let endpoint = endpoint.map_err(|error| unreachable(&error))?;
        let server_name = match destination.host() {
            Some(host) => host.to_owned(),
            None => address.ip().to_string(),
        };
        let connecting = endpoint.connect_with(quic, address, &server_name);
        let connecting = connecting.map_err(|error| unreachable(&error))?;
        let connected = connecting.await;
        let connection = connected.map_err(|error| unreachable(&told(&error)))?;
        // The server knows of the stream with its first octet, which is the client's.
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

    fn needs_host(&self) -> bool {
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
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
