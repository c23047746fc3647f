//! Callers: one call over any door, and waiting for what must come to be true.

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
pub enum Door {
    Tcp,
    Udp,
    Http,
}

impl Door {
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

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A client of the gateway's `door`, with one connection that its calls share.
pub async fn connect(gateway: &Gateway, door: Door) -> Arc<dyn Handler> {
    let target = match door {
        Door::Tcp => Target::tcp(gateway.vstp),
        Door::Udp => Target::udp(gateway.vstp),
        Door::Http => {
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
