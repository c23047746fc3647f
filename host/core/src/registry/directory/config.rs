//! Settings of a directory, and what they may be.

use std::time::Duration;

use crate::registry::health::HealthConfig;

/// Settings of a directory. `Directory::new` checks them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryConfig {
    /// Entries of all owners. Default 10,000.
    pub entries_max: usize,
    /// Of these, kept free for plugins and configuration, so that no stranger can fill the
    /// directory before the operator. Default 1,000.
    pub entries_reserved: usize,
    /// Entries of one plugin, of the configuration, of one provider. Default 1,000.
    pub entries_per_owner_max: usize,
    /// Entries of one peer. Default 5,000.
    pub entries_per_peer_max: usize,
    /// Changes kept for watchers. Default 4,096.
    pub history_max: usize,
    /// How long what a peer told is used after the peer was lost; an entry with a shorter lease
    /// goes when that would have ended. Default 60 s, the default lease.
    pub peer_grace: Duration,
    /// How long a peer that is back may take to tell what it has, beyond the grace. Default 10 s.
    pub peer_sync: Duration,
    /// Below this share of instances that are up all are used. 0 never. Default 50.
    pub panic_percent: u8,
    pub health: HealthConfig,
}

/// Why settings make no directory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("{key} must be at least 1")]
    Zero { key: &'static str },
    #[error("{key} of {value} exceeds the limit of {limit}")]
    TooMany {
        key: &'static str,
        value: usize,
        limit: usize,
    },
    #[error("{key} of {} s exceeds the limit of {} s", .value.as_secs(), .limit.as_secs())]
    TooLong {
        key: &'static str,
        value: Duration,
        limit: Duration,
    },
}

/// Bound of every count: more entries belong into a database.
const COUNT_MAX: usize = 1_000_000;
/// Bound of every duration. A lease cannot be longer.
const DURATION_MAX: Duration = Duration::from_secs(24 * 60 * 60);

impl DirectoryConfig {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let counts = [
            ("entries-max", self.entries_max),
            ("entries-per-owner-max", self.entries_per_owner_max),
            ("entries-per-peer-max", self.entries_per_peer_max),
            ("history-max", self.history_max),
        ];
        for (key, value) in counts {
            if value == 0 {
                return Err(ConfigError::Zero { key });
            }
            check_count(key, value, COUNT_MAX)?;
        }
        check_count("entries-reserved", self.entries_reserved, self.entries_max)?;
        check_count("panic-percent", self.panic_percent.into(), 100)?;
        let thresholds = [
            ("failure-threshold", self.health.failure_threshold),
            ("recovery-threshold", self.health.recovery_threshold),
        ];
        for (key, value) in thresholds {
            if value == 0 {
                return Err(ConfigError::Zero { key });
            }
        }
        let limit = DURATION_MAX;
        let durations = [
            ("peer-grace", self.peer_grace),
            ("peer-sync", self.peer_sync),
            ("flap-window", self.health.flap_window),
            ("hold", self.health.hold),
            ("hold-max", self.health.hold_max),
        ];
        for (key, value) in durations {
            if value > limit {
                return Err(ConfigError::TooLong { key, value, limit });
            }
        }
        Ok(())
    }
}

impl Default for DirectoryConfig {
    fn default() -> Self {
        Self {
            entries_max: 10_000,
            entries_reserved: 1_000,
            entries_per_owner_max: 1_000,
            entries_per_peer_max: 5_000,
            history_max: 4_096,
            peer_grace: Duration::from_secs(60),
            peer_sync: Duration::from_secs(10),
            panic_percent: 50,
            health: HealthConfig::default(),
        }
    }
}

const fn check_count(key: &'static str, value: usize, limit: usize) -> Result<(), ConfigError> {
    if value > limit {
        return Err(ConfigError::TooMany { key, value, limit });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_good() {
        assert_eq!(DirectoryConfig::default().check(), Ok(()));
    }

    #[test]
    fn each_bound_is_refused_one_past_its_edge_by_name() {
        let check = |change: fn(&mut DirectoryConfig), expected| {
            let mut config = DirectoryConfig::default();
            change(&mut config);
            assert_eq!(
                config.check().map_err(|e| e.to_string()),
                Err(String::from(expected))
            );
        };
        check(|c| c.entries_max = 0, "entries-max must be at least 1");
        check(
            |c| c.history_max = COUNT_MAX + 1,
            "history-max of 1000001 exceeds the limit of 1000000",
        );
        check(
            |c| c.entries_reserved = c.entries_max + 1,
            "entries-reserved of 10001 exceeds the limit of 10000",
        );
        check(
            |c| c.panic_percent = 101,
            "panic-percent of 101 exceeds the limit of 100",
        );
        check(
            |c| c.health.failure_threshold = 0,
            "failure-threshold must be at least 1",
        );
        check(
            |c| c.health.recovery_threshold = 0,
            "recovery-threshold must be at least 1",
        );
        check(
            |c| c.peer_grace = DURATION_MAX + Duration::from_secs(1),
            "peer-grace of 86401 s exceeds the limit of 86400 s",
        );
    }

    #[test]
    fn each_bound_may_be_reached() {
        let config = DirectoryConfig {
            entries_max: COUNT_MAX,
            entries_reserved: COUNT_MAX,
            history_max: 1,
            panic_percent: 100,
            peer_grace: DURATION_MAX,
            health: HealthConfig {
                hold_max: DURATION_MAX,
                ..HealthConfig::default()
            },
            ..DirectoryConfig::default()
        };
        assert_eq!(config.check(), Ok(()));
    }
}
