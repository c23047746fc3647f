//! Whom to open sessions with, and who opens them.

use std::{fmt, sync::Arc};

use postern_core::{Blame, BoxFuture, Error, Text};

use super::destination::Destination;
use crate::{
    client::{Client, ClientConfig},
    link::StreamLink,
    tls::{ClientTls, alpn},
    websocket::{SESSION_PATH, SESSION_PROTOCOL},
};

/// What a stream carries, as the handshakes before it name it.
#[derive(Debug, Clone, Copy)]
pub struct Carried {
    /// Offered by ALPN; none where that is left out.
    pub(crate) alpn: &'static [&'static str],
    /// Of WebSocket.
    pub(crate) subprotocol: &'static str,
    /// Where a WebSocket is opened unless the address says.
    pub(crate) path: &'static str,
}

/// Opens VSTP sessions over one transport.
pub trait SessionDialer: fmt::Debug + Send + Sync {
    /// As metrics name it, and errors.
    fn name(&self) -> &'static str;

    /// Whether its sessions carry streams of messages.
    fn is_stream(&self) -> bool;

    /// Whether it verifies whom it reaches by the name of the host.
    fn needs_host(&self) -> bool {
        false
    }

    /// Opens a session with `destination`. The caller bounds the time.
    ///
    /// Fails with `unavailable` when nobody answers there.
    fn dial(
        &self,
        destination: &Destination,
        config: ClientConfig,
    ) -> BoxFuture<Result<Client, Error>>;

    /// Opens a stream to `destination` for another protocol than VSTP; none where this carries no
    /// streams. The caller bounds the time. Fails as `dial`.
    fn open_stream(
        &self,
        _destination: &Destination,
        _carried: Carried,
        _tls: &ClientTls,
    ) -> Option<BoxFuture<Result<Box<dyn StreamLink>, Error>>> {
        None
    }
}

/// Opens sessions that are streams, each on a link of its own.
pub(crate) trait StreamDialer: fmt::Debug + Send + Sync {
    /// As `SessionDialer::name`.
    const NAME: &'static str;
    /// As `SessionDialer::needs_host`.
    const NEEDS_HOST: bool = false;

    type Link: StreamLink;

    /// Opens a link to `destination`. Fails as `SessionDialer::dial`.
    fn open(
        &self,
        destination: &Destination,
        carried: Carried,
        tls: &ClientTls,
    ) -> BoxFuture<Result<Self::Link, Error>>;
}

impl<D: StreamDialer> SessionDialer for D {
    fn name(&self) -> &'static str {
        D::NAME
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn needs_host(&self) -> bool {
        D::NEEDS_HOST
    }

    fn dial(
        &self,
        destination: &Destination,
        config: ClientConfig,
    ) -> BoxFuture<Result<Client, Error>> {
        let opening = self.open(destination, Carried::VSTP, &config.tls);
        let destination = destination.clone();
        Box::pin(async move { Client::over_stream(opening.await?, destination, config).await })
    }

    fn open_stream(
        &self,
        destination: &Destination,
        carried: Carried,
        tls: &ClientTls,
    ) -> Option<BoxFuture<Result<Box<dyn StreamLink>, Error>>> {
        let opening = self.open(destination, carried, tls);
        Some(Box::pin(async move {
            let link = opening.await?;
            Ok(Box::new(link) as Box<dyn StreamLink>)
        }))
    }
}

impl Carried {
    pub(crate) const VSTP: Self = Self {
        alpn: &[alpn::VSTP],
        subprotocol: SESSION_PROTOCOL,
        path: SESSION_PATH,
    };
    /// MQTT 5 section 6 has the subprotocol. Brokers do not agree on a name for ALPN, and most know
    /// none.
    pub const MQTT: Self = Self {
        alpn: &[],
        subprotocol: "mqtt",
        path: "/mqtt",
    };
}

/// Whom to open sessions with, and how.
#[derive(Debug, Clone)]
pub struct Target {
    dialer: Arc<dyn SessionDialer>,
    destination: Destination,
}

impl Target {
    pub fn new(dialer: Arc<dyn SessionDialer>, destination: Destination) -> Self {
        Self {
            dialer,
            destination,
        }
    }

    #[must_use]
    pub const fn destination(&self) -> &Destination {
        &self.destination
    }

    /// The name of what carries the session.
    #[must_use]
    pub fn transport_name(&self) -> &'static str {
        self.dialer.name()
    }

    /// Whether streams of messages can be carried.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        self.dialer.is_stream()
    }

    /// As `SessionDialer::open_stream`, verified by `server_name` where there is one.
    pub(crate) fn open_stream(
        &self,
        carried: Carried,
        tls: &ClientTls,
        server_name: Option<&Text>,
    ) -> Option<BoxFuture<Result<Box<dyn StreamLink>, Error>>> {
        let destination = self.destination.clone();
        let destination = match server_name {
            Some(name) => destination.named(name),
            None => destination,
        };
        self.dialer.open_stream(&destination, carried, tls)
    }

    pub(crate) fn dial(&self, config: ClientConfig) -> BoxFuture<Result<Client, Error>> {
        self.dialer.dial(&self.destination, config)
    }
}

/// Nobody could be reached at `destination`.
pub(crate) fn unreachable(destination: &Destination, error: std::io::Error) -> Error {
    let message = format!("cannot connect to {destination}: {error}");
    Error::unavailable(Blame::Upstream, message).with_source(error)
}
