//! Small documents from web servers: one GET over HTTP/1.1, with TLS, bounded in length and time.
//! For key sets and the like; no redirects, no cookies, no connection kept.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig,
    pki_types::{InvalidDnsNameError, ServerName},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::tls::{ClientTls, ClientTlsSettings, Pem};

/// How documents are fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchConfig {
    /// Time for the whole exchange. Default 5 s.
    pub timeout: Duration,
    /// Longest document, in octets. Default 1 MiB.
    pub document_bytes_max: usize,
    /// Certificates of authorities in PEM, in the place of the system's.
    pub authorities: Option<Vec<u8>>,
    /// Whether `http://` is taken too. Default false: whoever sits between could give any document.
    pub plain: bool,
}

/// Fetches documents.
#[derive(Debug, Clone)]
pub struct Fetcher {
    config: FetchConfig,
    tls: Arc<ClientConfig>,
}

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("{url} is not an address of the web")]
    Address { url: String },
    #[error("{url} is not https")]
    Plain { url: String },
    #[error("the certificates of authorities cannot be read: {0}")]
    Authorities(String),
    #[error("{host} is no name that a certificate can have")]
    Name {
        host: String,
        source: InvalidDnsNameError,
    },
    #[error("{host} cannot be reached: {source}")]
    Connect { host: String, source: io::Error },
    #[error("{host} does not answer as HTTP: {source}")]
    Http { host: String, source: hyper::Error },
    #[error("{host} answers {status}")]
    Status { host: String, status: StatusCode },
    #[error("the document exceeds {limit} octets or ends early")]
    Body { limit: usize },
    #[error("no answer within {} ms", limit.as_millis())]
    Late { limit: Duration },
}

impl Default for FetchConfig {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            document_bytes_max: 1024 * 1024,
            authorities: None,
            plain: false,
        }
    }
}

impl Fetcher {
    /// # Errors
    /// `Authorities` when the certificates given hold none that can be used.
    pub fn new(config: FetchConfig) -> Result<Self, FetchError> {
        let tls = tls(config.authorities.as_deref())?;
        Ok(Self { config, tls })
    }

    /// Whether `url` is one that `get` would try.
    ///
    /// # Errors
    /// `Address` or `Plain`.
    pub fn check(url: &str, plain: bool) -> Result<(), FetchError> {
        parse(url, plain).map(|_| ())
    }

    /// The document at `url`.
    ///
    /// # Errors
    /// Why there is none; any status but 200 is one.
    pub async fn get(&self, url: &str) -> Result<Bytes, FetchError> {
        let target = parse(url, self.config.plain)?;
        let limit = self.config.timeout;
        // Boxed: a TLS handshake's state is large, and whoever waits for this is not.
        let exchange = Box::pin(self.exchange(&target));
        timeout(limit, exchange)
            .await
            .map_err(|_| FetchError::Late { limit })?
    }

    async fn exchange(&self, target: &Target) -> Result<Bytes, FetchError> {
        let host = &target.host;
        let connect = |source| FetchError::Connect {
            host: host.clone(),
            source,
        };
        let name = host.trim_matches(['[', ']']);
        let socket = TcpStream::connect((name, target.port))
            .await
            .map_err(connect)?;
        if !target.is_secure {
            return self.request(target, socket).await;
        }
        let name = ServerName::try_from(name.to_owned()).map_err(|source| FetchError::Name {
            host: host.clone(),
            source,
        })?;
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        let socket = connector.connect(name, socket).await.map_err(connect)?;
        self.request(target, socket).await
    }

    async fn request<S>(&self, target: &Target, socket: S) -> Result<Bytes, FetchError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let host = &target.host;
        let fail = |source| FetchError::Http {
            host: host.clone(),
            source,
        };
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(socket)).await.map_err(fail)?;
        let address = FetchError::Address {
            url: target.path.clone(),
        };
        let request = Request::get(&target.path)
            .header(header::HOST, &target.authority)
            .header(header::ACCEPT, "application/json")
            .header(header::CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .map_err(|_| address)?;
        let reading = async {
            let response = sender.send_request(request).await.map_err(fail)?;
            let status = response.status();
            if status != StatusCode::OK {
                return Err(FetchError::Status {
                    host: host.clone(),
                    status,
                });
            }
            let limit = self.config.document_bytes_max;
            let body = Limited::new(response.into_body(), limit).collect().await;
            let body = body.map_err(|_| FetchError::Body { limit })?;
            Ok(body.to_bytes())
        };
        let driving = async {
            // Whatever ends the connection also ends the request, which tells it.
            let _ = connection.await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            document = reading => document,
            () = driving => Err(FetchError::Body { limit: self.config.document_bytes_max }),
        }
    }
}

/// A URL in the parts that a request needs.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    is_secure: bool,
    host: String,
    port: u16,
    authority: String,
    /// With its query.
    path: String,
}

fn parse(url: &str, plain: bool) -> Result<Target, FetchError> {
    let refused = || FetchError::Address {
        url: url.to_owned(),
    };
    let uri: Uri = url.parse().map_err(|_| refused())?;
    let is_secure = match uri.scheme_str() {
        Some("https") => true,
        Some("http") if plain => false,
        Some("http") => {
            return Err(FetchError::Plain {
                url: url.to_owned(),
            });
        }
        _ => return Err(refused()),
    };
    let authority = uri.authority().ok_or_else(refused)?;
    if authority.host().is_empty() || authority.as_str().contains('@') {
        return Err(refused());
    }
    Ok(Target {
        is_secure,
        host: authority.host().to_owned(),
        port: authority
            .port_u16()
            .unwrap_or(if is_secure { 443 } else { 80 }),
        authority: authority.to_string(),
        path: uri
            .path_and_query()
            .map_or_else(|| "/".to_owned(), ToString::to_string),
    })
}

/// Trusts the authorities given, or the system's; Mozilla's where the system has none.
fn tls(given: Option<&[u8]>) -> Result<Arc<ClientConfig>, FetchError> {
    let pem = |octets: &[u8]| vec![Pem::new("the file given", octets.to_vec())];
    let tls = ClientTls::new(ClientTlsSettings {
        authorities: given.map(pem),
        ..ClientTlsSettings::default()
    });
    tls.and_then(|tls| tls.config(&[]))
        .map_err(|error| FetchError::Authorities(error.to_string()))
}

#[cfg(test)]
mod tests;
