//! Settings of a listener for RESP.

use std::time::Duration;

use postern_core::resp::RespLimits;

use crate::trusted::TrustedProxies;

/// What clients may take up, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RespConfig {
    pub limits: RespLimits,
    /// Requests of one client that are being answered at one time; it is not read beyond them.
    pub in_flight_max: usize,
    /// Answers that wait for a client before it is not read, and events before it is closed.
    pub output_bytes_max: usize,
    /// Requests that have not arrived whole, and what waits for the client.
    pub held_bytes_max: usize,
    pub connections_max: usize,
    pub handshake_timeout: Duration,
    pub handshakes_max: usize,
    pub idle_timeout: Duration,
    pub write_timeout: Duration,
    pub drain_timeout: Duration,
    /// Whose connections begin with a header of the PROXY protocol.
    pub proxies: Option<TrustedProxies>,
}

impl Default for RespConfig {
    fn default() -> Self {
        Self {
            limits: RespLimits {
                bulk_bytes_max: 8 * 1024 * 1024,
                arguments_max: 65_536,
                request_bytes_max: 16 * 1024 * 1024,
            },
            in_flight_max: 1024,
            output_bytes_max: 32 * 1024 * 1024,
            held_bytes_max: 32 * 1024 * 1024,
            connections_max: 10_000,
            handshake_timeout: Duration::from_secs(10),
            handshakes_max: 1024,
            idle_timeout: Duration::from_secs(300),
            write_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(10),
            proxies: None,
        }
    }
}
