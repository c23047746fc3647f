//! The agent's interface over HTTP: `/v1/agent` of Consul, as its documentation has it.

use std::time::Duration;

use axum::{
    body::Body,
    http::{Method, Request, Response, StatusCode, Uri, header},
};
use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use postern_net::{
    http::{WebClient, WebConfig, WebError},
    tls::{ClientTls, TlsError},
};
use serde_json::Value;

use super::registration::Registration;
use crate::config::Consul;

/// One agent, as the configuration in force says.
#[derive(Debug, Clone)]
pub(super) struct Agent {
    web: WebClient,
    base: String,
    token: Option<String>,
    deregister_after: Duration,
}

/// Why the agent did not do as it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum AgentError {
    #[error("{0}")]
    Tls(#[from] TlsError),
    #[error("{0}")]
    Web(#[from] WebError),
    #[error("{0:?} is no address of an agent")]
    Address(String),
    /// With the begin of what it says.
    #[error("the agent answers {status} to {path}: {said}")]
    Refused {
        status: StatusCode,
        path: String,
        said: String,
    },
}

impl Agent {
    /// # Errors
    /// Where servers cannot be verified.
    pub(super) fn new(consul: &Consul, tls: &ClientTls) -> Result<Self, AgentError> {
        let config = WebConfig {
            connect_timeout: consul.timeout,
            timeout: consul.timeout,
            answer_bytes_max: ANSWER_BYTES_MAX,
            plain: true,
        };
        let address = consul.address.as_deref().unwrap_or_default();
        Ok(Self {
            web: WebClient::new(tls, config)?,
            base: address.trim_end_matches('/').to_owned(),
            token: consul.token.as_ref().map(|token| token.expose().to_owned()),
            deregister_after: consul.deregister_after,
        })
    }

    /// # Errors
    /// Why it is not registered.
    pub(super) async fn register(&self, registration: &Registration) -> Result<(), AgentError> {
        let body = registration.body(self.deregister_after).to_string();
        // What the service had of checks before is not its own any more.
        let path = "/v1/agent/service/register?replace-existing-checks=true";
        self.done(Method::PUT, path, body.into()).await
    }

    /// # Errors
    /// Why it is still registered. One that the agent does not know is not.
    pub(super) async fn deregister(&self, id: &str) -> Result<(), AgentError> {
        let path = format!("/v1/agent/service/deregister/{}", escaped(id));
        match self.done(Method::PUT, &path, Bytes::new()).await {
            Err(AgentError::Refused { status, .. }) if status == StatusCode::NOT_FOUND => Ok(()),
            done => done,
        }
    }

    /// Tells that the service is well, or asks for it where the agent checks by itself. Whether the agent
    /// knows it.
    ///
    /// # Errors
    /// Why nothing is known.
    pub(super) async fn renew(&self, registration: &Registration) -> Result<bool, AgentError> {
        let (method, path) = match registration.is_told() {
            true => {
                let id = escaped(&registration.check_id());
                (Method::PUT, format!("/v1/agent/check/pass/{id}"))
            }
            false => {
                let id = escaped(&registration.id);
                (Method::GET, format!("/v1/agent/service/{id}"))
            }
        };
        match self.done(method, &path, Bytes::new()).await {
            Ok(()) => Ok(true),
            Err(AgentError::Refused { status, .. }) if status == StatusCode::NOT_FOUND => Ok(false),
            // Agents before 1.9 answer so to a check that they do not know.
            Err(AgentError::Refused { status, said, .. })
                if status == StatusCode::INTERNAL_SERVER_ERROR && said.contains("TTL") =>
            {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// The address of the agent's node: `None` where it does not tell.
    pub(super) async fn node_address(&self) -> Option<String> {
        let answer = self.send(Method::GET, "/v1/agent/self", Bytes::new());
        let answer = answer.await.ok()?;
        let answer: Value = serde_json::from_slice(answer.body()).ok()?;
        let address = answer.get("Member")?.get("Addr")?.as_str()?;
        Some(address.to_owned())
    }

    async fn done(&self, method: Method, path: &str, body: Bytes) -> Result<(), AgentError> {
        let answer = self.send(method, path, body).await?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(answer.body());
        Err(AgentError::Refused {
            status,
            path: path.to_owned(),
            said: said.trim().chars().take(SAID_CHARS_MAX).collect(),
        })
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Response<Bytes>, AgentError> {
        let target = format!("{}{path}", self.base);
        let unusable = || AgentError::Address(self.base.clone());
        let uri: Uri = target.parse().map_err(|_| unusable())?;
        let mut request = Request::builder().method(method).uri(uri);
        if let Some(token) = &self.token {
            request = request.header("x-consul-token", token);
        }
        let request = request
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body))
            .map_err(|_| unusable())?;
        Ok(self.web.send(request).await?)
    }
}

fn escaped(id: &str) -> String {
    utf8_percent_encode(id, &ESCAPED).to_string()
}

/// What a part of a path may not hold: all but RFC 3986 section 2.3, and `:`, which agents write themselves.
const ESCAPED: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b':');
/// What `/v1/agent/self` takes, and more.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// Of what an agent says of a refusal.
const SAID_CHARS_MAX: usize = 200;
