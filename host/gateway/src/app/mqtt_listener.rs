//! Listeners of MQTT: what their servers are made with, and their settings.

use std::{io, sync::Arc};

use postern_core::Transport;
use postern_net::{
    SocketListener, TrustedProxies,
    mqtt::{MqttConfig, MqttFront, MqttServer},
};

use super::listener_settings::{ListenerDependencies, ListenerSettings};
use crate::mqtt::{ListenerBackend, MqttGateway};

/// The server of a listener of MQTT.
pub(super) fn server(
    name: &str,
    transport: Transport,
    listener: SocketListener,
    settings: &ListenerSettings,
    dependencies: &ListenerDependencies,
) -> io::Result<MqttServer> {
    MqttServer::new(
        listener,
        mqtt_config(settings, dependencies),
        dependencies.mqtt.broker().clone(),
        Arc::new(backend(name, dependencies)),
        dependencies.transports.counters(name, transport),
    )
}

/// MQTT over the WebSockets of a listener that is carried by HTTP.
pub(super) fn front(
    name: &str,
    transport: Transport,
    settings: &ListenerSettings,
    dependencies: &ListenerDependencies,
) -> MqttFront {
    MqttFront::new(
        mqtt_config(settings, dependencies),
        dependencies.mqtt.broker().clone(),
        Arc::new(backend(name, dependencies)),
        dependencies.transports.counters(name, transport),
    )
}

/// What judges the clients of a listener.
fn backend(name: &str, dependencies: &ListenerDependencies) -> ListenerBackend {
    let (mqtt, pipeline) = (&dependencies.mqtt, &dependencies.pipeline);
    ListenerBackend::new(Arc::clone(mqtt), Arc::clone(pipeline), name)
}

/// The settings of a listener of MQTT, and of MQTT over WebSocket on one of HTTP.
pub(super) fn mqtt_config(
    settings: &ListenerSettings,
    dependencies: &ListenerDependencies,
) -> MqttConfig {
    let (listener, mqtt) = (&settings.listener, &settings.mqtt);
    let proxies = listener.proxy_protocol;
    MqttConfig {
        connections_max: listener.connections_max,
        handshake_timeout: listener.handshake_timeout,
        handshakes_max: listener.handshakes_max,
        connect_timeout: listener.handshake_timeout,
        drain_timeout: listener.drain_timeout,
        write_timeout: listener.write_timeout,
        bytes: Arc::clone(&dependencies.bytes),
        held_bytes_max: listener.held_bytes_per_connection_max.octets(),
        proxies: proxies.then(|| TrustedProxies(listener.forwarded.trusted.clone())),
        client_id_bytes_max: mqtt.client_id_bytes_max,
        client: Arc::new(MqttGateway::client_limits(mqtt)),
    }
}
