//! Requests to servers of others by HTTPS, each answered whole: for interfaces such as that of an
//! authority of certificates or, over HTTP as well, of a registry. Bounded in length and time; connections are kept for a while, redirects
//! are not followed.

use std::{error::Error as StdError, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time::timeout;

use crate::tls::{ClientTls, TlsError};

/// Bounds of one exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebConfig {
    /// Time for a connection. Default 10 s.
    pub connect_timeout: Duration,
    /// Time for the whole exchange. Default 30 s.
    pub timeout: Duration,
    /// Longest answer, in octets. Default 1 MiB.
    pub answer_bytes_max: usize,
    /// Whether `http://` is taken too. Default false: whoever sits between could answer.
    pub plain: bool,
}

/// Asks servers. Clones share their connections.
#[derive(Debug, Clone)]
pub struct WebClient {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    config: WebConfig,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    #[error("{host} cannot be asked: {reason}")]
    Unreachable { host: String, reason: String },
    #[error("{host} gives no answer within {} ms", limit.as_millis())]
    Late { host: String, limit: Duration },
    #[error("the answer of {host} exceeds the limit of {limit} octets")]
    TooLong { host: String, limit: usize },
}

impl Default for WebConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            timeout: Duration::from_secs(30),
            answer_bytes_max: 1024 * 1024,
            plain: false,
        }
    }
}

impl WebClient {
    /// Servers are verified by `tls`.
    ///
    /// # Errors
    /// Where the system's authorities cannot be had.
    pub fn new(tls: &ClientTls, config: WebConfig) -> Result<Self, TlsError> {
        let mut plain = HttpConnector::new();
        plain.enforce_http(false);
        plain.set_nodelay(true);
        plain.set_connect_timeout(Some(config.connect_timeout));
        let tls = tls.config(&[])?;
        let connector = HttpsConnectorBuilder::new().with_tls_config((*tls).clone());
        let connector = match config.plain {
            true => connector.https_or_http(),
            false => connector.https_only(),
        };
        let connector = connector.enable_http1().wrap_connector(plain);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(KEPT)
            .build(connector);
        Ok(Self { client, config })
    }

    /// Sends `request` and waits for the whole answer, whatever its status.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn send<B>(&self, request: Request<B>) -> Result<Response<Bytes>, WebError>
    where
        B: Body<Data = Bytes> + Send,
        B::Error: StdError + Send + Sync + 'static,
    {
        let host = request.uri().host().unwrap_or_default().to_owned();
        let limit = self.config.timeout;
        let exchange = Box::pin(self.exchange(request, &host));
        let answered = timeout(limit, exchange).await;
        answered.unwrap_or(Err(WebError::Late { host, limit }))
    }

    async fn exchange<B>(
        &self,
        request: Request<B>,
        host: &str,
    ) -> Result<Response<Bytes>, WebError>
    where
        B: Body<Data = Bytes> + Send,
        B::Error: StdError + Send + Sync + 'static,
    {
        let unreachable = |error: &(dyn StdError + 'static)| WebError::Unreachable {
            host: host.to_owned(),
            reason: root_cause(error),
        };
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(|error| unreachable(&error))?;
        let request = Request::from_parts(head, Full::new(body.to_bytes()));
        let response = self.client.request(request).await;
        let response = response.map_err(|error| unreachable(&error))?;
        let (head, body) = response.into_parts();
        let limit = self.config.answer_bytes_max;
        let body = Limited::new(body, limit).collect().await;
        let body = body.map_err(|error| match error.is::<LengthLimitError>() {
            true => WebError::TooLong {
                host: host.to_owned(),
                limit,
            },
            false => unreachable(&*error),
        })?;
        Ok(Response::from_parts(head, body.to_bytes()))
    }
}

/// The innermost cause says what it is about.
fn root_cause(error: &(dyn StdError + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// How long a connection without a request is kept.
const KEPT: Duration = Duration::from_secs(10);
