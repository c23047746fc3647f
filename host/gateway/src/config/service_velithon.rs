//! `[services.NAME.velithon]`: how instances that speak velithon are spoken to.

use std::time::Duration;

use postern_net::velithon::VelithonUpstreamConfig;

use super::{section::section, units::Size};

section! {
    /// How instances that speak velithon are spoken to.
    pub(crate) struct ServiceVelithon {
        /// Connections with one instance: a call goes to one that has none, and another is opened while
        /// there are fewer.
        pub connections_max: usize = 10, within "1" to "1000";
        /// How long a connection is kept without a call.
        pub keep_timeout: Duration = Duration::from_secs(300), within "1ms" to "24h";
        /// Calls that wait for a response of one instance, over all connections; one more is refused.
        pub calls_in_flight_max: usize = 2000, within "1" to "1000000";
        /// Longest message either way, header and all.
        pub frame_bytes_max: Size = Size::mib(8), within "1KiB" to "1GiB";
        /// Time for a message of an instance to arrive, from its first octet on.
        pub frame_timeout: Duration = Duration::from_secs(30), within "10ms" to "1h";
        /// An instance that takes nothing for this long, while there is something for it, is given up.
        pub write_timeout: Duration = Duration::from_secs(30), within "10ms" to "1h";
        /// How often the endpoint `health` is called, where `directory.probe-interval` is longer.
        pub health_interval: Duration = Duration::from_secs(10), within "100ms" to "1h";
    }
}

impl ServiceVelithon {
    /// As the upstream wants it, but for what holds for all services.
    #[must_use]
    pub(crate) fn to_config(&self) -> VelithonUpstreamConfig {
        VelithonUpstreamConfig {
            connections_max: self.connections_max,
            keep_timeout: self.keep_timeout,
            calls_in_flight_max: self.calls_in_flight_max,
            frame_bytes_max: self.frame_bytes_max.octets(),
            frame_timeout: self.frame_timeout,
            write_timeout: self.write_timeout,
            ..VelithonUpstreamConfig::default()
        }
    }
}
