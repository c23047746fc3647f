//! A request as a call, and a reply as the body of a response.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use postern_core::{
    Blame, Body, BoxFuture, Call, Context, Error, Handler, Peer, Reply, Text,
    velithon::{
        VelithonHeader, check_arguments, endpoint_not_found, failure_body, list_body, reply_body,
    },
};

/// Knows before a call which services and methods are there.
pub trait Endpoints: Send + Sync + 'static {
    /// Whether a call of `service` has somewhere to go.
    fn has_service(&self, service: &str) -> bool;

    /// Whether `service` may have `method`: it says so, or says nothing of its methods.
    fn has_method(&self, service: &str, method: &str) -> bool;
}

/// Where the requests of one connection go.
pub(super) struct Front {
    peer: Arc<Peer>,
    endpoints: Arc<dyn Endpoints>,
    default_service: Option<Text>,
    body_bytes_max: Arc<AtomicUsize>,
    handler: Arc<dyn Handler>,
}

/// Answers with bodies of responses.
struct Responding {
    handler: Arc<dyn Handler>,
    body_bytes_max: Arc<AtomicUsize>,
}

/// Of a connection whose peer has nobody here to call.
struct Nobody;

impl Front {
    pub(super) fn new(
        peer: Arc<Peer>,
        handler: Arc<dyn Handler>,
        endpoints: Arc<dyn Endpoints>,
        body_bytes_max: usize,
    ) -> Self {
        let body_bytes_max = Arc::new(AtomicUsize::new(body_bytes_max));
        Self {
            peer,
            endpoints,
            default_service: None,
            handler: Arc::new(Responding {
                handler,
                body_bytes_max: Arc::clone(&body_bytes_max),
            }),
            body_bytes_max,
        }
    }

    /// One that knows no endpoint.
    pub(super) fn closed(peer: Arc<Peer>) -> Self {
        Self::new(peer, Arc::new(Nobody), Arc::new(Nobody), 0)
    }

    /// Who answers calls with bodies of responses.
    pub(super) fn handler(&self) -> Arc<dyn Handler> {
        Arc::clone(&self.handler)
    }

    pub(super) fn set(&mut self, default_service: Option<Text>, body_bytes_max: usize) {
        self.default_service = default_service;
        self.body_bytes_max.store(body_bytes_max, Ordering::Relaxed);
    }

    /// The call that a request is.
    ///
    /// # Errors
    /// The body of the response where it is none.
    pub(super) fn call(&self, header: &VelithonHeader, body: Bytes) -> Result<Call, Bytes> {
        let Some(endpoint) = header.endpoint_name() else {
            let shown = String::from_utf8_lossy(&header.endpoint);
            return Err(endpoint_not_found(&shown));
        };
        let named = header.service_name();
        let known = named.filter(|service| self.endpoints.has_service(service));
        let service = known.or_else(|| self.default_service.clone());
        let service = service.filter(|service| self.endpoints.has_method(service, &endpoint));
        let Some(service) = service else {
            return Err(endpoint_not_found(&endpoint));
        };
        let refused = |error: &Error| failure_body(error, &endpoint);
        check_arguments(&body).map_err(|error| refused(&error))?;
        let limit = self.body_bytes_max.load(Ordering::Relaxed);
        if body.len() > limit {
            let error = Error::too_long(body.len(), limit, BODY_LIMIT, Blame::Client);
            return Err(refused(&error));
        }
        let mut context = Context::of(Arc::clone(&self.peer));
        if header.request_id.len() <= CORRELATION_BYTES_MAX
            && let Some(id) = postern_core::json::string(&header.request_id)
        {
            context.correlation = id.into();
        }
        Ok(Call {
            context,
            ..Call::unary(service, endpoint, body)
        })
    }
}

impl Responding {
    fn respond(
        &self,
        replying: BoxFuture<Result<Reply, Error>>,
    ) -> BoxFuture<Result<Reply, Error>> {
        let limit = self.body_bytes_max.load(Ordering::Relaxed);
        Box::pin(async move {
            let body = match replying.await?.body {
                Body::Messages(mut stream) => {
                    let (mut messages, mut n_octets) = (Vec::new(), 0);
                    while let Some(message) = stream.next().await.transpose()? {
                        // What stands around each in the list counts, too.
                        n_octets += message.len() + 1;
                        if n_octets > limit {
                            return Err(too_long(n_octets, limit));
                        }
                        stream.keep(message.len())?;
                        messages.push(message);
                    }
                    list_body(&messages)
                }
                body @ (Body::Empty | Body::One(_) | Body::Octets(_)) => {
                    let payload = body.into_one(limit).await?;
                    reply_body(&payload)
                }
            };
            Ok(Reply::one(body))
        })
    }
}

impl Handler for Responding {
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        self.respond(self.handler.call(call))
    }

    fn call_batch(&self, calls: Vec<Call>) -> Vec<BoxFuture<Result<Reply, Error>>> {
        let futures = self.handler.call_batch(calls).into_iter();
        futures.map(|replying| self.respond(replying)).collect()
    }
}

impl Endpoints for Nobody {
    fn has_service(&self, _: &str) -> bool {
        false
    }

    fn has_method(&self, _: &str, _: &str) -> bool {
        false
    }
}

impl Handler for Nobody {
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        let error = Error::not_found(format!("there is no service {}", call.service));
        Box::pin(std::future::ready(Err(error)))
    }
}

fn too_long(length: usize, limit: usize) -> Error {
    Error::too_long(length, limit, BODY_LIMIT, Blame::Guest)
}

const BODY_LIMIT: &str = "calls.body-bytes-max";
/// As a correlation id over UDP.
const CORRELATION_BYTES_MAX: usize = 255;
