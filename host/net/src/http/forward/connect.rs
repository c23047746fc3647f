//! A connection with an upstream, up to where HTTP begins: name, TCP, the PROXY protocol, TLS.

use std::net::SocketAddr;

use postern_core::{Blame, Error};
use rustls::pki_types::ServerName;
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_rustls::TlsConnector;

use super::{ForwardAddress, ForwardConfig, HttpVersions};
use crate::{acceptor::proxy_protocol, link::StreamLink};

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
    let failed = |error: std::io::Error| {
        let message = format!("cannot connect to {address}: {error}");
        Error::unavailable(Blame::Upstream, message).with_source(error)
    };
    let mut stream = TcpStream::connect((address.host.as_str(), address.port))
        .await
        .map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    if let Some(version) = config.send_proxy {
        let upstream = stream.peer_addr().map_err(failed)?;
        let header = proxy_protocol::encode(version, client.map(|client| (client, upstream)));
        stream.write_all(&header).await.map_err(failed)?;
    }
    let version = if needs_http1 {
        HttpVersions::Http1
    } else {
        config.version
    };
    if !address.is_secure {
        return Ok(Connected {
            stream: Box::new(stream),
            is_http2: version == HttpVersions::Http2,
        });
    }
    let unusable = |reason: String| {
        let message = format!("cannot verify {address}: {reason}");
        Error::unavailable(Blame::Gateway, message)
    };
    let offered: &[&str] = match version {
        HttpVersions::Negotiated => &[HTTP2, HTTP1],
        HttpVersions::Http1 => &[HTTP1],
        HttpVersions::Http2 => &[HTTP2],
    };
    let tls = config.tls.config(offered);
    let tls = tls.map_err(|error| unusable(error.to_string()))?;
    let name = ServerName::try_from(address.host.to_string());
    let name = name.map_err(|error| unusable(error.to_string()))?;
    // Boxed: the state of a handshake is large.
    let handshake = Box::pin(TlsConnector::from(tls).connect(name, stream));
    let stream = handshake.await.map_err(failed)?;
    let agreed = stream.get_ref().1.alpn_protocol();
    let is_http2 = agreed == Some(HTTP2.as_bytes());
    if version == HttpVersions::Http2 && !is_http2 {
        let message = format!("{address} does not speak HTTP/2");
        return Err(Error::unavailable(Blame::Upstream, message));
    }
    Ok(Connected {
        stream: Box::new(stream),
        is_http2,
    })
}

/// ALPN names: RFC 7301 section 6, RFC 9113 section 3.2.
const HTTP1: &str = "http/1.1";
const HTTP2: &str = "h2";
