//! How many sessions a pool keeps, how long it waits, and which settings it refuses.

use std::time::Duration;

/// Settings of a pool. The defaults are those of the documents' `ConnectionPool` where they name
/// one, unless a reason stands beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolConfig {
    /// Sessions with all hosts together, those being opened and closed included. Default 50.
    pub connections_max: usize,
    /// Sessions with one address, counted in the same way. Default 10.
    pub connections_per_host_max: usize,
    /// Calls under way on one session before another is opened. Default 128; 1 with a peer of the
    /// base dialect, which answers one at a time.
    pub calls_per_session_max: usize,
    /// Sessions opened with every address before a call needs them. Default 0, because an address
    /// that nobody calls would take part of `connections_max`.
    pub warm: usize,
    /// Calls that wait for a session with one address. Default 1024.
    pub waiting_max: usize,
    /// How long a call waits for a session at most; its deadline may come first. Default 10 s.
    pub wait_timeout: Duration,
    /// Until a session is established. Default 5 s: with the 30 s of the documents an address that
    /// swallows packets would use up the whole time of a call that could go elsewhere.
    pub connect_timeout: Duration,
    /// A session without a call for this long is closed. Default 300 s.
    pub idle_timeout: Duration,
    /// Every session says PING this often, and is cut when no PONG comes before the next. Default
    /// 60 s, `None` never. Peers of the base dialect are not asked: they need not answer.
    pub keep_alive: Option<Duration>,
    /// How long calls under way may take when a session, or the pool, is closed. Default 30 s.
    pub drain_timeout: Duration,
    /// Shortest pause after a failure. Default 100 ms.
    pub backoff_min: Duration,
    /// Longest pause after many. Default 10 s.
    pub backoff_max: Duration,
}

/// Why settings make no pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PoolConfigError {
    #[error("{key} is 0: at least 1 is needed")]
    Zero { key: &'static str },
    #[error("{key} is 0s: any longer time will do")]
    NoTime { key: &'static str },
    #[error("{key} is {value}, more than the {limit} of {limit_key}")]
    Over {
        key: &'static str,
        value: usize,
        limit: usize,
        limit_key: &'static str,
    },
    #[error("backoff-min is {min:?}, longer than the {max:?} of backoff-max")]
    Backoff { min: Duration, max: Duration },
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            connections_max: 50,
            connections_per_host_max: 10,
            calls_per_session_max: 128,
            warm: 0,
            waiting_max: 1024,
            wait_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(300),
            keep_alive: Some(Duration::from_secs(60)),
            drain_timeout: Duration::from_secs(30),
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(10),
        }
    }
}

impl PoolConfig {
    /// Whether a pool can be made of it.
    ///
    /// # Errors
    /// The first setting that cannot be, by its key.
    pub fn check(&self) -> Result<(), PoolConfigError> {
        let counts = [
            ("connections-max", self.connections_max),
            ("connections-per-host-max", self.connections_per_host_max),
            ("calls-per-session-max", self.calls_per_session_max),
            ("waiting-max", self.waiting_max),
        ];
        if let Some((key, _)) = counts.into_iter().find(|(_, count)| *count == 0) {
            return Err(PoolConfigError::Zero { key });
        }
        let times = [
            ("wait-timeout", self.wait_timeout),
            ("connect-timeout", self.connect_timeout),
            ("idle-timeout", self.idle_timeout),
            ("keep-alive", self.keep_alive.unwrap_or(Duration::MAX)),
            ("backoff-min", self.backoff_min),
        ];
        if let Some((key, _)) = times.into_iter().find(|(_, time)| time.is_zero()) {
            return Err(PoolConfigError::NoTime { key });
        }
        let per_host = ("connections-per-host-max", self.connections_per_host_max);
        let in_all = ("connections-max", self.connections_max);
        let pairs = [(per_host, in_all), (("warm", self.warm), per_host)];
        for ((key, value), (limit_key, limit)) in pairs {
            if value > limit {
                return Err(PoolConfigError::Over {
                    key,
                    value,
                    limit,
                    limit_key,
                });
            }
        }
        if self.backoff_min > self.backoff_max {
            let (min, max) = (self.backoff_min, self.backoff_max);
            return Err(PoolConfigError::Backoff { min, max });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl Fn(&mut PoolConfig), expected: Result<(), &str>) {
        let mut config = PoolConfig::default();
        change(&mut config);
        let checked = config.check().map_err(|error| error.to_string());
        assert_eq!(checked, expected.map_err(str::to_owned));
    }

    #[test]
    fn the_defaults_make_a_pool() {
        check(|_| {}, Ok(()));
    }

    #[test]
    fn counts_of_zero_are_refused_by_name() {
        let zero = Err("connections-max is 0: at least 1 is needed");
        check(|config| config.connections_max = 0, zero);
        let zero = Err("connections-per-host-max is 0: at least 1 is needed");
        check(|config| config.connections_per_host_max = 0, zero);
        let zero = Err("calls-per-session-max is 0: at least 1 is needed");
        check(|config| config.calls_per_session_max = 0, zero);
        let zero = Err("waiting-max is 0: at least 1 is needed");
        check(|config| config.waiting_max = 0, zero);
        check(|config| config.calls_per_session_max = 1, Ok(()));
    }

    #[test]
    fn times_of_zero_are_refused_by_name() {
        let none = Duration::ZERO;
        let zero = Err("connect-timeout is 0s: any longer time will do");
        check(|config| config.connect_timeout = none, zero);
        let zero = Err("idle-timeout is 0s: any longer time will do");
        check(|config| config.idle_timeout = none, zero);
        let zero = Err("keep-alive is 0s: any longer time will do");
        check(|config| config.keep_alive = Some(none), zero);
        check(|config| config.keep_alive = None, Ok(()));
    }

    #[test]
    fn a_part_is_not_more_than_the_whole() {
        check(|config| config.connections_per_host_max = 50, Ok(()));
        check(
            |config| config.connections_per_host_max = 51,
            Err("connections-per-host-max is 51, more than the 50 of connections-max"),
        );
        check(|config| config.warm = 10, Ok(()));
        check(
            |config| config.warm = 11,
            Err("warm is 11, more than the 10 of connections-per-host-max"),
        );
    }

    #[test]
    fn the_shortest_pause_is_not_longer_than_the_longest() {
        check(|config| config.backoff_min = config.backoff_max, Ok(()));
        check(
            |config| config.backoff_max = Duration::from_millis(99),
            Err("backoff-min is 100ms, longer than the 99ms of backoff-max"),
        );
    }
}
