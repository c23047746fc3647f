//! Velithon for whoever has no pipeline in front: the command line. The time of a call is kept here.

use std::sync::Arc;

use postern_core::{Blame, BoxFuture, Call, Error, Handler, Reply, registry::Address};
use postern_system::clock;
use tokio::time::timeout;

use super::{VelithonAddress, VelithonUpstream, VelithonUpstreamConfig};
use crate::http::HttpClientConfig;

struct VelithonClient {
    upstream: VelithonUpstream,
    config: HttpClientConfig,
}

/// A client of the server at `authority`: `host:port`, `unix:/path` or `unix:@name`. Nothing is sent before
/// the first call.
///
/// # Errors
/// `invalid-argument` where `authority` is no such address.
pub fn dial(authority: &str, config: HttpClientConfig) -> Result<Arc<dyn Handler>, Error> {
    dial_at(&format!("velithon://{authority}"), config)
}

/// As `dial`, over TLS.
///
/// # Errors
/// As `dial`.
pub fn dial_tls(authority: &str, config: HttpClientConfig) -> Result<Arc<dyn Handler>, Error> {
    dial_at(&format!("velithons://{authority}"), config)
}

fn dial_at(address: &str, config: HttpClientConfig) -> Result<Arc<dyn Handler>, Error> {
    let parsed = Address::parse(address);
    let parsed = parsed.map_err(|error| Error::invalid_argument(error.to_string()))?;
    let address = VelithonAddress::of(&parsed);
    let address = address.ok_or_else(|| {
        Error::invalid_argument(format!("{parsed} is not the address of a velithon server"))
    })?;
    let velithon = VelithonUpstreamConfig {
        connect_timeout: config.connect_timeout,
        connections_max: 1,
        frame_bytes_max: config.message_bytes_max,
        tls: Arc::clone(&config.tls),
        ..VelithonUpstreamConfig::default()
    };
    let upstream = VelithonUpstream::new(address, velithon);
    Ok(Arc::new(VelithonClient { upstream, config }))
}

impl Handler for VelithonClient {
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        let left = call.context.remaining(clock::now());
        let left = left.unwrap_or(self.config.call_timeout);
        let calling = self.upstream.call(call);
        Box::pin(async move {
            timeout(left, calling).await.unwrap_or_else(|_| {
                let message = format!("no reply within {} ms", left.as_millis());
                Err(Error::deadline_exceeded(Blame::Upstream, message))
            })
        })
    }
}
