//! The HTTP listener: services over HTTP/1.1 and HTTP/2 (h2c) on one port, JSON in and out.
//!
//! ```text
//! POST /v1/services/{service}/{method}   a call; the body is the message, or NDJSON lines
//! GET  /v1/services                      every service
//! GET  /v1/services/{service}            one service
//! GET  /openapi.json, GET /docs          what may be called, for programs and for people
//! POST /{service}/{method}               a call of gRPC, gRPC-Web or Connect, by its form (rpc.rs)
//! ```
//! Request headers become call headers, reply headers become response headers; hop-by-hop fields
//! stay out of both. JSON is one message, NDJSON is messages, anything else flows as octets: short
//! ones of a known length are one message, too. A reply has the status that the handler sets, and its
//! octets go out as they come; what ends a stream early ends the response early. A failed call is `{"error","code","details"?}` with the status of its kind
//! (host/docs/errors.md) and the kind's name in `x-postern-error`.
//!
//! | request header | meaning |
//! | --- | --- |
//! | `content-type` | `application/x-ndjson` makes each line one message of a stream |
//! | `accept` | `application/x-ndjson` asks for the reply as lines |
//! | `timeout-ms`, `x-timeout-ms` | milliseconds until the caller stops waiting |
//! | `x-correlation-id`, `correlation-id` | chosen by the caller, echoed as `x-correlation-id` |
//! | `version` | the service's version asked for |
//! | `priority` | 0 to 255; anything else is left to the handler |
//! | `traceparent` | W3C trace context |
//!
//! **Invariant:** a client that goes away cancels its call: the call's future is dropped. Over HTTP/1
//! a client is gone when its connection is reset; one that only closes its sending side gets its
//! reply (RFC 9112 section 9.6). Over HTTP/2 also when it resets the stream or closes the connection.

mod accept;
mod activity;
mod age;
mod answer;
mod asker;
mod catalog;
mod chunked;
mod client;
mod compression;
mod config;
pub(crate) mod connect_rpc;
mod connection;
mod content;
mod cors;
mod counted;
mod documents;
mod events;
mod fetch;
mod fields;
mod flood;
mod forward;
mod frames;
mod gather;
pub(crate) mod grpc;
mod head;
mod host;
mod lines;
mod message_form;
mod octets;
mod origin;
mod outgoing;
mod path;
mod pieces;
mod present;
mod problem;
mod public;
mod read_body;
mod reply;
mod request;
mod routes;
mod rpc;
mod sent;
mod server;
mod silence;
mod sized;
mod socket;
#[cfg(test)]
mod tests;
mod tracked;
mod upgrade;
mod web;
mod websockets;

pub use catalog::Catalog;
pub use client::{HttpClient, HttpClientConfig, dial, dial_tls};
pub use compression::{Coding, CompressionConfig};
pub use config::{GrpcConfig, Http2Config, HttpConfig};
pub use cors::{Cors, CorsConfig, CorsError};
pub use documents::DocumentsConfig;
pub use fetch::{FetchConfig, FetchError, Fetcher};
pub(crate) use forward::open_http2;
pub use forward::{
    ForwardAddress, ForwardConfig, ForwardedConfig, ForwardedForm, ForwardedSend, Forwarder,
    HttpVersions,
};
pub use grpc::{StatusDetails, ValueDetails};
pub use host::HostError;
pub use origin::{ForeignPage, Hosts, check_origin};
pub use outgoing::OutgoingClient;
pub use routes::{
    HttpRoutes, ParamShape, RequestSchema, RouteEnds, RouteSchemas, RoutesInForce,
    SERVICE as ROUTES_SERVICE, SchemaFault,
};
pub use server::{HttpReconfigure, HttpServer, serve_router};
pub use web::{WebClient, WebConfig, WebError};

/// Response header that carries the kind of a failed call: `not-found`.
pub const ERROR_HEADER: &str = "x-postern-error";
/// Response header that echoes the caller's correlation id.
pub const CORRELATION_HEADER: &str = "x-correlation-id";
const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";

/// Whether the header `name` (lower case) concerns one connection only and is never passed on:
/// RFC 9110 section 7.6.1, and what HTTP writes by itself.
fn is_hop_by_hop(name: &str) -> bool {
    const NAMES: [&str; 10] = [
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "transfer-encoding",
        "upgrade",
        "http2-settings",
    ];
    NAMES.contains(&name)
}

/// The media type of a `content-type` value: what stands before the parameters, trimmed.
fn media_type(value: &str) -> &str {
    value
        .split_once(';')
        .map_or(value, |(media, _)| media)
        .trim()
}

/// Whether a `content-type` is JSON: `application/json`, or a type of the suffix `+json` (RFC 6839).
fn is_json(value: &str) -> bool {
    // As most write it.
    if value == JSON {
        return true;
    }
    let media = media_type(value);
    let suffix = media.rsplit_once('+').map(|(_, suffix)| suffix);
    media.eq_ignore_ascii_case(JSON)
        || suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case("json"))
}

fn is_ndjson(value: &str) -> bool {
    let media = media_type(value);
    media.eq_ignore_ascii_case(NDJSON) || media.eq_ignore_ascii_case("application/ndjson")
}
