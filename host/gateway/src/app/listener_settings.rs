//! What servers of listeners are made with: what all of them share, and what the configuration says of each.

use std::sync::Arc;

use postern_core::Transport;
use postern_net::{
    ByteBudget, PassedSockets, RestartKey,
    http::{HttpRoutes, StatusDetails},
};

use super::transports::Transports;
use crate::{
    certificates::Certificates, config, grpc::KnownMethods, mqtt::MqttGateway, pipeline::Pipeline,
    redis_front::RedisFront,
};

/// What every listener hands its calls to.
#[derive(Clone)]
pub(crate) struct ListenerDependencies {
    pub pipeline: Arc<Pipeline>,
    pub transports: Arc<Transports>,
    /// What all connections may hold together.
    pub bytes: Arc<ByteBudget>,
    pub certificates: Arc<Certificates>,
    /// Sockets that were open before the gateway started.
    pub passed: Arc<PassedSockets>,
    /// By what peers of QUIC are told of a restart.
    pub restart_key: RestartKey,
    /// Where requests over HTTP go.
    pub routes: HttpRoutes,
    /// What is known of methods before they are called.
    pub methods: KnownMethods,
    /// What clients of gRPC are told of failures.
    pub details: Arc<dyn StatusDetails>,
    /// Sessions, topics and calls of MQTT.
    pub mqtt: Arc<MqttGateway>,
    /// What clients of Redis are given.
    pub redis: Arc<RedisFront>,
}

/// A listener of the configuration, as far as its servers depend on it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ListenerSettings {
    pub listener: config::Listener,
    /// What it opens, in order.
    pub transports: Vec<Transport>,
    /// Largest message of a call, in octets.
    pub body_bytes_max: usize,
    pub mqtt: config::Mqtt,
    /// Which credentials are looked at.
    pub auth: config::Auth,
}
