//! A call of the host that may wait: how many of a plugin's are under way, and how long one takes. It ends at
//! the guest's own end as well, which stops the guest.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use postern_core::Kind;
use postern_system::clock;

use crate::{
    bindings::Failure,
    convert::failure,
    limits::{PluginLimits, time},
    sandbox_stats::SandboxStats,
};

/// A call of the host under way.
pub(crate) struct HostCall {
    stats: Arc<SandboxStats>,
    start: Instant,
    /// How long it may take.
    limit: Duration,
}

impl HostCall {
    /// # Errors
    /// `resource-exhausted`, for the guest, when as many are under way as may be.
    pub(crate) fn begin(
        stats: &Arc<SandboxStats>,
        limits: &PluginLimits,
        plugin: &str,
    ) -> Result<Self, Failure> {
        let most = limits.host_calls_in_flight_max;
        if !stats.try_begin_host_call(most) {
            let message = format!(
                "{most} calls of the host by plugin {plugin} are under way, its limits.host-calls-in-flight"
            );
            return Err(failure(Kind::ResourceExhausted, message));
        }
        Ok(Self {
            stats: Arc::clone(stats),
            start: clock::now(),
            limit: limits.host_call_time_max,
        })
    }

    pub(crate) fn time(&self) -> Duration {
        clock::since(self.start)
    }

    /// When it is over at the latest by its own limit.
    pub(crate) fn end(&self) -> Instant {
        self.start + self.limit
    }

    /// What the guest is told of one that took until its own end; `None` before.
    pub(crate) fn late(&self) -> Option<Failure> {
        if clock::now() < self.end() {
            return None;
        }
        self.stats.on_host_call_late();
        let limit = time(self.limit);
        let message = format!("no answer within {limit}, the limits.host-call-time of this plugin");
        Some(failure(Kind::DeadlineExceeded, message))
    }
}

impl Drop for HostCall {
    fn drop(&mut self) {
        self.stats.end_host_call();
    }
}
