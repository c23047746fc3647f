//! The acceptor under every listener of streams: a header of the PROXY protocol where one is trusted, then
//! TLS where there are certificates, then what is served.

use std::sync::Arc;

use arc_swap::ArcSwap;
use postern_core::Origin;
use tokio_rustls::server::TlsStream;

use super::{
    AcceptLimits, Plain, Serve,
    proxy_protocol::{ProxyHandshake, ProxyTrust},
    run,
};
use crate::{
    link::{Listener, StreamLink},
    shutdown::Shutdown,
    tls::{ServerTls, TlsHandshake},
};

/// What the acceptor asks of a protocol's configuration, at each connection anew.
pub(crate) trait AcceptConfig: Send + Sync + 'static {
    fn accept_limits(&self) -> AcceptLimits;

    /// Whether a connection from `origin` begins with a header of the PROXY protocol.
    fn expects_header(&self, origin: &Origin) -> bool;
}

/// Trusts as the configuration in force says.
pub(crate) struct ConfiguredTrust<C>(pub(crate) Arc<ArcSwap<C>>);

impl<C: AcceptConfig> ProxyTrust for ConfiguredTrust<C> {
    fn expects_header(&self, origin: &Origin) -> bool {
        self.0.load().expects_header(origin)
    }
}

/// As `run`, for streams; `tls` ends TLS on each.
pub(crate) async fn run_streams<L, T, V>(
    listener: L,
    (tls, trust): (Option<Arc<ServerTls>>, T),
    service: Arc<V>,
    shutdown: Shutdown,
) where
    L: Listener<Link: StreamLink>,
    T: ProxyTrust,
    V: Serve<L::Link, L::Link> + Serve<L::Link, TlsStream<L::Link>>,
{
    match tls {
        None => {
            let inner = Plain;
            let handshake = ProxyHandshake { inner, trust };
            run(listener, handshake, service, shutdown).await;
        }
        Some(tls) => {
            let inner = TlsHandshake(tls);
            let handshake = ProxyHandshake { inner, trust };
            run(listener, handshake, service, shutdown).await;
        }
    }
}
