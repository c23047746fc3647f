//! gRPC for whoever has no pipeline in front: the command line. The time of a call is kept here.

use std::sync::Arc;

use postern_core::{Blame, BoxFuture, Call, Error, Handler, Reply, registry::Address};
use postern_system::clock;
use tokio::time::timeout;

use super::{GrpcAddress, GrpcUpstream, GrpcUpstreamConfig};
use crate::http::{HttpClientConfig, grpc::ValueDetails};

struct GrpcClient {
    upstream: GrpcUpstream,
    config: HttpClientConfig,
}

/// A client of the server at `authority`: `host:port`, `unix:/path` or `unix:@name`. Nothing is sent before
/// the first call.
///
/// # Errors
/// `invalid-argument` where `authority` is no such address.
pub fn dial(authority: &str, config: HttpClientConfig) -> Result<Arc<dyn Handler>, Error> {
    dial_at(&format!("grpc://{authority}"), config)
}

/// As `dial`, over TLS.
///
/// # Errors
/// As `dial`.
pub fn dial_tls(authority: &str, config: HttpClientConfig) -> Result<Arc<dyn Handler>, Error> {
    dial_at(&format!("grpcs://{authority}"), config)
}

fn dial_at(address: &str, config: HttpClientConfig) -> Result<Arc<dyn Handler>, Error> {
    let parsed = Address::parse(address);
    let parsed = parsed.map_err(|error| Error::invalid_argument(error.to_string()))?;
    let address = GrpcAddress::of(&parsed);
    let address = address.ok_or_else(|| {
        Error::invalid_argument(format!("{parsed} is not the address of a gRPC server"))
    })?;
    let grpc = GrpcUpstreamConfig {
        connect_timeout: config.connect_timeout,
        receive_bytes_max: config.message_bytes_max,
        tls: Arc::clone(&config.tls),
        ..GrpcUpstreamConfig::default()
    };
    let upstream = GrpcUpstream::new(address, grpc, Arc::new(ValueDetails));
    Ok(Arc::new(GrpcClient { upstream, config }))
}

impl Handler for GrpcClient {
    fn call(&self, mut call: Call) -> BoxFuture<Result<Reply, Error>> {
        let upstream = self.upstream.clone();
        let left = call.context.remaining(clock::now());
        let left = left.unwrap_or(self.config.call_timeout);
        Box::pin(async move {
            call.context.deadline = Some(clock::now() + left);
            let answered = timeout(left, upstream.call_of_kind(call, None)).await;
            answered.unwrap_or_else(|_| {
                let message = format!("no reply within {} ms", left.as_millis());
                Err(Error::deadline_exceeded(Blame::Upstream, message))
            })
        })
    }
}
