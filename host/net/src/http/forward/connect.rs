//! A connection with an upstream, up to where HTTP begins: name, TCP or a Unix socket, the PROXY protocol,
//! TLS.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use postern_core::{Blame, Error};
use rustls::pki_types::ServerName;
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_rustls::TlsConnector;

use super::config::{ForwardAddress, ForwardConfig, HttpVersions};
use crate::{
    acceptor::proxy_protocol,
    http::public::{prohibited, public_addresses},
    link::StreamLink,
};

/// A stream on which HTTP can begin.
pub(super) struct Connected {
    pub(super) stream: Box<dyn StreamLink>,
    pub(super) is_http2: bool,
}

/// Connects. The caller bounds the time. `needs_http1`: whatever the configuration says.
///
/// # Errors
/// `unavailable` with what failed. Nothing was sent of a request.
pub(super) async fn connect(
    address: &ForwardAddress,
    config: &ForwardConfig,
    client: Option<SocketAddr>,
    needs_http1: bool,
) -> Result<Connected, Error> {
    let version = if needs_http1 {
        HttpVersions::Http1
    } else {
        config.version
    };
    connect_as(address, config, client, version, address).await
}

/// Connects for HTTP/2 and nothing else, whatever `config` says. Errors name the address as `shown`.
///
/// # Errors
/// As `connect`.
pub(crate) async fn open_http2(
    address: &ForwardAddress,
    config: &ForwardConfig,
    shown: &(dyn fmt::Display + Sync),
) -> Result<Box<dyn StreamLink>, Error> {
    let connected = connect_as(address, config, None, HttpVersions::Http2, shown).await;
    connected.map(|connected| connected.stream)
}

async fn connect_as(
    address: &ForwardAddress,
    config: &ForwardConfig,
    client: Option<SocketAddr>,
    version: HttpVersions,
    shown: &(dyn fmt::Display + Sync),
) -> Result<Connected, Error> {
    let failed = |error: io::Error| {
        if let Some(error) = prohibited(&error).filter(|_| config.is_public) {
            return error;
        }
        let message = format!("cannot connect to {shown}: {error}");
        Error::unavailable(Blame::Upstream, message).with_source(error)
    };
    let plain = |stream: Box<dyn StreamLink>| Connected {
        stream,
        is_http2: version == HttpVersions::Http2,
    };
    let (is_secure, host, port) = match address {
        ForwardAddress::Host {
            is_secure,
            host,
            port,
        } => (*is_secure, host, *port),
        ForwardAddress::Unix(socket) => {
            let mut stream = socket.connect().await.map_err(failed)?;
            let sent = send_client(&mut stream, config, client, None).await;
            sent.map_err(failed)?;
            return Ok(plain(Box::new(stream)));
        }
    };
    let stream = open_tcp(host, port, config, client).await;
    let stream = stream.map_err(failed)?;
    if !is_secure {
        return Ok(plain(Box::new(stream)));
    }
    let unusable = |reason: String| {
        let message = format!("cannot verify {shown}: {reason}");
        Error::unavailable(Blame::Gateway, message)
    };
    let offered: &[&str] = match version {
        HttpVersions::Negotiated => &[HTTP2, HTTP1],
        HttpVersions::Http1 => &[HTTP1],
        HttpVersions::Http2 => &[HTTP2],
    };
    let tls = config.tls.config(offered);
    let tls = tls.map_err(|error| unusable(error.to_string()))?;
    let name = ServerName::try_from(host.to_string());
    let name = name.map_err(|error| unusable(error.to_string()))?;
    // Boxed: the state of a handshake is large.
    let handshake = Box::pin(TlsConnector::from(tls).connect(name, stream));
    let stream = handshake.await.map_err(failed)?;
    let agreed = stream.get_ref().1.alpn_protocol();
    let is_http2 = agreed == Some(HTTP2.as_bytes());
    if version == HttpVersions::Http2 && !is_http2 {
        let message = format!("{shown} does not speak HTTP/2");
        return Err(Error::unavailable(Blame::Upstream, message));
    }
    Ok(Connected {
        stream: Box::new(stream),
        is_http2,
    })
}

async fn open_tcp(
    host: &str,
    port: u16,
    config: &ForwardConfig,
    client: Option<SocketAddr>,
) -> io::Result<TcpStream> {
    let mut stream = match config.is_public {
        true => TcpStream::connect(&*public_addresses(host, port).await?).await?,
        false => TcpStream::connect((host, port)).await?,
    };
    stream.set_nodelay(true)?;
    let upstream = stream.peer_addr()?;
    send_client(&mut stream, config, client, Some(upstream)).await?;
    Ok(stream)
}

/// Tells the upstream of its client, where it is to be told. A socket of this machine has no address that
/// the client might have connected to, and is told so.
async fn send_client(
    stream: &mut (impl StreamLink + ?Sized),
    config: &ForwardConfig,
    client: Option<SocketAddr>,
    upstream: Option<SocketAddr>,
) -> io::Result<()> {
    let Some(version) = config.send_proxy else {
        return Ok(());
    };
    let nowhere = |client: SocketAddr| {
        let ip = match client.ip().to_canonical() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        SocketAddr::new(ip, 0)
    };
    let both = client.map(|client| (client, upstream.unwrap_or_else(|| nowhere(client))));
    stream
        .write_all(&proxy_protocol::encode(version, both))
        .await
}

/// ALPN names: RFC 7301 section 6, RFC 9113 section 3.2.
const HTTP1: &str = "http/1.1";
const HTTP2: &str = "h2";
