//! Bounds on what a peer may make the gateway hold. Sources: host/docs/wire.md.

use std::time::Duration;

/// Bounds of the wire. Every field has a config key of the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Largest frame, all octets counted. The published crate accepts 8 MiB; so do we.
    pub frame_bytes_max: usize,
    /// Largest reassembled message.
    pub message_bytes_max: usize,
    /// Half-reassembled messages of all peers of one socket.
    pub reassembly_sessions_max: usize,
    /// Half-reassembled messages of one peer, so that no peer starves another.
    pub reassembly_sessions_per_peer_max: usize,
    /// Octets held in half-reassembled messages of all peers of one socket.
    pub reassembly_bytes_max: usize,
    /// Octets held in half-reassembled messages of one peer.
    pub reassembly_bytes_per_peer_max: usize,
    /// How long a half-reassembled message is kept after its first fragment.
    pub fragment_age_max: Duration,
    /// Messages queued for one session. The driver of a stream takes no more work while half as many
    /// wait; a datagram session is closed by one more.
    pub queue_messages_max: usize,
    /// Octets queued for one session, as `queue_messages_max`.
    pub queue_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_bytes_max: 8 * 1024 * 1024,
            message_bytes_max: 8 * 1024 * 1024,
            reassembly_sessions_max: 1000,
            reassembly_sessions_per_peer_max: 64,
            reassembly_bytes_max: 64 * 1024 * 1024,
            reassembly_bytes_per_peer_max: 16 * 1024 * 1024,
            fragment_age_max: Duration::from_secs(30),
            queue_messages_max: 4096,
            queue_bytes_max: 16 * 1024 * 1024,
        }
    }
}
