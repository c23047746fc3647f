//! Where a broker of a channel is.

use std::fmt;

use postern_core::{Transport, event::check_topic, registry::Address};
use postern_net::dial;
use serde_json::json;

use super::{leaf::Leaf, value::Value};

/// `ws://HOST[:PORT][/PATH]`, `wss://…`, `vstp://HOST:PORT`, `vstp+TRANSPORT://…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BrokerUrl {
    pub address: Address,
    is_session: bool,
}

/// One broker of a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ChannelMember {
    Store(String),
    Bridge(String),
    Url {
        url: BrokerUrl,
        /// That of every message, where messages are plain.
        topic: Option<String>,
    },
}

impl BrokerUrl {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").ok_or_else(|| not_a_url(text))?;
        let (transport, is_session) = match scheme {
            "vstp" => (Transport::Tcp, true),
            "ws" => (Transport::WebSocket, false),
            "wss" => (Transport::SecureWebSocket, false),
            other => {
                let named = other.strip_prefix("vstp+").and_then(Transport::from_name);
                let dialled = named.filter(|transport| dial::dialer(*transport).is_ok());
                (dialled.ok_or_else(|| not_a_url(text))?, true)
            }
        };
        let rest = with_port(transport, rest);
        let address = Address::parse(&format!("{transport}://{rest}"));
        Ok(Self {
            address: address.map_err(|error| error.to_string())?,
            is_session,
        })
    }

    /// Whether a session of VSTP is opened there; text messages otherwise.
    #[must_use]
    pub(crate) const fn is_session(&self) -> bool {
        self.is_session
    }
}

fn not_a_url(text: &str) -> String {
    format!("{text:?} is not {}", BrokerUrl::expected())
}

/// URLs of WebSocket have usual ports.
fn with_port(transport: Transport, rest: &str) -> String {
    if !is_text(transport) {
        return rest.to_owned();
    }
    let at = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(at);
    let has_port = authority
        .rsplit_once(':')
        .is_some_and(|(_, port)| !port.contains(']'));
    match has_port {
        true => rest.to_owned(),
        false if transport == Transport::WebSocket => format!("{authority}:80{path}"),
        false => format!("{authority}:443{path}"),
    }
}

/// Transports of text messages; all others are those of sessions.
const fn is_text(transport: Transport) -> bool {
    matches!(transport, Transport::WebSocket | Transport::SecureWebSocket)
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.is_session, self.address.transport) {
            (true, Transport::Tcp) => write!(f, "vstp://{}", self.address.authority()),
            (true, _) => write!(f, "vstp+{}", self.address),
            (false, _) => self.address.fmt(f),
        }
    }
}

impl fmt::Display for ChannelMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(name) => write!(f, "store {name}"),
            Self::Bridge(name) => write!(f, "bridge {name}"),
            Self::Url { url, .. } => url.fmt(f),
        }
    }
}

impl Leaf for BrokerUrl {
    fn expected() -> String {
        "a URL such as \"wss://HOST/PATH\", \"ws://HOST:PORT\", \"vstp://HOST:PORT\" or \
         \"vstp+tls://HOST:PORT\""
            .to_owned()
    }

    fn read(value: &Value) -> Result<Self, String> {
        let text = String::read(value)?;
        Self::parse(&text)
    }

    fn written(&self) -> Option<String> {
        self.to_string().written()
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "pattern": "^(wss?|vstp(\\+[a-z]+)?)://.+$" })
    }
}

impl Leaf for ChannelMember {
    fn expected() -> String {
        "{ store = \"NAME\" }, { bridge = \"NAME\" } or { url = \"wss://HOST/PATH\" }".to_owned()
    }

