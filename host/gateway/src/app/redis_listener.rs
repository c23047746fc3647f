//! Listeners for clients of Redis: what their servers are made with, and their settings.

use std::{io, sync::Arc};

use postern_core::{Transport, resp::RespLimits};
use postern_net::{RespConfig, RespServer, SocketListener, TrustedProxies};

use super::listener_settings::{ListenerDependencies, ListenerSettings};
use crate::redis_front::{ListenerRules, RedisListener, RedisService};

/// The server of a listener that speaks RESP, and what its clients are given.
pub(super) fn server(
    name: &str,
    transport: Transport,
    listener: SocketListener,
    settings: &ListenerSettings,
    dependencies: &ListenerDependencies,
) -> io::Result<(RespServer, Arc<RedisListener>)> {
    let front = Arc::new(RedisListener::new(
        Arc::clone(&dependencies.redis),
        &dependencies.pipeline,
        name,
        listener_rules(settings),
    ));
    let service = Arc::new(RedisService(Arc::clone(&front)));
    let counters = dependencies.transports.counters(name, transport);
    let bytes = Arc::clone(&dependencies.bytes);
    let server = RespServer::new(listener, resp_config(settings), service, counters, bytes)?;
    Ok((server, front))
}

/// What holds for the clients of a listener.
pub(super) fn listener_rules(settings: &ListenerSettings) -> ListenerRules {
    let listener = &settings.listener;
    let default_service = listener.default_service.as_deref();
    ListenerRules::new(&settings.auth, &listener.redis, default_service)
}

/// The settings of a listener that speaks RESP.
pub(super) fn resp_config(settings: &ListenerSettings) -> RespConfig {
    let listener = &settings.listener;
    let redis = &listener.redis;
    let held_bytes_max = listener.held_bytes_per_connection_max.octets();
    RespConfig {
        limits: RespLimits {
            bulk_bytes_max: redis.bulk_bytes_max.octets(),
            arguments_max: redis.arguments_max,
            request_bytes_max: held_bytes_max,
        },
        in_flight_max: listener.calls_in_flight_max,
        output_bytes_max: redis.output_bytes_max.octets(),
        held_bytes_max,
        connections_max: listener.connections_max,
        handshake_timeout: listener.handshake_timeout,
        handshakes_max: listener.handshakes_max,
        idle_timeout: listener.idle_timeout,
        write_timeout: listener.write_timeout,
        drain_timeout: listener.drain_timeout,
        proxies: listener
            .proxy_protocol
            .then(|| TrustedProxies(listener.forwarded.trusted.clone())),
    }
}
