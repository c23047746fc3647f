//! The connection that a request came by, and who answers it.

use std::{
    future::Future,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use postern_core::{Peer, Transport};

use super::{
    HttpConfig, activity::InFlight, forward::claims::Claims, gather::Gather, upgrade::UpgradeSender,
};
use crate::{ConnectionBytes, tls::alpn};

/// The connection that asks.
#[derive(Clone)]
pub(super) struct Asker {
    /// Who asks: whom a trusted proxy speaks for, or `link`.
    pub(super) peer: Arc<Peer>,
    /// The far end of the connection.
    pub(super) link: Arc<Peer>,
    /// `peer`, as it asks over gRPC. Made when it first does.
    pub(super) over_grpc: Arc<OnceLock<Arc<Peer>>>,
    pub(super) bytes: ConnectionBytes,
    pub(super) gather: Gather,
    pub(super) upgrades: UpgradeSender,
}

impl Asker {
    /// Who asks, by a call of gRPC.
    pub(super) fn over_grpc(&self) -> &Arc<Peer> {
        self.over_grpc.get_or_init(|| {
            let transport = match self.peer.transport == Transport::Https {
                true => Transport::Grpcs,
                false => Transport::Grpc,
            };
            Arc::new(Peer {
                transport,
                ..Peer::clone(&self.peer)
            })
        })
    }

    /// Whether TLS has agreed on HTTP/2 (ALPN).
    pub(super) fn has_agreed_on_http2(&self) -> bool {
        let agreed = self.link.tls.as_ref().and_then(|tls| tls.protocol.as_ref());
        agreed.is_some_and(|protocol| *protocol == alpn::HTTP_2)
    }

    /// The same for whom its peer speaks, where that is a proxy that is trusted.
    pub(super) fn claimed(&self, headers: &HeaderMap, config: &HttpConfig) -> Option<Self> {
        let claims = Claims::read(headers, &self.link.origin, &config.forwarded);
        let client = claims.client()?;
        let peer = Arc::new(Peer {
            origin: client.into(),
            ..Peer::clone(&self.link)
        });
        Some(Self {
            peer,
            over_grpc: Arc::default(),
            ..self.clone()
        })
    }
}

/// Who answers the requests of a server's connections.
pub(super) trait Answer: Send + Sync + 'static {
    type Body: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + Unpin
        + 'static;

    fn answer(
        &self,
        request: Request<Incoming>,
        connection: &Asker,
        in_flight: &InFlight,
    ) -> impl Future<Output = Response<Self::Body>> + Send;
}
