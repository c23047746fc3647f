//! What a listener carries VSTP over.

use postern_core::Transport;
use serde_json::json;

use super::{leaf::Leaf, value::Value};

/// What carries VSTP: one of those that the gateway listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ListenerTransport(pub Transport);

impl ListenerTransport {
    /// Those of a listener that names none.
    pub(super) fn usual() -> Vec<Self> {
        vec![Self(Transport::Tcp), Self(Transport::Udp)]
    }

    /// What a listener can be told to carry VSTP over.
    fn all() -> impl Iterator<Item = Transport> {
        let is_named = |transport: &Transport| match transport {
            Transport::Tcp | Transport::Udp | Transport::Quic => true,
            // What follows of `tls` and of the address, other protocols, and what has no listener.
            Transport::Tls
            | Transport::Unix
            | Transport::Http
            | Transport::Https
            | Transport::Grpc
            | Transport::Grpcs
            | Transport::Velithon
            | Transport::Velithons
            | Transport::WebSocket
            | Transport::SecureWebSocket
            | Transport::Memory
            | Transport::Plugin => false,
        };
        Transport::ALL.into_iter().filter(is_named)
    }
}

impl Leaf for ListenerTransport {
    fn expected() -> String {
        let names: Vec<_> = Self::all()
            .map(|transport| format!("\"{transport}\""))
            .collect();
        format!("one of {}", names.join(", "))
    }

    fn read(value: &Value) -> Result<Self, String> {
        let transport = value.as_text().and_then(Transport::from_name);
        let known = transport.filter(|transport| Self::all().any(|one| one == *transport));
        known
            .map(Self)
            .ok_or_else(|| format!("{} is not known here", value.shown()))
    }

    fn written(&self) -> Option<String> {
        Some(format!("\"{}\"", self.0))
    }

    fn schema() -> serde_json::Value {
        json!({ "enum": Self::all().map(Transport::name).collect::<Vec<_>>() })
    }
}
