//! Listeners that are carried by HTTP: what their servers are made with, and their settings.

use std::{io, sync::Arc};

use postern_core::{Handler, Transport};
use postern_net::{
    LocalAddress, SocketListener, WebSocketConfig,
    http::{
        Coding, CompressionConfig, DocumentsConfig, GrpcConfig, Hosts, Http2Config, HttpConfig,
        HttpServer,
    },
};

use super::listener_settings::{ListenerDependencies, ListenerSettings};
use crate::{
    config::{self, DocumentPath, MessageCoding, Protocol, ReplyCoding, WebSocketPath},
    directory::service::ListenerCatalog,
};

/// The server of a listener that is carried by HTTP.
pub(super) fn server(
    name: &str,
    transport: Transport,
    listener: SocketListener,
    settings: &ListenerSettings,
    dependencies: &ListenerDependencies,
) -> io::Result<HttpServer> {
    let handler: Arc<dyn Handler> = Arc::new(dependencies.pipeline.listener_handler(name));
    let known = dependencies.methods.clone();
    let catalog = Arc::new(ListenerCatalog::new(Arc::clone(&handler), known));
    let counters = dependencies.transports.counters(name, transport);
    let config = http_config(&listener.local_addr()?, settings);
    let bytes = Arc::clone(&dependencies.bytes);
    let server = HttpServer::new(listener, config, handler, catalog, counters, bytes)?;
    let server = server
        .with_status_details(Arc::clone(&dependencies.details))
        .with_routes(dependencies.routes.clone(), name);
    // Authorities ask over plain HTTP only.
    Ok(match transport == Transport::Https {
        true => server,
        false => server.with_challenges(dependencies.certificates.answers()),
    })
}

/// Under which names a listener at `address` is called. No page can have a name lead to a Unix socket.
pub(crate) fn hosts(address: &LocalAddress, names: &[String]) -> Hosts {
    let ip = address.socket_addr().map(|address| address.ip());
    match ip.is_some_and(|ip| ip.is_loopback()) {
        true => Hosts::Local(names.iter().map(|name| name.to_ascii_lowercase()).collect()),
        false => Hosts::Every,
    }
}

/// The settings of a listener that is carried by HTTP.
pub(super) fn http_config(address: &LocalAddress, settings: &ListenerSettings) -> HttpConfig {
    let listener = &settings.listener;
    let age_max = listener.connection_age_max;
    HttpConfig {
        message_bytes_max: settings.body_bytes_max,
        held_bytes_max: listener.held_bytes_per_connection_max.octets(),
        connections_max: listener.connections_max,
        handshake_timeout: listener.handshake_timeout,
        handshakes_max: listener.handshakes_max,
        streams_max: listener.streams_max,
        header_timeout: listener.header_timeout,
        body_timeout: listener.body_timeout,
        idle_timeout: listener.idle_timeout,
        write_timeout: listener.write_timeout,
        drain_timeout: listener.drain_timeout,
        hosts: hosts(address, &listener.hosts),
        forwarded: listener.forwarded.to_config(),
        proxy_protocol: listener.proxy_protocol,
        // What cannot be shared was refused with the configuration.
        cors: listener.cors.sharing().ok().flatten(),
        compression: compression_config(listener),
        websocket: websocket_config(listener),
        documents: DocumentsConfig {
            serves_openapi: listener.documents.contains(&DocumentPath::OpenApi),
            serves_docs: listener.documents.contains(&DocumentPath::Docs),
        },
        grpc: grpc_config(listener),
        is_grpc_only: listener.protocol == Protocol::Grpc,
        http2: http2_config(listener),
        connection_age_max: (!age_max.is_zero()).then_some(age_max),
        connection_age_grace: listener.connection_age_grace,
    }
}

fn compression_config(listener: &config::Listener) -> CompressionConfig {
    let compression = &listener.compression;
    let codings = compression.encodings.iter().map(|coding| match coding {
        ReplyCoding::Zstd => Coding::Zstd,
        ReplyCoding::Brotli => Coding::Brotli,
        ReplyCoding::Gzip => Coding::Gzip,
    });
    CompressionConfig {
        encodings: codings.collect(),
        bytes_min: compression.bytes_min.octets(),
        ratio_max: compression.ratio_max.into(),
    }
}

fn websocket_config(listener: &config::Listener) -> WebSocketConfig {
    let websocket = &listener.websocket;
    let interval = websocket.ping_interval;
    WebSocketConfig {
        serves_sessions: websocket.paths.contains(&WebSocketPath::Sessions),
        serves_calls: websocket.paths.contains(&WebSocketPath::Calls),
        serves_mqtt: websocket.paths.contains(&WebSocketPath::Mqtt),
        ping_interval: (!interval.is_zero()).then_some(interval),
        ping_timeout: websocket.ping_timeout,
        message_bytes_max: websocket.message_bytes_max.octets(),
        queue_max: websocket.queue_max,
        compression: websocket.compression,
    }
}

fn grpc_config(listener: &config::Listener) -> GrpcConfig {
    let grpc = &listener.grpc;
    let codings = grpc.encodings.iter().map(|coding| match coding {
        MessageCoding::Zstd => Coding::Zstd,
        MessageCoding::Gzip => Coding::Gzip,
    });
    GrpcConfig {
        message_bytes_max: grpc.message_bytes_max.octets(),
        reply_bytes_max: grpc.reply_bytes_max.octets(),
        encodings: codings.collect(),
        packed_bytes_min: grpc.packed_bytes_min.octets(),
    }
}

fn http2_config(listener: &config::Listener) -> Http2Config {
    let http2 = &listener.http2;
    let interval = http2.ping_interval;
    Http2Config {
        ping_interval: (!interval.is_zero()).then_some(interval),
        ping_timeout: http2.ping_timeout,
        pings_max: http2.pings_max,
        resets_max: http2.resets_max,
    }
}
