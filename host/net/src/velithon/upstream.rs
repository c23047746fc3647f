//! One instance that speaks velithon.

use std::sync::Arc;

use bytes::Bytes;
use postern_core::{
    Blame, BoxFuture, Call, Error, Handler, Reply, Text,
    velithon::{
        CallId, FRAME_PREFIX_BYTES, HEALTH, check_health, error_of_response, request_body,
        write_request,
    },
};
use postern_system::random;

use super::{
    config::{VelithonAddress, VelithonUpstreamConfig},
    connections::Connections,
    outgoing::Closed,
};

/// One instance. Clones share its connections. Its calls have no time of their own: whoever calls bounds it,
/// and a call that is dropped is forgotten.
#[derive(Debug, Clone)]
pub struct VelithonUpstream(Arc<Connections>);

impl VelithonUpstream {
    /// Nothing is opened before the first call.
    #[must_use]
    pub fn new(address: VelithonAddress, config: VelithonUpstreamConfig) -> Self {
        Self(Arc::new(Connections::new(address, config)))
    }

    #[must_use]
    pub fn address(&self) -> &VelithonAddress {
        self.0.address()
    }

    /// Calls `health`, as the published client does.
    ///
    /// # Errors
    /// Why it is not well.
    pub async fn check_health(&self, service: &str) -> Result<(), Error> {
        let response = self.exchange(service, HEALTH, b"{}").await?;
        check_health(&response)
    }

    async fn call_method(self, service: Text, method: Text, call: Call) -> Result<Reply, Error> {
        let limit = self.0.config().frame_bytes_max;
        let payload = call.body.into_one(limit).await?;
        let body = request_body(&payload)?;
        let response = self.exchange(&service, &method, &body).await?;
        match error_of_response(&response, &method) {
            Some(error) => Err(error),
            None => Ok(Reply::one(response)),
        }
    }

    /// Sends a request and waits for the body of its response.
    async fn exchange(&self, service: &str, endpoint: &str, body: &[u8]) -> Result<Bytes, Error> {
        let connections = &self.0;
        let id = CallId::new(u128::from(random::even()) << 64 | u128::from(random::even()));
        let request = write_request(id, service, endpoint, body);
        let (length, limit) = (
            request.len() - FRAME_PREFIX_BYTES,
            connections.config().frame_bytes_max,
        );
        if length > limit {
            let key = "velithon.frame-bytes-max";
            return Err(Error::too_long(length, limit, key, Blame::Client));
        }
        for _ in 0..TRIES_MAX {
            let lease = connections.lease().await?;
            let begun = connections.waiting().begin(id, lease.connection.number);
            let (_waiter, response) = begun.map_err(|full| {
                let message = format!("{}: {full} (velithon.calls-in-flight-max)", self.address());
                Error::new(
                    postern_core::Kind::ResourceExhausted,
                    Blame::Gateway,
                    message,
                )
            })?;
            match lease.connection.send(request.clone()).await {
                Ok(()) => {}
                // It was closed between two calls.
                Err(Closed) => continue,
            }
            return match response.await {
                Ok(outcome) => outcome,
                // Its connection went unsent.
                Err(_) => continue,
            };
        }
        let message = format!("{} closes connections as they are opened", self.address());
        Err(Error::unavailable(Blame::Upstream, message))
    }
}

impl Handler for VelithonUpstream {
    fn call(&self, mut call: Call) -> BoxFuture<Result<Reply, Error>> {
        let service = std::mem::take(&mut call.service);
        let method = std::mem::take(&mut call.method);
        Box::pin(self.clone().call_method(service, method, call))
    }
}

/// Connections that one call tries when they turn out to be closing.
const TRIES_MAX: u32 = 16;
