//! The step of a connection between accepting and serving, where its listener has TLS.

use std::{io, sync::Arc};

use postern_core::{Text, tls::TlsFacts};
use rustls::ServerConnection;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{names::client_certificate, server::ServerTls};
use crate::{
    acceptor::{ConnectionFacts, Handshake},
    link::{StreamLink, WatchedLink},
};

/// Ends TLS as `ServerTls` says when the connection begins.
#[derive(Debug)]
pub(crate) struct TlsHandshake(pub(crate) Arc<ServerTls>);

impl<A: StreamLink> Handshake<A> for TlsHandshake {
    type Stream = TlsStream<A>;

    /// Whatever is said before the handshake would be read as a part of it.
    const CAN_REFUSE: bool = false;

    async fn shake(
        &self,
        accepted: A,
        facts: ConnectionFacts,
    ) -> io::Result<(TlsStream<A>, ConnectionFacts)> {
        let acceptor = TlsAcceptor::from(self.0.config());
        let stream = acceptor.accept(accepted).await?;
        let established = established(stream.get_ref().1)?;
        let facts = ConnectionFacts {
            tls: Some(Arc::new(established)),
            ..facts
        };
        Ok((stream, facts))
    }
}

impl<A: WatchedLink> WatchedLink for TlsStream<A> {
    type Watch = A::Watch;

    fn watch(&self) -> A::Watch {
        self.get_ref().0.watch()
    }
}

fn established(session: &ServerConnection) -> io::Result<TlsFacts> {
    let certificate = session.peer_certificates().and_then(<[_]>::first);
    let client = certificate.map(|shown| {
        client_certificate(shown)
            .ok_or_else(|| io::Error::other("the client's certificate cannot be read"))
    });
    let server_name = session.server_name().map(str::to_ascii_lowercase);
    let protocol = session.alpn_protocol().map(String::from_utf8_lossy);
    Ok(TlsFacts {
        server_name: server_name.map(Text::from),
        protocol: protocol.map(|name| Text::from(name.into_owned())),
        client: client.transpose()?,
    })
}
