//! A store as operators see it.

use postern_net::redis::RedisSnapshot;
use serde::Serialize;

use super::forwarding::ForwardingCounts;

/// One store.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct StoreView {
    pub name: String,
    pub url: String,
    pub connected: bool,
    /// For how long that has been so.
    pub since_ms: u64,
    /// Why it is not connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// Those that commands go to.
    pub nodes: Vec<String>,
    pub connections: usize,
    pub connections_max: usize,
    pub in_flight: usize,
    pub operations: u64,
    pub failed: u64,
    pub connects: u64,
    pub connects_failed: u64,
    pub appended: u64,
    pub claimed: u64,
    pub dead: u64,
    /// Events that went to channels and came from them.
    pub channels: ForwardingCounts,
}

impl StoreView {
    pub(super) fn new(name: &str, snapshot: &RedisSnapshot, channels: ForwardingCounts) -> Self {
        let (standing, counts) = (&snapshot.standing, &snapshot.counts);
        Self {
            name: name.to_owned(),
            url: snapshot.location.to_string(),
            connected: standing.is_connected,
            since_ms: u64::try_from(standing.since.as_millis()).unwrap_or(u64::MAX),
            fault: standing.fault.as_ref().map(ToString::to_string),
            nodes: snapshot.nodes.iter().map(ToString::to_string).collect(),
            connections: snapshot.n_connections,
            connections_max: snapshot.connections_max,
            in_flight: snapshot.n_in_flight,
            operations: counts.operations,
            failed: counts.failed,
            connects: counts.connects,
            connects_failed: counts.connects_failed,
            appended: counts.appended,
            claimed: counts.claimed,
            dead: counts.dead,
            channels,
        }
    }
}
