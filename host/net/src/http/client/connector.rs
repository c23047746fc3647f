//! What an `HttpClient` opens its connections with: TCP to the host of the request, TLS included, or one
//! Unix socket whatever host is asked for.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::connect::{Connected, Connection, HttpConnector},
    rt::TokioIo,
};
use postern_core::{Blame, BoxFuture, Error};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tower_service::Service;

use super::HttpClientConfig;
use crate::{
    UnixAddress,
    link::DuplexLink,
    tls::{ClientTls, TlsError},
};

/// Opens connections; those of one client lead to one place.
#[derive(Clone)]
pub(super) enum Dialer {
    Host(HttpConnector),
    Socket(UnixAddress),
}

/// A connection of either kind.
pub(super) struct Dialed(Box<dyn DuplexLink>);

/// What the client's pool opens connections with.
pub(super) type Connector = HttpsConnector<Dialer>;

impl Dialer {
    pub(super) fn tcp(config: &HttpClientConfig) -> Self {
        let mut plain = HttpConnector::new();
        plain.set_nodelay(true);
        plain.enforce_http(false);
        plain.set_connect_timeout(Some(config.connect_timeout));
        Self::Host(plain)
    }

    /// `is_secure`: all connections are encrypted, or none.
    ///
    /// # Errors
    /// `unavailable` where servers cannot be verified.
    pub(super) fn with_tls(
        self,
        is_secure: bool,
        config: &HttpClientConfig,
    ) -> Result<Connector, Error> {
        let tls = match is_secure {
            true => config.tls.config(&[]),
            // Never used: it knows no authority, and reads none.
            false => ClientTls::of_nobody(),
        };
        let unusable = |error: TlsError| Error::unavailable(Blame::Gateway, error.to_string());
        let tls = std::sync::Arc::unwrap_or_clone(tls.map_err(unusable)?);
        let builder = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http();
        Ok(match config.http2 {
            true => builder.enable_http2().wrap_connector(self),
            false => builder.enable_http1().wrap_connector(self),
        })
    }
}

impl Service<http::Uri> for Dialer {
    type Response = TokioIo<Dialed>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = BoxFuture<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        match self {
            Self::Host(plain) => plain.poll_ready(cx).map_err(Into::into),
            Self::Socket(_) => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, uri: http::Uri) -> Self::Future {
        match self {
            Self::Host(plain) => {
                let connecting = plain.call(uri);
                Box::pin(async move {
                    let stream = connecting.await?.into_inner();
                    Ok(TokioIo::new(Dialed(Box::new(stream))))
                })
            }
            Self::Socket(address) => {
                let address = address.clone();
                Box::pin(async move {
                    let stream = address.connect().await?;
                    Ok(TokioIo::new(Dialed(Box::new(stream))))
                })
            }
        }
    }
}

impl Connection for Dialed {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Dialed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Dialed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(cx, octets)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_shutdown(cx)
    }
}
