//! WebSockets of servers elsewhere, at `ws://` and `wss://`: VSTP sessions in the messages of `link.rs`, and
//! text messages for whoever drives them. Compression is not asked for, as what peers send each other is
//! packed where it pays.

use std::{fmt, net::SocketAddr, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::{BufMut, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use httparse::{EMPTY_HEADER, Response, Status};
use postern_core::{
    Blame, BoxFuture, Error, Transport,
    websocket::{DataKind, WebSocketTimes},
    wire::Role,
};
use postern_system::random;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use super::{
    WebSocketConfig,
    channel::{Channel, ChannelConfig},
    handshake::{accept_of, has_token},
    link::WebSocketLink,
};
use crate::{
    ByteBudget,
    dial::{Carried, Destination, StreamDialer, unreachable},
    link::StreamLink,
    tcp,
    tls::{ClientTls, alpn, connect},
};

/// Opens sessions over WebSocket.
#[derive(Debug)]
pub struct WebSocketDialer;

/// Opens sessions over WebSocket and TLS, with the `tls` of a client's configuration.
#[derive(Debug)]
pub struct SecureWebSocketDialer;

impl StreamDialer for WebSocketDialer {
    const NAME: &'static str = Transport::WebSocket.name();
    const NEEDS_HOST: bool = true;

    type Link = WebSocketLink<TcpStream>;

    fn open(
        &self,
        destination: &Destination,
        carried: Carried,
        _: &ClientTls,
    ) -> BoxFuture<Result<Self::Link, Error>> {
        let destination = destination.clone();
        Box::pin(async move {
            let stream = tcp::dial(destination.ip()?).await;
            let stream = stream.map_err(|error| unreachable(&destination, error))?;
            shake(stream, &destination, carried).await
        })
    }
}

impl StreamDialer for SecureWebSocketDialer {
    const NAME: &'static str = Transport::SecureWebSocket.name();
    const NEEDS_HOST: bool = true;

    type Link = WebSocketLink<TlsStream<TcpStream>>;

    fn open(
        &self,
        destination: &Destination,
        carried: Carried,
        tls: &ClientTls,
    ) -> BoxFuture<Result<Self::Link, Error>> {
        let (destination, tls) = (destination.clone(), tls.config(&[alpn::HTTP_1_1]));
        // Boxed: the state of a handshake is large, and whoever waits for this is not.
        Box::pin(async move {
            let stream = connect(&destination, tls).await?;
            shake(stream, &destination, carried).await
        })
    }
}

/// A VSTP session on a WebSocket. The caller bounds the time.
async fn shake<S: StreamLink>(
    stream: S,
    destination: &Destination,
    carried: Carried,
) -> Result<WebSocketLink<S>, Error> {
    let asked = AskedWebSocket {
        protocol: Some(carried.subprotocol),
        path: carried.path,
        kind: DataKind::Binary,
        // Its octets are a stream, which the session bounds.
        message_bytes_max: usize::MAX,
        authorization: None,
    };
    let channel = open(stream, destination, &asked).await?;
    Ok(WebSocketLink::new(channel, None))
}

/// A WebSocket that is asked for.
pub(crate) struct AskedWebSocket<'a> {
    pub(crate) protocol: Option<&'static str>,
    /// Where it is, unless the destination says so.
    pub(crate) path: &'a str,
    pub(crate) kind: DataKind,
    pub(crate) message_bytes_max: usize,
    /// The field of that name.
    pub(crate) authorization: Option<&'a str>,
}

/// Asks for a WebSocket and reads the answer. The caller bounds the time.
pub(crate) async fn open<S: StreamLink>(
    mut stream: S,
    destination: &Destination,
    asked: &AskedWebSocket<'_>,
) -> Result<Channel<S>, Error> {
    let key = BASE64_STANDARD.encode(random::secret().to_ne_bytes());
    let failed = |error| unreachable(destination, error);
    let mut request = format!(
        "GET {} HTTP/1.1\r\nhost: {}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: {key}\r\n",
        path(destination, asked.path),
        authority(destination),
    );
    let fields = [
        ("sec-websocket-protocol", asked.protocol),
        ("authorization", asked.authorization),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    stream.flush().await.map_err(failed)?;
    let mut input = BytesMut::new();
    let n_head = loop {
        let refused = |reason: &dyn fmt::Display| {
            let message = format!("{destination} opens no WebSocket: {reason}");
            Error::unavailable(Blame::Upstream, message)
        };
        match judge(&input, &key, asked.protocol) {
            Ok(Some(n_head)) => break n_head,
            Ok(None) if input.len() >= HEAD_BYTES_MAX => {
                return Err(refused(&"the head of its answer is too long"));
            }
            Ok(None) => {}
            Err(fault) => return Err(refused(&fault)),
        }
        let room = HEAD_BYTES_MAX - input.len();
        let read = stream.read_buf(&mut (&mut input).limit(room)).await;
        if read.map_err(failed)? == 0 {
            return Err(refused(&"it has closed the connection"));
        }
    };
    let _ = input.split_to(n_head);
    let defaults = WebSocketConfig::default();
    let config = ChannelConfig {
        role: Role::Client,
        kind: asked.kind,
        deflation: None,
        message_bytes_max: asked.message_bytes_max,
        times: WebSocketTimes {
            ping_interval: defaults.ping_interval,
            ping_timeout: defaults.ping_timeout,
            idle_timeout: defaults.ping_timeout,
        },
    };
    let bytes = Arc::new(ByteBudget::unlimited()).connection(usize::MAX);
    Ok(Channel::new(stream, input, config, bytes))
}

/// Why an answer opens no WebSocket.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum AnswerFault {
    #[error("its answer is not HTTP/1: {0}")]
    Syntax(#[from] httparse::Error),
    #[error("it answers with status {0}")]
    Status(u16),
    #[error("its answer has no {0} that fits")]
    Field(HeaderName),
}

/// How long the head of an answer to `key` is (RFC 6455 section 4.1), once it is whole.
fn judge(
    octets: &[u8],
    key: &str,
    asked: Option<&'static str>,
) -> Result<Option<usize>, AnswerFault> {
    let mut fields = [EMPTY_HEADER; FIELDS_MAX];
    let mut response = Response::new(&mut fields);
    let Status::Complete(n_head) = response.parse(octets)? else {
        return Ok(None);
    };
    let status = response.code.unwrap_or_default();
    if status != 101 {
        return Err(AnswerFault::Status(status));
    }
    let mut headers = HeaderMap::new();
    for field in response.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(field.value)) {
            headers.append(name, value);
        }
    }
    let is = |name: &HeaderName, expected: &str| {
        let mut values = headers.get_all(name).iter();
        let value = values.next().filter(|_| values.next().is_none());
        value.is_some_and(|value| value.as_bytes() == expected.as_bytes())
    };
    let protocol = header::SEC_WEBSOCKET_PROTOCOL;
    let extensions = header::SEC_WEBSOCKET_EXTENSIONS;
    let fits = [
        (
            header::UPGRADE,
            has_token(&headers, &header::UPGRADE, "websocket"),
        ),
        (
            header::CONNECTION,
            has_token(&headers, &header::CONNECTION, "upgrade"),
        ),
        (
            header::SEC_WEBSOCKET_ACCEPT,
            is(&header::SEC_WEBSOCKET_ACCEPT, &accept_of(key.as_bytes())),
        ),
        (
            protocol.clone(),
            !headers.contains_key(&protocol) || asked.is_some_and(|asked| is(&protocol, asked)),
        ),
        // None was asked for.
        (extensions.clone(), !headers.contains_key(extensions)),
    ];
    match fits.into_iter().find(|(_, fits)| !fits) {
        Some((name, _)) => Err(AnswerFault::Field(name)),
        None => Ok(Some(n_head)),
    }
}

