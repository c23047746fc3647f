//! Whom to open sessions with, and who opens them.

use std::{fmt, sync::Arc};

use postern_core::{Blame, BoxFuture, Error};

use super::destination::Destination;
use crate::{
    client::{Client, ClientConfig},
    link::StreamLink,
};

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
        config: &ClientConfig,
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
        let (opening, destination) = (self.open(destination, &config), destination.clone());
        Box::pin(async move { Client::over_stream(opening.await?, destination, config).await })
    }
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

    pub(crate) fn dial(&self, config: ClientConfig) -> BoxFuture<Result<Client, Error>> {
        self.dialer.dial(&self.destination, config)
    }
}

/// Nobody could be reached at `destination`.
pub(crate) fn unreachable(destination: &Destination, error: std::io::Error) -> Error {
    let message = format!("cannot connect to {destination}: {error}");
    Error::unavailable(Blame::Upstream, message).with_source(error)
}
