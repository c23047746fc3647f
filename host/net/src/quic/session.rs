//! What a session over QUIC has beside its first stream, as its driver uses it.

use std::sync::Arc;

use postern_core::wire::CloseReason;
use quinn::{Connection, VarInt};

use super::{
    call_streams::{CallStreams, CallStreamsConfig},
    code, congestion,
    datagrams::Datagrams,
};
use crate::counters::Counters;

/// The rest of a session's connection.
#[derive(Debug)]
pub(crate) struct QuicSession {
    pub(crate) calls: CallStreams,
    pub(crate) datagrams: Datagrams,
    connection: Connection,
    counters: Arc<Counters>,
}

impl QuicSession {
    pub(crate) fn new(connection: Connection, config: CallStreamsConfig) -> Self {
        let frame_bytes_max = config.limits.frame_bytes_max;
        let counters = Arc::clone(&config.counters);
        let datagrams = Datagrams::new(connection.clone(), frame_bytes_max, Arc::clone(&counters));
        Self {
            datagrams,
            calls: CallStreams::new(connection.clone(), config),
            connection,
            counters,
        }
    }

    /// Closes the connection of a session that has ended for `reason`, and whose last word is written.
    pub(crate) fn close(&self, reason: &CloseReason) {
        self.close_with(code::of_close(reason), reason.name());
    }

    fn close_with(&self, code: VarInt, reason: &str) {
        congestion::release(&self.connection);
        self.connection.close(code, reason.as_bytes());
    }
}

impl Drop for QuicSession {
    fn drop(&mut self) {
        self.counters
            .datagrams_dropped
            .add(self.datagrams.n_dropped());
        // Without effect on a connection that is closed.
        self.close_with(code::NO_ERROR, "");
    }
}
