//! `[services.NAME.http]`: how instances that speak HTTP are spoken to.

use std::time::Duration;

use postern_net::{
    ProxyVersion,
    http::{ForwardConfig, HttpVersions},
};

use super::{
    leaf::{Leaf, word_leaf},
    section::section,
    value::Value,
};

section! {
    /// How instances that speak HTTP are spoken to.
    pub(crate) struct ServiceHttp {
        /// What is spoken: "auto" HTTP/2 or HTTP/1.1 as TLS agrees on, and HTTP/1.1 without TLS; "1.1";
        /// or "2", without TLS by prior knowledge.
        pub version: HttpVersionName = HttpVersionName::Auto;
        /// How long the head of a response may take once nothing moves of its request.
        pub head_timeout: Duration = Duration::from_secs(60), within "1ms" to "24h";
        /// How long nothing may come of a response, or move on a WebSocket.
        pub idle_timeout: Duration = Duration::from_secs(300), within "1ms" to "24h";
        /// Connections with one instance; a request that would need one more is refused, and tried at
        /// another.
        pub connections_max: usize = 1024, within "1" to "1000000";
        /// Of them, those that are kept without a request.
        pub idle_connections_max: usize = 128, within "0" to "1000000";
        /// How long one is kept without a request.
        pub keep_timeout: Duration = Duration::from_secs(60), within "1ms" to "24h";
        /// Header of the PROXY protocol that tells instances of each client: "off", "v1" or "v2". With
        /// it no two requests share a connection.
        pub send_proxy: SendProxy = SendProxy::Off;
        /// Path that is asked for a sign of life: a status of 200 to 399 is one. Left out: that a
        /// connection can be had is one.
        pub health_path: Option<HealthPath> = None;
    }
}

/// What is spoken to instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HttpVersionName {
    Auto,
    Http1,
    Http2,
}

/// How instances are told of clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SendProxy {
    Off,
    V1,
    V2,
}

word_leaf!(HttpVersionName { Auto = "auto", Http1 = "1.1", Http2 = "2" });
word_leaf!(SendProxy { Off = "off", V1 = "v1", V2 = "v2" });

impl ServiceHttp {
    /// As the proxy wants it, but for what holds for all services.
    #[must_use]
    pub(crate) fn to_config(&self) -> ForwardConfig {
        ForwardConfig {
            head_timeout: self.head_timeout,
            idle_timeout: self.idle_timeout,
            version: match self.version {
                HttpVersionName::Auto => HttpVersions::Negotiated,
                HttpVersionName::Http1 => HttpVersions::Http1,
                HttpVersionName::Http2 => HttpVersions::Http2,
            },
            connections_max: self.connections_max,
            idle_connections_max: self.idle_connections_max,
            keep_timeout: self.keep_timeout,
            send_proxy: match self.send_proxy {
                SendProxy::Off => None,
                SendProxy::V1 => Some(ProxyVersion::V1),
                SendProxy::V2 => Some(ProxyVersion::V2),
            },
            ..ForwardConfig::default()
        }
    }
}

/// A target that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HealthPath(pub String);

impl Leaf for HealthPath {
    fn expected() -> String {
        "a path such as \"/healthz\"".to_owned()
    }

    fn read(value: &Value) -> Result<Self, String> {
        let text = String::read(value)?;
        let is_target = text.starts_with('/') && text.bytes().all(|octet| octet.is_ascii_graphic());
        match is_target {
            true => Ok(Self(text)),
            false => Err(format!("{} is not a path of HTTP", value.shown())),
        }
    }

    fn written(&self) -> Option<String> {
        self.0.written()
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({ "type": "string", "pattern": "^/" })
    }
}
