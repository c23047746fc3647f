//! The seam to the real host: the imports in this crate's terms, and [`Services`] as the roles that a
//! component exports. `fake/seam.rs` has the same functions for tests.

#[cfg(feature = "async-streams")]
pub(crate) mod async_stream;
mod capabilities;
mod roles;
mod subject;
mod text;

use std::cell::Cell;

pub(crate) use self::{
    capabilities::{
        directory_discover, directory_next_change, metric_adjust, metric_declare, metric_increase,
        metric_observe, metric_set,
    },
    subject::{candidates, frame, request, response},
};
use crate::{
    bindings::{
        batch_handler::exports::postern::gateway::batch_handler,
        describe::exports::postern::gateway::describe,
        handler::exports::postern::gateway::handler,
        health::exports::postern::gateway::health,
        imports::postern::gateway::{call, client, config, events, kv, log, types},
        schemas::exports::postern::gateway::schemas,
        stream_handler::exports::postern::gateway::stream_handler,
    },
    call::{BodyKind, Http, Peer, Principal},
    failure::{Failure, Kind},
    log::Level,
    service::{Health, Method, Shape},
    services::Services,
};

thread_local! {
    /// Of a batch, the call that is being answered, until the host knows which it is.
    static TURN: Cell<Option<u32>> = const { Cell::new(None) };
}

/// Says which call of a batch is asked about, unless that was said.
fn take_turn() {
    if let Some(index) = TURN.take() {
        call::turn(index);
    }
}

pub(crate) fn header(name: &str) -> Option<String> {
    take_turn();
    call::header(name)
}

pub(crate) fn headers() -> Vec<(String, Vec<u8>)> {
    take_turn();
    call::headers()
}

pub(crate) fn http() -> Option<Http> {
    take_turn();
    let call::HttpInfo {
        method,
        scheme,
        authority,
        path,
        query,
    } = call::http()?;
    Some(Http {
        method,
        scheme,
        authority,
        path,
        query,
    })
}

pub(crate) fn request_kind() -> BodyKind {
    take_turn();
    match call::request_kind() {
        call::BodyKind::Message => BodyKind::Message,
        call::BodyKind::Messages => BodyKind::Messages,
        call::BodyKind::Octets => BodyKind::Octets,
    }
}

pub(crate) fn trailers() -> Vec<(String, Vec<u8>)> {
    take_turn();
    call::trailers()
}

pub(crate) fn set_status(status: u16) -> Result<(), Failure> {
    take_turn();
    call::set_status(status).map_err(Failure::from)
}

pub(crate) fn set_octets() -> Result<(), Failure> {
    call::set_octets().map_err(Failure::from)
}

pub(crate) fn add_trailer(name: &str, value: &str) -> Result<(), Failure> {
    take_turn();
    call::add_trailer(name, value).map_err(Failure::from)
}

pub(crate) fn add_binary_trailer(name: &str, value: &[u8]) -> Result<(), Failure> {
    take_turn();
    call::add_binary_trailer(name, value).map_err(Failure::from)
}

pub(crate) fn add_header(name: &str, value: &str) -> Result<(), Failure> {
    take_turn();
    call::add_header(name, value).map_err(Failure::from)
}

pub(crate) fn add_binary_header(name: &str, value: &[u8]) -> Result<(), Failure> {
    take_turn();
    call::add_binary_header(name, value).map_err(Failure::from)
}

pub(crate) fn peer() -> Peer {
    take_turn();
    let call::PeerInfo { transport, address } = call::peer();
    Peer { transport, address }
}

pub(crate) fn principal() -> Option<Principal> {
    take_turn();
    let call::PrincipalInfo { name, roles } = call::principal()?;
    Some(Principal { name, roles })
}

pub(crate) fn claim(name: &str) -> Option<String> {
    take_turn();
    call::claim(name)
}

pub(crate) fn remaining_ms() -> u64 {
    take_turn();
    call::remaining_ms()
}

pub(crate) fn correlation_id() -> String {
    take_turn();
    call::correlation_id()
}

pub(crate) fn traceparent() -> Option<String> {
    take_turn();
    call::traceparent()
}

pub(crate) fn next() -> Result<Option<Vec<u8>>, Failure> {
    call::next().map_err(Failure::from)
}

pub(crate) fn send(message: &[u8]) -> Result<(), Failure> {
    call::send(message).map_err(Failure::from)
}

pub(crate) fn log_enabled(level: Level) -> bool {
    log::enabled(level.into())
}

pub(crate) fn log_write(level: Level, message: &str, fields: &[(String, String)]) {
    log::write(level.into(), message, fields);
}

pub(crate) fn config_get(key: &str) -> Option<String> {
    config::get(key)
}

pub(crate) fn config_all() -> Vec<(String, String)> {
    config::all()
}

pub(crate) fn kv_get(key: &str) -> Result<Option<Vec<u8>>, Failure> {
    kv::get(key).map_err(Failure::from)
}

pub(crate) fn kv_set(key: &str, value: &[u8]) -> Result<(), Failure> {
    kv::set(key, value).map_err(Failure::from)
}

pub(crate) fn kv_delete(key: &str) -> Result<bool, Failure> {
    kv::delete(key).map_err(Failure::from)
}

