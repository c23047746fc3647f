//! A server and what it takes its peers from.

use std::{fmt, io, sync::Arc};

use postern_core::{Handler, Transport};

use super::{
    config::ServerConfig,
    settings::{ServerControl, Settings, Shared},
};
use crate::{counters::Counters, shutdown::Shutdown, tls::ServerTls};

/// Serves VSTP on `L`, where connections or datagrams come in.
#[derive(Debug)]
pub struct Server<L: ServedLink> {
    pub(super) link: L,
    pub(super) address: L::Address,
    pub(super) control: ServerControl,
    pub(super) settings: Settings,
    /// Of a stream link; none serves it as it is.
    pub(super) tls: Option<Arc<ServerTls>>,
}

/// Where a server's peers come in: one implementation per transport.
pub trait ServedLink: Sized + Send {
    const TRANSPORT: Transport;

    /// What says where it is.
    type Address: Clone + fmt::Debug + Send;

    /// # Errors
    /// What the operating system says.
    fn served_at(&self) -> io::Result<Self::Address>;

    /// Serves until `shutdown`.
    fn serve(server: Server<Self>, shutdown: Shutdown) -> impl Future<Output = ()> + Send;
}

impl<L: ServedLink> Server<L> {
    /// Serves what comes to `link`.
    ///
    /// # Errors
    /// What the operating system says of its address.
    pub fn new(
        link: L,
        config: Arc<ServerConfig>,
        handler: Arc<dyn Handler>,
        counters: Arc<Counters>,
    ) -> io::Result<Self> {
        let address = link.served_at()?;
        let (control, settings) = ServerControl::new(Shared::new(config, handler, counters));
        Ok(Self {
            link,
            address,
            control,
            settings,
            tls: None,
        })
    }

    /// Ends TLS on each connection, where the link carries streams.
    #[must_use]
    pub fn with_tls(self, tls: Option<Arc<ServerTls>>) -> Self {
        Self { tls, ..self }
    }

    #[must_use]
    pub const fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    #[must_use]
    pub fn local_addr(&self) -> L::Address {
        self.address.clone()
    }

    /// What changes its settings while it serves.
    #[must_use]
    pub fn control(&self) -> ServerControl {
        self.control.clone()
    }

    /// Serves until `shutdown`. Once it drains no connection or peer is taken, and what is in flight is
    /// answered, at the latest `drain_timeout` later; all are closed when this returns.
    pub async fn serve(self, shutdown: Shutdown) {
        L::serve(self, shutdown).await;
    }
}
