//! What the operating system says about this process.

use postern_system::clock;

/// Octets of physical memory that the process holds; `None` where the system does not say.
#[must_use]
pub(crate) fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    resident_in(&status)
}

/// Seconds since 1970.
#[must_use]
pub(crate) fn unix_seconds() -> f64 {
    clock::unix_time().as_secs_f64()
}

/// The line `VmRSS:     1234 kB` of proc(5).
fn resident_in(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_resident_size() {
        let status = "Name:\tpostern\nVmHWM:\t    9999 kB\nVmRSS:\t    1234 kB\nThreads:\t4\n";
        assert_eq!(resident_in(status), Some(1234 * 1024));
        assert_eq!(resident_in("Name:\tpostern\n"), None);
        assert_eq!(resident_in("VmRSS:\tmany kB\n"), None);
    }
}
