//! The settings of a server, which may be replaced while it serves.
//!
//! What listens and what is open stay as they are. A setting acts from the next moment that asks for
//! it: on a connection when it is next woken, on the listener with the next connection or drain.

use std::{fmt, sync::Arc};

use postern_core::{
    Handler,
    wire::{Features, SessionConfig},
};
use tokio::sync::watch;

use super::config::ServerConfig;
use crate::counters::Counters;

/// What all connections of a server share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) config: Arc<ServerConfig>,
    /// Of stream links, which carry the frames of a streaming call in order.
    pub(super) session: Arc<SessionConfig>,
    pub(super) handler: Arc<dyn Handler>,
    pub(super) counters: Arc<Counters>,
}

/// Replaces the settings of a server that may be serving. Clones act on the same server.
#[derive(Clone)]
pub struct ServerControl(Arc<watch::Sender<Shared>>);

/// The settings as one part of a server sees them.
#[derive(Clone)]
pub(crate) struct Settings {
    source: watch::Receiver<Shared>,
}

impl ServerControl {
    /// What changes the settings of sessions that somebody else accepts, and those settings.
    pub(crate) fn of_sessions(
        config: Arc<ServerConfig>,
        handler: Arc<dyn Handler>,
        counters: Arc<Counters>,
    ) -> (Self, Settings) {
        Self::new(Shared::new(config, handler, counters))
    }

    pub(super) fn new(shared: Shared) -> (Self, Settings) {
        let (sender, source) = watch::channel(shared);
        (Self(Arc::new(sender)), Settings { source })
    }

    /// Puts `config` in force.
    ///
    /// | setting | sessions that are open | new ones |
    /// |---|---|---|
    /// | `connections_max` | none is closed | at once |
    /// | `drain_timeout` | when draining begins | |
    /// | `write_timeout`, `calls_in_flight_max`, `default_service`, `frames` | when they are next woken | at once |
    /// | `session.keep_alive`, `session.idle_timeout` | from the next frame that the peer sends | at once |
    /// | other settings of `session`, `retry` | stay as the peer was told | at once |
    pub fn reconfigure(&self, config: Arc<ServerConfig>) {
        self.0.send_modify(|shared| {
            let (handler, counters) = (Arc::clone(&shared.handler), Arc::clone(&shared.counters));
            *shared = Shared::new(config, handler, counters);
        });
    }
}

impl Settings {
    /// Those in force.
    pub(super) fn current(&self) -> Shared {
        self.source.borrow().clone()
    }

    /// Those in force, for a part that begins: `take_change` tells it of what comes after them.
    pub(super) fn begin(&mut self) -> Shared {
        self.source.borrow_and_update().clone()
    }

    /// The settings in force, when they have changed since this was last asked.
    pub(super) fn take_change(&mut self) -> Option<Shared> {
        // An error says that nobody is left to change them.
        if self.source.has_changed().unwrap_or(false) {
            return Some(self.source.borrow_and_update().clone());
        }
        None
    }
}

impl Shared {
    pub(super) fn new(
        config: Arc<ServerConfig>,
        handler: Arc<dyn Handler>,
        counters: Arc<Counters>,
    ) -> Self {
        let features = config.session.features.with(Features::MUX);
        let session = Arc::new(SessionConfig {
            features,
            ..config.session.clone()
        });
        Self {
            config,
            session,
            handler,
            counters,
        }
    }
}

impl fmt::Debug for ServerControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServerControl")
            .field(&self.0.borrow().config)
            .finish()
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Settings")
            .field(&self.source.borrow().config)
            .finish()
    }
}