/// Where the WebSocket is, at whoever is dialled.
fn path<'a>(destination: &'a Destination, usual: &'a str) -> &'a str {
    match destination {
        Destination::Url { path, .. } => path.as_str(),
        Destination::Ip(_) | Destination::Host { .. } | Destination::Path(_) => usual,
    }
}

/// As the field `host` has it.
fn authority(destination: &Destination) -> String {
    let with_port = |host: &str, address: &SocketAddr| match host.contains(':') {
        true => format!("[{host}]:{}", address.port()),
        false => format!("{host}:{}", address.port()),
    };
    match destination {
        Destination::Ip(address) => address.to_string(),
        Destination::Host { host, address } | Destination::Url { host, address, .. } => {
            with_port(host, address)
        }
        // No dialer of this file is given one.
        Destination::Path(path) => path.to_string(),
    }
}

/// Longest head of an answer, in octets, and most fields of it, as of a request (http/head.rs).
const HEAD_BYTES_MAX: usize = 64 * 1024;
const FIELDS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websocket::SESSION_PROTOCOL;

    /// Of RFC 6455 section 1.3.
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    const SESSION: Option<&str> = Some(SESSION_PROTOCOL);
    const ANSWER: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

    #[test]
    fn the_answer_of_the_rfc_opens_a_websocket_once_it_is_whole() {
        let answer = format!("{ANSWER}\u{82}");
        assert_eq!(
            judge(answer.as_bytes(), KEY, SESSION),
            Ok(Some(ANSWER.len()))
        );
        for end in 0..ANSWER.len() {
            assert_eq!(
                judge(&ANSWER.as_bytes()[..end], KEY, SESSION),
                Ok(None),
                "{end}"
            );
        }
    }

    #[test]
    fn an_answer_that_does_not_fit_is_refused_by_its_field() {
        let check = |from: &str, to: &str, name: HeaderName| {
            let answer = ANSWER.replace(from, to);
            assert_ne!(answer, ANSWER);
            let refused = judge(answer.as_bytes(), KEY, SESSION);
            assert_eq!(refused, Err(AnswerFault::Field(name)), "{to}");
        };
        check("xOo=", "xOO=", header::SEC_WEBSOCKET_ACCEPT);
        check("Upgrade: websocket", "Upgrade: h2c", header::UPGRADE);
        check(
            "Connection: Upgrade",
            "Connection: close",
            header::CONNECTION,
        );
        let end = "\r\n\r\n";
        check(
            end,
            "\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n",
            header::SEC_WEBSOCKET_PROTOCOL,
        );
        check(
            end,
            "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
            header::SEC_WEBSOCKET_EXTENSIONS,
        );
        let answer = ANSWER.replace(end, "\r\nSec-WebSocket-Protocol: vstp\r\n\r\n");
        assert_eq!(
            judge(answer.as_bytes(), KEY, SESSION),
            Ok(Some(answer.len()))
        );
        assert!(judge(answer.as_bytes(), KEY, None).is_err());
        let refused = judge(b"HTTP/1.1 404 Not Found\r\n\r\n", KEY, SESSION);
        assert_eq!(refused, Err(AnswerFault::Status(404)));
        assert!(matches!(
            judge(b"SSH-2.0-x\r\n", KEY, SESSION),
            Err(AnswerFault::Syntax(_))
        ));
    }
}
