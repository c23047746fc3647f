//! What a guest may use. Every limit is on by default; a manifest may change any of them.

use std::time::Duration;

const MIB: usize = 1024 * 1024;

/// Bounds on one plugin's instances and calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginLimits {
    /// All linear memories of one instance together, in octets. Default 64 MiB; what Go, JavaScript
    /// and Python need for bodies of 1 MiB with room to spare.
    pub memory_bytes_max: usize,
    /// All tables of one instance together, in elements of 8 octets. Default 40,000, as many as a single
    /// table can have (`engine.rs`).
    pub table_elements_max: usize,
    /// Core modules that one instance consists of. Default 100; CPython with its libraries has about 30.
    pub core_instances_max: usize,
    /// One unary call by the clock: its waiting for `kv` and `client` is included, and so is its
    /// waiting for a thread while other guests compute. Waiting for the other end in `call.next`
    /// and `call.send` is not counted. Also bounds instantiation, `health`,
    /// `describe` and `schemas`. Of a stream: between two messages. Default 1 s.
    pub time_max: Duration,
    /// What one unary call computes, in processor time; of a stream between two messages. Taken on the
    /// threads for guests; on those of input and output the clock counts, a millisecond a poll at most.
    /// Kept to one tick of the epoch. Default 1 s; in the gateway as much as `time_max`.
    pub cpu_max: Duration,
    /// One stream by the clock, its waiting for the other end in `call.next` and `call.send` not
    /// counted: a guest that drips may not hold its instance for ever. Default 10 min.
    pub stream_time_max: Duration,
    /// One message that a guest answers or sends, in octets. Default 8 MiB, the largest message of
    /// the wire.
    pub output_bytes_max: usize,
    /// One message that is handed to a guest, in octets. Default 8 MiB.
    pub input_bytes_max: usize,
    /// Log lines a second, over all instances. Default 100.
    pub log_lines_per_second: u32,
    /// Log lines at once before the rate holds. Default 200.
    pub log_lines_burst: u32,
    /// Octets of log lines a second, over all instances, and as many at once. Default 256 KiB: at the
    /// default of lines, 2.5 KiB a line.
    pub log_bytes_per_second: usize,
    /// Octets that one call may log and print to standard output and error; of a stream between two
    /// messages. More ends the call. Default 4 MiB.
    pub log_call_bytes_max: usize,
    /// Calls of imported functions during one call, `call.next` and `call.send` left out (back
    /// pressure bounds those); of a stream between two messages. Default 10,000.
    pub host_calls_max: u32,
    /// One call of `client` or `kv` by the clock; the guest is told and goes on. Default 30 s, what a
    /// caller waits that sets no deadline.
    pub host_call_time_max: Duration,
    /// Calls of `client` and `kv` under way at one time, over all instances. Default 128, four for each of
    /// the 32 instances.
    pub host_calls_in_flight_max: usize,
    /// Metrics that the plugin may have of its own, by name. Default 100.
    pub metrics_max: usize,
    /// Series of its metrics, over all names. Default 1,000: some 300 KiB.
    pub metric_series_max: usize,
    /// Plugins that may stand between the first caller and a call made by this one. Default 8.
    pub depth_max: u8,
}

/// The bound at which growth was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GrowthRefused {
    Memory { bytes_max: usize },
    Tables { elements_max: usize },
}

impl Default for PluginLimits {
    fn default() -> Self {
        Self {
            memory_bytes_max: 64 * MIB,
            table_elements_max: 40_000,
            core_instances_max: 100,
            time_max: Duration::from_secs(1),
            cpu_max: Duration::from_secs(1),
            stream_time_max: Duration::from_secs(600),
            output_bytes_max: 8 * MIB,
            input_bytes_max: 8 * MIB,
            log_lines_per_second: 100,
            log_lines_burst: 200,
            log_bytes_per_second: 256 * 1024,
            log_call_bytes_max: 4 * MIB,
            host_calls_max: 10_000,
            host_call_time_max: Duration::from_secs(30),
            host_calls_in_flight_max: 128,
            metrics_max: 100,
            metric_series_max: 1_000,
            depth_max: 8,
        }
    }
}

/// `67108864` as people read it: `64 MiB`. Exact: a size that is no whole number of a unit stays in
/// the next smaller one.
pub(crate) fn octets(size: usize) -> String {
    match size {
        0 => "0 octets".to_owned(),
        _ if size.is_multiple_of(MIB) => format!("{} MiB", size / MIB),
        _ if size.is_multiple_of(1024) => format!("{} KiB", size / 1024),
        _ => format!("{size} octets"),
    }
}

/// `1.5s` as people read it: `1500 ms`; whole seconds as `2 s`.
pub(crate) fn time(duration: Duration) -> String {
    match duration.subsec_nanos() {
        0 => format!("{} s", duration.as_secs()),
        nanos if nanos.is_multiple_of(1_000_000) => format!("{} ms", duration.as_millis()),
        _ => format!("{duration:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_named_exactly() {
        assert_eq!(time(Duration::from_secs(1)), "1 s");
        assert_eq!(time(Duration::from_millis(1500)), "1500 ms");
        assert_eq!(time(Duration::from_micros(1)), "1µs");
    }

    #[test]
    fn sizes_are_named_in_the_largest_unit_that_is_exact() {
        assert_eq!(octets(64 * MIB), "64 MiB");
        assert_eq!(octets(MIB + 1024), "1025 KiB");
        assert_eq!(octets(MIB + 1), "1048577 octets");
        assert_eq!(octets(0), "0 octets");
    }
}
