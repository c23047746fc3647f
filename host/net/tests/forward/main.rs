//! The reverse proxy over real sockets: what an upstream is sent, octet by octet, and what becomes of
//! what it answers.

#[path = "../certificates/mod.rs"]
mod certificates;
mod connections;
mod front;
mod kept;
mod replies;
mod requests;
mod smuggling;
mod through;
mod upgrades;
mod upstreams;

use std::{future::Future, time::Duration};

use bytes::Bytes;
use postern_core::{Body, BodyStream, Call, Error, Headers, HttpFacts, headers::HeadersBuilder};
use postern_net::http::{ForwardAddress, ForwardConfig, Forwarder};

/// How long anything here may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

async fn patient<T>(future: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(PATIENCE, future).await;
    done.expect("it comes in time")
}

fn forwarder(port: u16) -> Forwarder {
    forwarder_with(port, ForwardConfig::default())
}

fn forwarder_with(port: u16, config: ForwardConfig) -> Forwarder {
    let address = ForwardAddress::Host {
        is_secure: false,
        host: "127.0.0.1".into(),
        port,
    };
    Forwarder::new(address, config)
}

fn fields(pairs: &[(&str, &str)]) -> Headers {
    let mut fields = HeadersBuilder::fields(pairs.len(), 256);
    for (name, value) in pairs {
        fields.push(name, value).expect("a field");
    }
    fields.build()
}

/// A request that is to be forwarded, as the front makes it.
fn request(method: &str, target: &str, pairs: &[(&str, &str)], body: Body) -> Call {
    let (path, query) = HttpFacts::split_target(&target.into());
    let facts = HttpFacts {
        method: method.into(),
        scheme: "http".into(),
        authority: "shop.example:8080".into(),
        path,
        query,
        is_forwarded: true,
        ..HttpFacts::default()
    };
    Call {
        headers: fields(pairs),
        body,
        http: Some(Box::new(facts)),
        ..Call::unary("shop", method, "")
    }
}

fn get(target: &str) -> Call {
    request("GET", target, &[], Body::Empty)
}

/// Octets that come piece by piece, and what follows them.
fn octets(pieces: &[&'static str], trailers: Option<Headers>) -> Body {
    Body::Octets(BodyStream::from_source(Pieces {
        pieces: pieces.iter().map(|piece| Ok(Bytes::from(*piece))).collect(),
        trailers,
        is_due: false,
    }))
}

/// Octets that end with an error.
fn broken(pieces: &[&'static str], error: Error) -> Body {
    let whole = pieces.iter().map(|piece| Ok(Bytes::from(*piece)));
    Body::Octets(BodyStream::from_source(Pieces {
        pieces: whole.chain([Err(error)]).collect(),
        trailers: None,
        is_due: false,
    }))
}

struct Pieces {
    pieces: std::collections::VecDeque<Result<Bytes, Error>>,
    trailers: Option<Headers>,
    /// Each piece is waited for, so that what is before it is sent.
    is_due: bool,
}

impl futures_core::Stream for Pieces {
    type Item = Result<Bytes, Error>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.is_due = !self.is_due;
        if self.is_due {
            cx.waker().wake_by_ref();
            return std::task::Poll::Pending;
        }
        std::task::Poll::Ready(self.pieces.pop_front())
    }
}

impl postern_core::BodySource for Pieces {
    fn trailers(mut self: std::pin::Pin<&mut Self>) -> Option<Headers> {
        self.trailers.take()
    }

    fn keep(self: std::pin::Pin<&mut Self>, _: usize) -> Result<(), Error> {
        Ok(())
    }
}
