//! Listeners of velithon: what their servers are made with, and their settings.

use std::{io, sync::Arc};

use postern_core::{Handler, Text, Transport};
use postern_net::{
    SocketListener, TrustedProxies,
    velithon::{Endpoints, VelithonConfig, VelithonServer},
};

use super::listener_settings::{ListenerDependencies, ListenerSettings};
use crate::grpc::KnownMethods;

/// The server of a listener.
pub(super) fn server(
    name: &str,
    transport: Transport,
    listener: SocketListener,
    settings: &ListenerSettings,
    dependencies: &ListenerDependencies,
) -> io::Result<VelithonServer> {
    let handler: Arc<dyn Handler> = Arc::new(dependencies.pipeline.listener_handler(name));
    let endpoints: Arc<dyn Endpoints> = Arc::new(dependencies.methods.clone());
    let counters = dependencies.transports.counters(name, transport);
    let bytes = Arc::clone(&dependencies.bytes);
    let config = config(settings);
    VelithonServer::new(listener, config, (handler, endpoints), counters, bytes)
}

/// The settings of a listener.
pub(super) fn config(settings: &ListenerSettings) -> VelithonConfig {
    let listener = &settings.listener;
    VelithonConfig {
        connections_max: listener.connections_max,
        handshake_timeout: listener.handshake_timeout,
        handshakes_max: listener.handshakes_max,
        drain_timeout: listener.drain_timeout,
        idle_timeout: listener.idle_timeout,
        write_timeout: listener.write_timeout,
        body_timeout: listener.body_timeout,
        frame_bytes_max: listener.velithon.frame_bytes_max.octets(),
        body_bytes_max: settings.body_bytes_max,
        held_bytes_max: listener.held_bytes_per_connection_max.octets(),
        calls_in_flight_max: listener.calls_in_flight_max,
        default_service: listener.default_service.as_deref().map(Text::from),
        proxies: listener
            .proxy_protocol
            .then(|| TrustedProxies(listener.forwarded.trusted.clone())),
    }
}

impl Endpoints for KnownMethods {
    fn has_service(&self, service: &str) -> bool {
        Self::has_service(self, service)
    }

    fn has_method(&self, service: &str, method: &str) -> bool {
        // A service that is not known is for the pipeline to tell of.
        !Self::has_service(self, service) || self.method_info(service, method).is_some()
    }
}
