//! How a client speaks and how long it waits.

use std::{sync::Arc, time::Duration};

use postern_core::{
    event::QueueBounds,
    wire::{RetryConfig, SessionConfig},
};

use crate::{counters::Counters, tls::ClientTls};

/// How a client speaks and how long it waits.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// `hello` is set by `speak`.
    pub session: SessionConfig,
    pub speak: Speak,
    /// Until the session is established. Default 5 s.
    pub connect_timeout: Duration,
    /// For calls without a deadline. Default 30 s, as every operation of the published crate.
    pub call_timeout: Duration,
    /// Calls under way; more wait for their turn. Default 1024.
    pub calls_in_flight_max: usize,
    /// A peer that takes no octet for this long counts as gone. Default 30 s.
    pub write_timeout: Duration,
    /// Repetitions of what a datagram peer does not acknowledge.
    pub retry: RetryConfig,
    /// Events that may wait for whoever reads `Client::events`. Default 1,024 and 8 MiB.
    pub events: QueueBounds,
    pub counters: Arc<Counters>,
    /// For transports with TLS. Default the system's authorities, and no certificate.
    pub tls: Arc<ClientTls>,
}

/// Which dialect a client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Speak {
    /// HELLO, and the base dialect when nothing in the peer's answer is a WELCOME.
    #[default]
    Auto,
    /// No HELLO; one call at a time, as the published easy layer does.
    Base,
    /// HELLO, and an error when no WELCOME comes.
    Vsp,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            session: SessionConfig::default(),
            speak: Speak::Auto,
            connect_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(30),
            calls_in_flight_max: 1024,
            write_timeout: Duration::from_secs(30),
            retry: RetryConfig::default(),
            events: QueueBounds::default(),
            counters: Arc::default(),
            tls: Arc::default(),
        }
    }
}
