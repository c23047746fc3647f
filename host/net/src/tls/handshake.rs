//! The step of a connection between accepting and serving, where its listener has TLS.

use std::{io, sync::Arc};

use postern_core::{Text, tls::TlsFacts};
use rustls::{ServerConnection, server::Acceptor};
use tokio::io::AsyncWriteExt;
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor, server::TlsStream};

use super::{
    challenge::{self, AnsweredChallenge, ChallengeAnswers},
    names::client_certificate,
    server::ServerTls,
};
use crate::{
    acceptor::{ConnectionFacts, Handshake},
    link::{StreamLink, WatchedLink},
};

/// Ends TLS as `ServerTls` says when the connection begins. An authority that looks whether a name leads
/// here is answered, where the listener has names of that kind, and the connection ends.
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
        let stream = match self.0.answers() {
            None => TlsAcceptor::from(self.0.config()).accept(accepted).await?,
            // Boxed: it is large, and most listeners never wait for it.
            Some(answers) => Box::pin(self.accept_or_answer(accepted, answers)).await?,
        };
        let established = established(stream.get_ref().1)?;
        let facts = ConnectionFacts {
            tls: Some(Arc::new(established)),
            ..facts
        };
        Ok((stream, facts))
    }
}

impl TlsHandshake {
    /// # Errors
    /// `AnsweredChallenge` where an authority was answered.
    async fn accept_or_answer<A: StreamLink>(
        &self,
        accepted: A,
        answers: &dyn ChallengeAnswers,
    ) -> io::Result<TlsStream<A>> {
        let start = LazyConfigAcceptor::new(Acceptor::default(), accepted).await?;
        let Some(name) = challenge::name_of(&start.client_hello()) else {
            return start.into_stream(self.0.config()).await;
        };
        let Some(shown) = answers.tls_alpn(&name).await else {
            // Ends in an alert: nothing here speaks that protocol.
            return start.into_stream(self.0.config()).await;
        };
        let config = challenge::config(&shown).map_err(io::Error::other)?;
        let mut stream = start.into_stream(Arc::new(config)).await?;
        // The authority has seen what it wanted; whether it hears the end is its own affair.
        let _ = stream.shutdown().await;
        Err(io::Error::other(AnsweredChallenge { name }))
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
