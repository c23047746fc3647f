//! Where an upstream is, and how it is spoken to. Each field has a config key of the same name.

use std::{fmt, sync::Arc, time::Duration};

use postern_core::Text;

use crate::{ProxyVersion, UnixAddress, tls::ClientTls};

/// How requests are handed on to one upstream.
#[derive(Debug, Clone)]
pub struct ForwardConfig {
    /// Time to establish a connection, TLS included. Default 5 s.
    pub connect_timeout: Duration,
    /// How long the head of a response may take once nothing moves of its request. Default 60 s.
    pub head_timeout: Duration,
    /// How long nothing may come of a response, or move on a stream of another protocol. Default
    /// 5 min.
    pub idle_timeout: Duration,
    /// What is spoken. Default what the upstream takes.
    pub version: HttpVersions,
    /// Connections with one address at a time. Default 1024.
    pub connections_max: usize,
    /// Of them, those that are kept without a request. Default 128: more than that come free at a time under few
    /// loads, and each one closed is one to be opened.
    pub idle_connections_max: usize,
    /// How long one is kept without a request. Default 60 s.
    pub keep_timeout: Duration,
    /// What the upstream is told of the client before anything else; then no two clients share a
    /// connection. Default nothing.
    pub send_proxy: Option<ProxyVersion>,
    /// For `https`.
    pub tls: Arc<ClientTls>,
    /// Whether the name may lead to public addresses only. Default false.
    pub is_public: bool,
}

/// Versions of HTTP that are spoken to an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HttpVersions {
    /// HTTP/2 or HTTP/1.1 as TLS agrees on; HTTP/1.1 without TLS.
    #[default]
    Negotiated,
    Http1,
    /// HTTP/2 alone; without TLS by prior knowledge.
    Http2,
}

/// Where an upstream is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForwardAddress {
    Host {
        is_secure: bool,
        /// A name or an address; IPv6 without brackets.
        host: Text,
        port: u16,
    },
    /// A socket of this machine, where nothing is encrypted.
    Unix(UnixAddress),
}

impl Default for ForwardConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            head_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(300),
            version: HttpVersions::default(),
            connections_max: 1024,
            idle_connections_max: 128,
            keep_timeout: Duration::from_secs(60),
            send_proxy: None,
            tls: Arc::default(),
            is_public: false,
        }
    }
}

impl ForwardAddress {
    pub(crate) const fn scheme(&self) -> &'static str {
        match self {
            Self::Host {
                is_secure: true, ..
            } => "https",
            Self::Host { .. } | Self::Unix(_) => "http",
        }
    }

    /// Host and port as a request names them whose client named none.
    pub(crate) fn authority(&self) -> String {
        match self {
            Self::Host { host, port, .. } if host.contains(':') => format!("[{host}]:{port}"),
            Self::Host { host, port, .. } => format!("{host}:{port}"),
            Self::Unix(_) => SOCKET_HOST.to_owned(),
        }
    }
}

impl fmt::Display for ForwardAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host { .. } => write!(f, "{}://{}", self.scheme(), self.authority()),
            Self::Unix(address) => write!(f, "http://unix:{address}"),
        }
    }
}

/// What a socket is called in requests, which name a host.
pub(in crate::http) const SOCKET_HOST: &str = "localhost";
