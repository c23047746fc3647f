//! `[pool]`: the sessions with other gateways. Keys and defaults are those of `postern_net::pool`.

use std::time::Duration;

use postern_net::PoolConfig;

use super::{section::SectionReader, section::section, value::Provenance};

section! {
    /// Sessions with remote instances, shared by all services.
    pub(crate) struct Pool {
        /// Sessions with all addresses together.
        pub connections_max: usize = 50, within "1" to "100000";
        /// Sessions with one address.
        pub connections_per_host_max: usize = 10, within "1" to "10000";
        /// Calls under way on one session before another is opened.
        pub calls_per_session_max: usize = 128, within "1" to "1000000";
        /// Sessions opened with every address before a call needs them.
        pub warm: usize = 0, within "0" to "10000";
        /// Calls that wait for a session with one address; one more is refused.
        pub waiting_max: usize = 1024, within "1" to "1000000";
        /// How long a call waits for a session.
        pub wait_timeout: Duration = Duration::from_secs(10), within "1ms" to "1h";
        /// Time to establish a session.
        pub connect_timeout: Duration = Duration::from_secs(5), within "1ms" to "10m";
        /// A session without a call for this long is closed.
        pub idle_timeout: Duration = Duration::from_secs(300), within "100ms" to "24h";
        /// How often a session says PING; 0s never. It is cut when no PONG comes before the next.
        pub keep_alive: Duration = Duration::from_secs(60), within "0s" to "24h";
        /// Time for calls under way when a session is closed.
        pub drain_timeout: Duration = Duration::from_secs(30), within "0s" to "10m";
        /// Shortest pause after an address failed.
        pub backoff_min: Duration = Duration::from_millis(100), within "1ms" to "10m";
        /// Longest pause after an address failed often.
        pub backoff_max: Duration = Duration::from_secs(10), within "1ms" to "1h";
    }
}

impl Pool {
    /// As the pool wants it.
    #[must_use]
    pub(crate) fn to_config(&self) -> PoolConfig {
        PoolConfig {
            connections_max: self.connections_max,
            connections_per_host_max: self.connections_per_host_max,
            calls_per_session_max: self.calls_per_session_max,
            warm: self.warm,
            waiting_max: self.waiting_max,
            wait_timeout: self.wait_timeout,
            connect_timeout: self.connect_timeout,
            idle_timeout: self.idle_timeout,
            keep_alive: (!self.keep_alive.is_zero()).then_some(self.keep_alive),
            drain_timeout: self.drain_timeout,
            backoff_min: self.backoff_min,
            backoff_max: self.backoff_max,
        }
    }

    /// Adds a fault for what contradicts.
    pub(crate) fn check(&self, reader: &mut SectionReader) {
        let Err(error) = self.to_config().check() else {
            return;
        };
        let message = error.to_string();
        let key = message.split(' ').next().unwrap_or_default();
        let path = format!("pool.{key}");
        let place: Option<Provenance> = reader.places.get(&path).cloned();
        reader.faults.push(super::ConfigFault {
            path,
            place,
            message,
            remedy: "change one of the two".to_owned(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_pool() {
        assert_eq!(Pool::default().to_config(), PoolConfig::default());
    }

    #[test]
    fn a_part_above_the_whole_is_a_fault_at_its_key() {
        let check = |text: &str| super::super::parse("f", text, &std::collections::BTreeMap::new());
        check("[pool]\nconnections-per-host-max = 50").expect("as many as all");
        let faults = check("[pool]\nconnections-per-host-max = 51").expect_err("too many");
        assert_eq!(faults.faults[0].path, "pool.connections-per-host-max");
    }
}
