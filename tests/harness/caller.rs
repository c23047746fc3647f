//! Callers: one call over any transport, and waiting for what must come to be true.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use postern_core::{Call, Error, Handler};
use postern_net::{
    Client, ClientConfig, Target,
    http::{HttpClient, HttpClientConfig},
};

use crate::Gateway;

/// A way into the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallerTransport {
    Tcp,
    Udp,
    Http,
}

impl CallerTransport {
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Http];

    /// As `postern call --transport` spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Http => "http",
        }
    }
}

impl fmt::Display for CallerTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A client of the gateway's `transport`, with one connection that its calls share.
pub async fn connect(gateway: &Gateway, transport: CallerTransport) -> Arc<dyn Handler> {
    let target = match transport {
        CallerTransport::Tcp => Target::tcp(gateway.vstp),
        CallerTransport::Udp => Target::udp(gateway.vstp),
        CallerTransport::Http => {
            let client = HttpClient::new(&gateway.http.to_string(), HttpClientConfig::default());
            return Arc::new(client.expect("a socket address is an address"));
        }
    };
    let client = Client::connect(target, ClientConfig::default()).await;
    Arc::new(client.expect("the gateway takes connections"))
}

/// One unary call: the reply's octets.
///
/// # Errors
/// Whatever the handler answers.
pub async fn call(
    handler: &dyn Handler,
    target: &str,
    body: impl Into<Bytes>,
) -> Result<Bytes, Error> {
    const REPLY_BYTES_MAX: usize = 64 << 20;
    let (service, method) = target.split_once('/').unwrap_or((target, ""));
    let reply = handler.call(Call::unary(service, method, body)).await?;
    reply.body.into_one(REPLY_BYTES_MAX).await
}

/// Waits until `holds` says so, for at most a minute.
///
/// # Panics
/// When it does not come to hold.
pub async fn patiently(claim: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let outcome = tokio::time::timeout(Duration::from_secs(60), waiting).await;
    assert!(outcome.is_ok(), "not within a minute: {claim}");
}
