//! Numbers that tests and benches print: percentiles of durations, memory and time of a process.

use std::{fmt, fs, time::Duration};

/// Durations in order, asked by share.
#[derive(Debug, Clone, Default)]
pub struct Percentiles(Vec<Duration>);

impl Percentiles {
    #[must_use]
    pub fn new(mut durations: Vec<Duration>) -> Self {
        durations.sort_unstable();
        Self(durations)
    }

    /// The duration that `percent` of all do not pass; zero when there are none.
    #[must_use]
    pub fn at(&self, percent: usize) -> Duration {
        let index = (self.0.len() * percent / 100).min(self.0.len().saturating_sub(1));
        self.0.get(index).copied().unwrap_or_default()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (n, p50, p99) = (self.len(), self.at(50), self.at(99));
        write!(f, "{n} calls, p50 {p50:.1?}, p99 {p99:.1?}")
    }
}

/// Resident memory of a process, in octets: `VmRSS` of `/proc/ID/status`.
///
/// # Panics
/// Where there is no such file: only Linux tells it so.
#[must_use]
pub fn rss_bytes(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("linux tells it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
    kib.expect("a number of KiB") * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_was_given() {
        let ms = Duration::from_millis;
        let hundred = Percentiles::new((1..=100).rev().map(ms).collect());
        assert_eq!(
            (hundred.at(0), hundred.at(50), hundred.at(99)),
            (ms(1), ms(51), ms(100))
        );
        assert_eq!(Percentiles::new(vec![ms(7)]).at(99), ms(7));
        assert_eq!(Percentiles::default().at(99), Duration::ZERO);
    }

    #[test]
    fn a_running_process_has_memory() {
        assert!(rss_bytes(std::process::id()) > 100_000);
    }
}
