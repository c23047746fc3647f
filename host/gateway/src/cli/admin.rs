//! The admin listener of a running gateway, from outside.

use clap::Args;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use postern_core::{Body, BodyStream, Headers};
use postern_net::http::{HttpClient, HttpClientConfig};
use serde_json::Value as Json;

use super::{failure::CommandFailure, options::SharedOptions, output::Output};
use crate::{config::ListenAddress, recording::LINE_BYTES_MAX};

#[derive(Debug, Clone, Args)]
pub(super) struct AdminArgs {
    /// Address of the gateway's admin listener: HOST:PORT, unix:/PATH or unix:@NAME; the configured one
    /// when absent.
    #[arg(long, env = "POSTERN_ADMIN", value_name = "ADDRESS")]
    admin: Option<String>,
}

/// Asks one gateway.
pub(super) struct Admin {
    client: HttpClient,
    token: Option<String>,
}

/// `/plugins/users/rollback`; what a path may not hold is escaped (RFC 3986 section 2.1).
pub(super) fn path(kind: &str, name: &str, end: &str) -> String {
    let name = utf8_percent_encode(name, &ESCAPED);
    format!("/{kind}/{name}{end}")
}

const ESCAPED: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'@');

impl Admin {
    pub(super) fn new(
        options: &SharedOptions,
        args: &AdminArgs,
        output: &Output,
    ) -> Result<Self, CommandFailure> {
        let config = options.load(&[], output)?.config;
        let address = match (&args.admin, &config.admin.address) {
            (Some(address), _) => address.clone(),
            (None, address @ (ListenAddress::Ip(_) | ListenAddress::Unix(_))) => {
                address.to_string()
            }
            (None, ListenAddress::Passed(name)) => {
                let message = format!("only systemd knows where the socket {name:?} is");
                let remedy = "name it: --admin HOST:PORT or --admin unix:/PATH";
                return Err(CommandFailure::new(message).with_remedy(remedy));
            }
        };
        let limits = HttpClientConfig {
            // A recorded call is one line.
            message_bytes_max: LINE_BYTES_MAX,
            ..HttpClientConfig::default()
        };
        let client = HttpClient::new(&address, limits);
        let client = client.map_err(|error| CommandFailure::usage(error.message.to_string()))?;
        let token = config
            .admin
            .token
            .as_ref()
            .map(|token| token.expose().to_owned());
        Ok(Self { client, token })
    }

    pub(super) async fn read(&self, path: &str) -> Result<Json, CommandFailure> {
        self.ask("GET", path, &Headers::new()).await
    }

    pub(super) async fn change(&self, path: &str) -> Result<Json, CommandFailure> {
        self.ask("POST", path, &self.headers()?).await
    }

    /// Sends `body` and gives the lines of the answer as they come.
    pub(super) async fn follow(
        &self,
        path: &str,
        body: Body,
    ) -> Result<BodyStream, CommandFailure> {
        let headers = self.headers()?;
        let reply = self.client.exchange("POST", path, &headers, body);
        let reply = reply.await.map_err(|error| CommandFailure::admin(&error))?;
        match reply.body {
            Body::Messages(lines) => Ok(lines),
            Body::Empty | Body::One(_) | Body::Octets(_) => {
                let message = format!("{path} answered no lines");
                let failure = CommandFailure::new(message);
                Err(failure.with_remedy("is the gateway of the same version?"))
            }
        }
    }

    fn headers(&self) -> Result<Headers, CommandFailure> {
        let mut headers = Headers::new();
        if let Some(token) = &self.token {
            let pushed = headers.push("authorization", format!("Bearer {token}"));
            pushed.map_err(|error| CommandFailure::usage(format!("admin.token: {error}")))?;
        }
        Ok(headers)
    }

    async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &Headers,
    ) -> Result<Json, CommandFailure> {
        let reply = self.client.fetch(method, path, headers).await;
        let reply = reply.map_err(|error| CommandFailure::admin(&error))?;
        serde_json::from_slice(&reply)
            .map_err(|error| CommandFailure::new(format!("{path} answered no JSON: {error}")))
    }
}