    fn read(value: &Value) -> Result<Self, String> {
        let unreadable = || format!("{} names no broker", value.shown());
        let Value::Table(entries) = value else {
            // From the environment: as a URL, or as "store NAME".
            let text = value.as_text().ok_or_else(unreadable)?;
            return match text.split_once(' ') {
                Some(("store", name)) => Ok(Self::Store(name.to_owned())),
                Some(("bridge", name)) => Ok(Self::Bridge(name.to_owned())),
                Some(_) | None => BrokerUrl::parse(text).map(|url| Self::Url { url, topic: None }),
            };
        };
        let (mut member, mut topic) = (None, None);
        for entry in entries {
            let text = String::read(&entry.node.value)?;
            let named = match entry.key.as_str() {
                "store" => Self::Store(text),
                "bridge" => Self::Bridge(text),
                "url" => Self::Url {
                    url: BrokerUrl::parse(&text)?,
                    topic: None,
                },
                "topic" => {
                    check_topic(&text).map_err(|error| format!("topic {text:?}: {error}"))?;
                    topic = Some(text);
                    continue;
                }
                other => return Err(format!("unknown key {other:?} of a broker")),
            };
            if member.replace(named).is_some() {
                return Err("a broker is one of store, bridge and url".to_owned());
            }
        }
        match (member.ok_or_else(unreadable)?, topic) {
            (Self::Url { url, .. }, topic) => Ok(Self::Url { url, topic }),
            (member, None) => Ok(member),
            (member, Some(_)) => Err(format!("{member} has topics of its own")),
        }
    }

    fn written(&self) -> Option<String> {
        let quoted = |text: &str| toml::Value::from(text).to_string();
        Some(match self {
            Self::Store(name) => format!("{{ store = {} }}", quoted(name)),
            Self::Bridge(name) => format!("{{ bridge = {} }}", quoted(name)),
            Self::Url { url, topic: None } => format!("{{ url = {} }}", quoted(&url.to_string())),
            Self::Url {
                url,
                topic: Some(topic),
            } => {
                let url = quoted(&url.to_string());
                format!("{{ url = {url}, topic = {} }}", quoted(topic))
            }
        })
    }

    fn schema() -> serde_json::Value {
        json!({
            "type": "object",
            "properties": {
                "store": String::schema(),
                "bridge": String::schema(),
                "url": BrokerUrl::schema(),
                "topic": String::schema(),
            },
            "additionalProperties": false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_as_they_are_written() {
        for (text, expected, is_session) in [
            ("ws://h:8080/x", "ws://h:8080/x", false),
            ("ws://h", "ws://h:80", false),
            ("wss://h/x/y", "wss://h:443/x/y", false),
            ("wss://[::1]/x", "wss://[::1]:443/x", false),
            ("vstp://h:9090", "vstp://h:9090", true),
            ("vstp+tls://h:9090", "vstp+tls://h:9090", true),
            ("vstp+ws://h:80/vstp", "vstp+ws://h:80/vstp", true),
        ] {
            let url = BrokerUrl::parse(text).expect(text);
            assert_eq!(
                (url.to_string().as_str(), url.is_session()),
                (expected, is_session)
            );
        }
        for text in [
            "",
            "h:80",
            "http://h:80",
            "vstp://h",
            "vstp+http://h:80",
            "mqtt://h:1883",
        ] {
            assert!(BrokerUrl::parse(text).is_err(), "{text}");
        }
    }

    fn read(text: &str) -> Result<ChannelMember, String> {
        let mut reader = super::super::section::SectionReader::default();
        let root = reader.parse(&format!("x = {text}"));
        let Value::Table(entries) = &root.value else {
            panic!("a table");
        };
        ChannelMember::read(&entries[0].node.value)
    }

    #[test]
    fn a_broker_is_a_table_with_one_of_three_keys() {
        for text in [
            "{ store = \"main\" }",
            "{ bridge = \"plant\" }",
            "{ url = \"wss://h:443/x\" }",
            "{ url = \"ws://h:80\", topic = \"a.b\" }",
        ] {
            let member = read(text).expect(text);
            assert_eq!(member.written().as_deref(), Some(text));
        }
        for text in [
            "{}",
            "{ store = \"a\", bridge = \"b\" }",
            "{ store = \"a\", topic = \"b\" }",
            "{ stores = \"a\" }",
            "{ url = \"ws://h:80\", topic = \"a.*\" }",
            "7",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        assert_eq!(
            read("\"store main\""),
            Ok(ChannelMember::Store("main".to_owned()))
        );
    }
}
