//! How requests go to the authority: by our own client, which notes how long a refusal asks to wait.

use std::{pin::Pin, sync::Arc, time::Duration};

use axum::http::{HeaderMap, Request, StatusCode, header};
use bytes::Bytes;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use parking_lot::Mutex;
use postern_net::http::WebClient;
use postern_system::clock;

/// Clones share what they note.
#[derive(Debug, Clone)]
pub(super) struct AuthorityClient {
    web: WebClient,
    retry_after: Arc<Mutex<Option<Duration>>>,
}

/// An answer that is none of an authority: of a proxy, for instance.
#[derive(Debug, thiserror::Error)]
#[error("{host} answers {status}")]
struct StrangeAnswer {
    host: String,
    status: StatusCode,
}

impl AuthorityClient {
    pub(super) fn new(web: WebClient) -> Self {
        Self {
            web,
            retry_after: Arc::default(),
        }
    }

    /// How long the last refusal asked to wait.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        *self.retry_after.lock()
    }
}

impl HttpClient for AuthorityClient {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let Self { web, retry_after } = self.clone();
        Box::pin(async move {
            let host = request.uri().host().unwrap_or_default().to_owned();
            let answered = web.send(request).await;
            let answered = answered.map_err(|error| Error::Other(Box::new(error)))?;
            let (parts, body) = answered.into_parts();
            let status = parts.status;
            if status.is_client_error() || status.is_server_error() {
                *retry_after.lock() = read_retry_after(&parts.headers);
                if !is_problem(&parts.headers) {
                    let strange = StrangeAnswer { host, status };
                    return Err(Error::Other(Box::new(strange)));
                }
            }
            Ok(BytesResponse {
                parts,
                body: Box::new(body),
            })
        })
    }
}

/// RFC 8555 section 6.7.
fn is_problem(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.starts_with("application/problem+json") || kind.starts_with("application/json")
}

/// Seconds or a date (RFC 9110 section 10.2.3).
fn read_retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    date.duration_since(clock::wall()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let read = |value: &str| {
            let value = value.parse().expect("a value");
            read_retry_after(&HeaderMap::from_iter([(header::RETRY_AFTER, value)]))
        };
        assert_eq!(read("120"), Some(Duration::from_secs(120)));
        let hour = Duration::from_secs(3600);
        let date = httpdate::fmt_http_date(clock::wall() + hour);
        let left = read(&date).expect("a date");
        assert!(left <= hour && left > hour / 2, "{left:?}");
        assert_eq!(read("Sun, 06 Nov 1994 08:49:37 GMT"), None);
        assert_eq!(read("soon"), None);
    }
}