pub(crate) fn kv_swap(
    key: &str,
    expected: Option<&[u8]>,
    value: Option<&[u8]>,
) -> Result<bool, Failure> {
    kv::swap(key, expected, value).map_err(Failure::from)
}

pub(crate) fn kv_keys(
    prefix: &str,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<String>, Failure> {
    kv::keys(prefix, after, limit).map_err(Failure::from)
}

pub(crate) fn client_call(
    service: &str,
    method: &str,
    body: &[u8],
    headers: Vec<(String, String)>,
    timeout_ms: Option<u64>,
) -> Result<Vec<u8>, Failure> {
    let options = client::Options {
        headers,
        timeout_ms,
    };
    let plain = options.headers.is_empty() && options.timeout_ms.is_none();
    client::call(service, method, body, (!plain).then_some(&options)).map_err(Failure::from)
}

pub(crate) fn publish(
    topic: &str,
    content_type: Option<&str>,
    payload: &[u8],
) -> Result<u32, Failure> {
    events::publish(topic, content_type, payload).map_err(Failure::from)
}

impl<S: Services> handler::Guest for S {
    fn handle(service: String, method: String, body: Vec<u8>) -> Result<Vec<u8>, handler::Failure> {
        S::call(&service, &method, body).map_err(types::Failure::from)
    }
}

impl<S: Services> batch_handler::Guest for S {
    fn handle_batch(
        service: String,
        method: String,
        bodies: Vec<u8>,
        lengths: Vec<u32>,
    ) -> Vec<Result<Vec<u8>, batch_handler::Failure>> {
        let mut rest = &*bodies;
        let calls = (0..).zip(lengths);
        let answers = calls.map(|(index, length)| {
            // The lengths add up to all octets; a host that says otherwise gives the last less.
            let (body, after) = rest.split_at(rest.len().min(length as usize));
            rest = after;
            TURN.set(Some(index));
            S::call(&service, &method, body.to_vec()).map_err(types::Failure::from)
        });
        let answers = answers.collect();
        TURN.set(None);
        answers
    }
}

impl<S: Services> stream_handler::Guest for S {
    fn handle_stream(service: String, method: String) -> Result<(), stream_handler::Failure> {
        S::call_stream(&service, &method).map_err(types::Failure::from)
    }
}

impl<S: Services> health::Guest for S {
    fn check() -> health::Report {
        S::health().into()
    }
}

impl From<Health> for health::Report {
    fn from(health: Health) -> Self {
        let (status, message) = match health {
            Health::Serving => (health::Status::Serving, None),
            Health::Degraded(why) => (health::Status::Degraded, Some(why)),
            Health::NotServing(why) => (health::Status::NotServing, Some(why)),
        };
        Self { status, message }
    }
}

impl<S: Services> describe::Guest for S {
    fn services() -> Vec<describe::Service> {
        let services = S::described().into_iter();
        let services = services.map(|service| describe::Service {
            name: service.name.to_owned(),
            version: Some(service.version.to_owned()),
            summary: service.summary.to_owned(),
            methods: service.methods.iter().map(method).collect(),
        });
        services.collect()
    }
}

fn method(method: &Method) -> describe::Method {
    describe::Method {
        name: method.name.to_owned(),
        summary: method.summary.to_owned(),
        kind: match method.shape {
            Shape::Unary => describe::CallKind::Unary,
            Shape::ClientStream => describe::CallKind::ClientStream,
            Shape::ServerStream => describe::CallKind::ServerStream,
            Shape::Bidirectional => describe::CallKind::Bidirectional,
        },
        request: method.request.to_owned(),
        response: method.response.to_owned(),
        idempotent: method.idempotent,
    }
}

impl<S: Services> schemas::Guest for S {
    fn schemas() -> Vec<(String, String)> {
        S::schemas()
    }
}

impl From<Level> for log::Level {
    fn from(level: Level) -> Self {
        match level {
            Level::Trace => Self::Trace,
            Level::Debug => Self::Debug,
            Level::Info => Self::Info,
            Level::Warn => Self::Warn,
            Level::Error => Self::Error,
        }
    }
}

impl From<types::Failure> for Failure {
    fn from(failure: types::Failure) -> Self {
        let types::Failure {
            kind,
            message,
            details,
        } = failure;
        Self {
            kind: kind.into(),
            message,
            details,
        }
    }
}

impl From<Failure> for types::Failure {
    fn from(failure: Failure) -> Self {
        let Failure {
            kind,
            message,
            details,
        } = failure;
        Self {
            kind: kind.into(),
            message,
            details,
        }
    }
}

/// The same names on both sides; each direction is an exhaustive match.
macro_rules! same_kinds {
    ($($name:ident)*) => {
        impl From<types::Kind> for Kind {
            fn from(kind: types::Kind) -> Self {
                match kind { $(types::Kind::$name => Self::$name,)* }
            }
        }

        impl From<Kind> for types::Kind {
            fn from(kind: Kind) -> Self {
                match kind { $(Kind::$name => Self::$name,)* }
            }
        }
    };
}

same_kinds! {
    Cancelled Unknown InvalidArgument DeadlineExceeded NotFound AlreadyExists PermissionDenied
    ResourceExhausted FailedPrecondition Aborted OutOfRange Unimplemented Internal Unavailable
    DataLoss Unauthenticated
}
