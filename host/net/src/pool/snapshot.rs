//! A pool in numbers.

use std::time::{Duration, Instant};

use super::{PoolConfig, shared::State};
use crate::dial::Destination;

/// All addresses of a pool at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolSnapshot {
    /// Sessions with all addresses, those being opened and closed included.
    pub connections: usize,
    pub connections_max: usize,
    /// In the order in which they were first held.
    pub hosts: Vec<HostSnapshot>,
}

/// One address. Gauges are of the moment; counters begin with the pool, or when the address was
/// last taken up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSnapshot {
    pub transport: &'static str,
    pub address: Destination,
    /// Sessions that take calls.
    pub open: usize,
    /// Those of `open` without a call.
    pub idle: usize,
    pub connecting: usize,
    /// Sessions that finish what is under way.
    pub closing: usize,
    pub calls_in_flight: usize,
    /// Calls that wait for a session.
    pub waiting: usize,
    /// Attempts that led to a session, since the beginning.
    pub opened: u64,
    /// Attempts that did not.
    pub failed: u64,
    /// Sessions that this end did not close.
    pub lost: u64,
    /// Those of `opened` that came after a failure or a loss.
    pub reconnects: u64,
    /// Calls refused at once: the address is down, or too many wait.
    pub refused: u64,
    /// Calls that waited in vain.
    pub timed_out: u64,
    /// Set while calls are refused or attempts fail.
    pub down: Option<DownSnapshot>,
}

/// An address that is left alone for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownSnapshot {
    pub reason: String,
    /// Failures in a row.
    pub failures: u32,
    /// Until it is tried again; zero while it is.
    pub retry_in: Duration,
}

pub(super) fn take(state: &State, config: &PoolConfig, now: Instant) -> PoolSnapshot {
    let hosts = state.accounting.hosts().filter_map(|(id, host)| {
        let target = state.targets.get(&id)?;
        let down = host.down.as_ref().map(|down| DownSnapshot {
            reason: down.reason.to_string(),
            failures: host.n_failures,
            retry_in: down.until.saturating_duration_since(now),
        });
        Some(HostSnapshot {
            transport: target.transport_name(),
            address: target.destination().clone(),
            open: host.n_open(),
            idle: host.slots.iter().filter(|slot| slot.is_idle()).count(),
            connecting: host.n_connecting(),
            closing: host.n_closing(),
            calls_in_flight: host.n_calls(),
            waiting: host.waiting.len(),
            opened: host.counts.opened,
            failed: host.counts.failed,
            lost: host.counts.lost,
            reconnects: host.counts.reconnects,
            refused: host.counts.refused,
            timed_out: host.counts.timed_out,
            down,
        })
    });
    PoolSnapshot {
        connections: state.accounting.n_sessions(),
        connections_max: config.connections_max,
        hosts: hosts.collect(),
    }
}
