//! A request over HTTP/1.1 or HTTP/2, and all that comes of it: status, fields with their duplicates,
//! octets, trailers.

use std::{collections::BTreeMap, convert::Infallible, net::SocketAddr, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Body, Frame, Incoming},
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, time::timeout};

/// The host that every request names.
pub(super) const AUTHORITY: &str = "shop.example:81";
/// For what takes no time, on a loaded machine.
const SOON: Duration = Duration::from_secs(60);
/// What says how octets are framed on one connection, or when an answer was given.
const OF_A_CONNECTION: [&str; 5] = [
    "connection",
    "date",
    "keep-alive",
    "server-timing",
    "transfer-encoding",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) method: &'static str,
    pub(super) target: String,
    fields: Vec<(&'static str, String)>,
    body: Option<Bytes>,
    /// The length is not said.
    is_flowing: bool,
}

/// What came of it; names in lower case.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) status: u16,
    pub(super) fields: BTreeMap<String, Vec<String>>,
    pub(super) body: Bytes,
    pub(super) trailers: BTreeMap<String, Vec<String>>,
}

impl Asked {
    pub(super) fn new(method: &'static str, target: &str) -> Self {
        Self {
            method,
            target: target.to_owned(),
            fields: Vec::new(),
            body: None,
            is_flowing: false,
        }
    }

    pub(super) fn field(mut self, name: &'static str, value: &str) -> Self {
        self.fields.push((name, value.to_owned()));
        self
    }

    pub(super) fn body(mut self, body: Bytes) -> Self {
        self.body = Some(body);
        self
    }

    /// A body that comes in pieces.
    pub(super) fn flowing(self, body: Bytes) -> Self {
        Self {
            is_flowing: true,
            ..self.body(body)
        }
    }

    fn request(&self, protocol: Protocol) -> Request<UnsyncBoxBody<Bytes, Infallible>> {
        let uri = match protocol {
            Protocol::Http1 => self.target.clone(),
            Protocol::Http2 => format!("http://{AUTHORITY}{}", self.target),
        };
        let mut request = Request::builder().method(self.method).uri(uri);
        if protocol == Protocol::Http1 {
            request = request.header("host", AUTHORITY);
        }
        for (name, value) in &self.fields {
            request = request.header(*name, value);
            // What is said to the next hop only is named so over HTTP/1.1 (RFC 9110 section 7.6.1).
            if *name == "te" && protocol == Protocol::Http1 {
                request = request.header("connection", "te");
            }
        }
        let body = self.body.clone().unwrap_or_default();
        let body = if self.is_flowing {
            let pieces: Vec<_> = body.chunks(10_000).map(Bytes::copy_from_slice).collect();
            let pieces = pieces.into_iter().map(|piece| Ok(Frame::data(piece)));
            StreamBody::new(stream::iter(pieces)).boxed_unsync()
        } else {
            if self.body.is_some() {
                request = request.header("content-length", body.len());
            }
            Full::new(body).boxed_unsync()
        };
        request.body(body).expect("a request")
    }
}

impl Seen {
    /// The value of a field that stands there once.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        match self.fields.get(name)?.as_slice() {
            [value] => Some(value),
            _ => None,
        }
    }
}

/// Asks whoever listens at `address`, over a connection of its own.
pub(super) async fn ask(address: SocketAddr, protocol: Protocol, asked: &Asked) -> Seen {
    let what = format!("{protocol:?} {} {}", asked.method, asked.target);
    let stream = TcpStream::connect(address).await.expect("it listens");
    let exchange = async {
        let response = send(stream, protocol, asked.request(protocol)).await?;
        let (head, body) = response.into_parts();
        let body = body.collect().await?;
        let trailers = body.trailers().map(by_name).unwrap_or_default();
        Ok(Seen {
            status: head.status.as_u16(),
            fields: by_name(&head.headers),
            body: body.to_bytes(),
            trailers,
        })
    };
    let seen = timeout(SOON, exchange).await;
    let seen: Result<Seen, hyper::Error> = seen.unwrap_or_else(|_| panic!("{what}: no answer"));
    seen.unwrap_or_else(|error| panic!("{what}: {error:?}"))
}

/// Sends `request` as the only one of a connection, whose task ends with it.
pub(super) async fn send<B>(
    stream: TcpStream,
    protocol: Protocol,
    request: Request<B>,
) -> hyper::Result<Response<Incoming>>
where
    B: Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static,
{
    let stream = TokioIo::new(stream);
    match protocol {
        Protocol::Http1 => {
            let (mut sender, connection) = http1::handshake(stream).await?;
            tokio::spawn(connection);
            sender.send_request(request).await
        }
        Protocol::Http2 => {
            let executor = TokioExecutor::new();
            let (mut sender, connection) = http2::handshake(executor, stream).await?;
            tokio::spawn(connection);
            sender.send_request(request).await
        }
    }
}

fn by_name(fields: &HeaderMap) -> BTreeMap<String, Vec<String>> {
    let mut named = BTreeMap::<String, Vec<String>>::new();
    for (name, value) in fields {
        if !OF_A_CONNECTION.contains(&name.as_str()) {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            named
                .entry(name.as_str().to_owned())
                .or_default()
                .push(value);
        }
    }
    named
}
