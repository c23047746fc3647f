//! `[services.NAME.grpc]`: how instances that speak gRPC are spoken to.

use std::time::Duration;

use postern_net::{grpc::GrpcUpstreamConfig, http::Coding};

use super::{leaf::word_leaf, section::section, units::Size};

section! {
    /// How instances that speak gRPC are spoken to.
    pub(crate) struct ServiceGrpc {
        /// Connections with one instance, apart from those that end.
        pub connections_max: usize = 10, within "1" to "1000";
        /// Calls on one connection from which another is opened. What the instance allows is never
        /// exceeded; calls wait for a place when every connection has as many.
        pub streams_max: usize = 100, within "1" to "1000000";
        /// How long a connection is kept without a call.
        pub keep_timeout: Duration = Duration::from_secs(300), within "1ms" to "24h";
        /// How often a connection with calls is asked for a sign of life; 0s never. Servers may close
        /// connections that are asked more often than every 5m.
        pub keep_alive_interval: Duration = Duration::from_secs(360), within "0s" to "24h";
        /// How long that sign may take.
        pub keep_alive_timeout: Duration = Duration::from_secs(20), within "1ms" to "1h";
        /// Longest message of a reply, unpacked.
        pub receive_bytes_max: Size = Size::mib(4), within "0" to "1GiB";
        /// Longest message of a call.
        pub send_bytes_max: Size = Size::mib(100), within "0" to "1GiB";
        /// How messages of calls are packed: "off", "gzip" or "zstd". Those of replies may come in either.
        pub compression: GrpcCompression = GrpcCompression::Off;
        /// How many times its length a message of a reply may become, beyond 4 MiB that every one may.
        pub compression_ratio_max: u32 = 100, within "1" to "100000";
        /// Whether grpc.health.v1.Health/Check is asked for a sign of life; that a connection can be had
        /// is one otherwise.
        pub health_check: bool = true;
        /// What is asked about there; nothing asks about the server as a whole.
        pub health_service: Option<String> = None;
        /// Whether instances are asked to describe the service, where `proto` names no file that does.
        pub reflection: bool = true;
    }
}

/// How messages of calls are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GrpcCompression {
    Off,
    Gzip,
    Zstd,
}

word_leaf!(GrpcCompression { Off = "off", Gzip = "gzip", Zstd = "zstd" });

impl ServiceGrpc {
    /// As the upstream wants it, but for what holds for all services.
    #[must_use]
    pub(crate) fn to_config(&self) -> GrpcUpstreamConfig {
        GrpcUpstreamConfig {
            connections_max: self.connections_max,
            streams_max: self.streams_max,
            keep_timeout: self.keep_timeout,
            keep_alive_interval: self.keep_alive_interval,
            keep_alive_timeout: self.keep_alive_timeout,
            receive_bytes_max: self.receive_bytes_max.octets(),
            send_bytes_max: self.send_bytes_max.octets(),
            compression: match self.compression {
                GrpcCompression::Off => None,
                GrpcCompression::Gzip => Some(Coding::Gzip),
                GrpcCompression::Zstd => Some(Coding::Zstd),
            },
            compression_ratio_max: self.compression_ratio_max.into(),
            ..GrpcUpstreamConfig::default()
        }
    }
}
