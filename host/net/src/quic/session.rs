//! What a session over QUIC has beside its first stream, as its driver uses it.

use postern_core::wire::CloseReason;
use quinn::Connection;

use super::{
    call_streams::{CallStreams, CallStreamsConfig},
    code,
    datagrams::Datagrams,
};
use crate::counters::Counters;

/// The rest of a session's connection.
#[derive(Debug)]
pub(crate) struct QuicSession {
    pub(crate) calls: CallStreams,
    pub(crate) datagrams: Datagrams,
    connection: Connection,
}

impl QuicSession {
    pub(crate) fn new(connection: Connection, config: CallStreamsConfig) -> Self {
        let frame_bytes_max = config.limits.frame_bytes_max;
        let counters = config.counters.clone();
        Self {
            datagrams: Datagrams::new(connection.clone(), frame_bytes_max, counters),
            calls: CallStreams::new(connection.clone(), config),
            connection,
        }
    }

    /// Closes the connection, whose last word is written.
    pub(crate) fn close(self, reason: &CloseReason, counters: &Counters) {
        counters.datagrams_dropped.add(self.datagrams.n_dropped());
        let code = code::of_close(reason);
        self.connection.close(code, reason.name().as_bytes());
    }
}
