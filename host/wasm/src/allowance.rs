//! What a guest may still use until its entry ends. In a stream each message that crosses gives it anew, so
//! that an endless loop between two messages ends, and a long stream does not.

use std::time::{Duration, Instant};

use crate::{cpu, limits::PluginLimits};

/// What one entry has left.
#[derive(Debug)]
pub(crate) struct Allowance {
    /// When the guest's own time is over. Waiting for the other end moves it. `None` where its work is
    /// measured as fuel.
    time_end: Option<Instant>,
    /// When that of the whole stream is over, where the entry is one. Waiting moves it, too.
    stream_end: Option<Instant>,
    /// What this entry had computed when the allowance was given (`cpu::used`).
    cpu_from: Duration,
    /// Imported functions that may still be called.
    host_calls_left: u32,
    /// Octets that were logged.
    logged_bytes: usize,
}

/// What of it is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UsedUp {
    Time,
    StreamTime,
    Cpu,
    HostCalls,
    Log,
}

impl Allowance {
    /// A full one. Time is counted from `start`, if at all.
    pub(crate) fn new(limits: &PluginLimits, start: Option<Instant>) -> Self {
        Self {
            time_end: start.map(|start| start + limits.time_max),
            stream_end: None,
            cpu_from: cpu::used(),
            host_calls_left: limits.host_calls_max,
            logged_bytes: 0,
        }
    }

    /// The entry is a stream.
    pub(crate) fn begin_stream(&mut self, limits: &PluginLimits, start: Instant) {
        self.stream_end = Some(start + limits.stream_time_max);
    }

    /// A message of the stream has crossed at `now`.
    pub(crate) fn renew(&mut self, limits: &PluginLimits, now: Instant) {
        *self = Self {
            stream_end: self.stream_end,
            ..Self::new(limits, self.time_end.and(Some(now)))
        };
    }

    /// Gives back time in which the guest waited for the other end.
    pub(crate) fn give_back(&mut self, waited: Duration) {
        for end in [&mut self.time_end, &mut self.stream_end]
            .into_iter()
            .flatten()
        {
            *end += waited;
        }
    }

    /// Takes one from what the guest may still ask of the host.
    pub(crate) fn take_host_call(&mut self) -> Result<(), UsedUp> {
        let left = self.host_calls_left.checked_sub(1);
        self.host_calls_left = left.ok_or(UsedUp::HostCalls)?;
        Ok(())
    }

    /// Takes so many octets from what the guest may log; it has printed `printed_bytes` beside.
    pub(crate) fn take_logged(
        &mut self,
        limits: &PluginLimits,
        octets: usize,
        printed_bytes: usize,
    ) -> Result<(), UsedUp> {
        self.logged_bytes = self.logged_bytes.saturating_add(octets);
        if self.logged_bytes.saturating_add(printed_bytes) > limits.log_call_bytes_max {
            return Err(UsedUp::Log);
        }
        Ok(())
    }

    /// When the guest's own time is over as things stand.
    pub(crate) fn end(&self) -> Option<Instant> {
        self.time_end.into_iter().chain(self.stream_end).min()
    }

    /// Whether the guest must stop.
    pub(crate) fn check(&self, limits: &PluginLimits, now: Instant) -> Result<(), UsedUp> {
        let is_over = |end: Option<Instant>| end.is_some_and(|end| now >= end);
        if is_over(self.time_end) {
            return Err(UsedUp::Time);
        }
        if is_over(self.stream_end) {
            return Err(UsedUp::StreamTime);
        }
        if cpu::used().saturating_sub(self.cpu_from) >= limits.cpu_max {
            return Err(UsedUp::Cpu);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use postern_system::clock;

    use super::*;
    use crate::cpu::CpuMeter;

    const SECOND: Duration = Duration::from_secs(1);

    fn limits() -> PluginLimits {
        PluginLimits {
            time_max: SECOND * 2,
            cpu_max: SECOND,
            stream_time_max: SECOND * 5,
            host_calls_max: 2,
            log_call_bytes_max: 10,
            ..PluginLimits::default()
        }
    }

    #[test]
    fn each_bound_is_exact() {
        let (limits, now) = (limits(), clock::now());
        let mut allowance = Allowance::new(&limits, Some(now));
        let almost = now + SECOND * 2 - Duration::from_nanos(1);
        assert_eq!(allowance.check(&limits, almost), Ok(()));
        let over = allowance.check(&limits, now + limits.time_max);
        assert_eq!(over, Err(UsedUp::Time));
        assert_eq!(allowance.take_host_call(), Ok(()));
        assert_eq!(allowance.take_host_call(), Ok(()));
        let over = allowance.take_host_call();
        assert_eq!(over, Err(UsedUp::HostCalls));
        assert_eq!(allowance.take_logged(&limits, 4, 6), Ok(()));
        let over = allowance.take_logged(&limits, 1, 6);
        assert_eq!(over, Err(UsedUp::Log));
    }

    #[test]
    fn what_an_entry_computes_counts_from_its_begin() {
        let (limits, now) = (limits(), clock::now());
        let mut meter = CpuMeter::new();
        meter.charge(SECOND * 9);
        meter.during(|| {
            let allowance = Allowance::new(&limits, Some(now));
            let mut meter = CpuMeter::new();
            meter.charge(SECOND - Duration::from_nanos(1));
            assert_eq!(meter.during(|| allowance.check(&limits, now)), Ok(()));
            meter.charge(Duration::from_nanos(1));
            let over = meter.during(|| allowance.check(&limits, now));
            assert_eq!(over, Err(UsedUp::Cpu));
        });
    }

    #[test]
    fn a_message_gives_all_anew_but_the_time_of_the_stream() {
        let (limits, start) = (limits(), clock::now());
        let mut allowance = Allowance::new(&limits, Some(start));
        allowance.begin_stream(&limits, start);
        for second in 1..5 {
            let now = start + SECOND * second;
            assert_eq!(allowance.check(&limits, now), Ok(()));
            assert_eq!(allowance.take_host_call(), Ok(()));
            assert_eq!(allowance.take_logged(&limits, 10, 0), Ok(()));
            allowance.renew(&limits, now);
        }
        let limit = limits.stream_time_max;
        let over = allowance.check(&limits, start + limit);
        assert_eq!(over, Err(UsedUp::StreamTime));
        allowance.give_back(SECOND);
        assert_eq!(allowance.check(&limits, start + limit), Ok(()));
        assert_eq!(allowance.end(), Some(start + SECOND * 6));
    }

    #[test]
    fn what_is_measured_as_fuel_has_no_time() {
        let limits = limits();
        let mut allowance = Allowance::new(&limits, None);
        allowance.renew(&limits, clock::now());
        assert_eq!(allowance.end(), None);
    }
}
