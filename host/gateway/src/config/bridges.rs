//! `[bridges.NAME]`: brokers of MQTT that topics go to and come from.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use postern_core::{
    Text, Transport,
    event::QueueBounds,
    mqtt::{MqttVersion, Qos, TopicFilter, check_name},
};
use postern_net::mqtt_client::{BrokerClientConfig, BrokerPassword, BrokerQueueFull, BrokerWill};
use serde_json::json;

use super::{
    Secret, Size,
    leaf::{Leaf, is_host_name, word_leaf},
    named::Named,
    section::section,
    tls::{LeastVersion, UpstreamTls},
    value::Value,
};

section! {
    /// One broker of MQTT, and what is exchanged with it.
    pub(crate) struct Bridge {
        /// Where it is: "mqtt://HOST:1883", "mqtts://HOST:8883", "ws://HOST:PORT/PATH", "wss://HOST:PORT/PATH"
        /// or "unix:/PATH". Needed.
        pub url: Option<BridgeUrl> = None;
        /// What is spoken: "5" or "3.1.1".
        pub version: BridgeVersion = BridgeVersion::V5;
        /// Under which name this gateway is known there; a new one at each start when left out. Two
        /// clients of one name end each other's connections.
        pub client_id: Option<String> = None;
        /// Shown to the broker.
        pub username: Option<String> = None;
        /// Shown to the broker.
        pub password: Option<Secret> = None;
        /// The file of the password, without the line's end; read for each connection.
        pub password_file: Option<PathBuf> = None;
        /// Longest silence of this gateway; 0s turns it off. The broker may ask for another.
        pub keep_alive: Duration = Duration::from_secs(60), within "0s" to "18h";
        /// Whether the broker forgets this gateway when the connection ends, with what waits for it.
        pub clean_session: bool = true;
        /// How long the broker remembers it otherwise. MQTT 5; one of 3.1.1 decides by itself.
        pub session_expiry: Duration = Duration::from_secs(24 * 3600), within "1s" to "36500d";
        /// TLS of "mqtts" and "wss".
        pub tls: BridgeTls = BridgeTls::default();
        /// What the broker publishes when this gateway is gone without a word.
        pub will: BridgeWillSettings = BridgeWillSettings::default();
        /// What is exchanged, by a name of your choice.
        pub topics: BTreeMap<String, BridgeTopic> = BTreeMap::new();
        /// Messages that wait for the broker, where their topics are not durable.
        pub queue_messages_max: usize = 10_000, within "1" to "10000000";
        /// Octets of these messages.
        pub queue_bytes_max: Size = Size::mib(64), within "64KiB" to "16GiB";
        /// What is lost when there is no room: "drop-oldest" or "drop-newest".
        pub when_full: BridgeWhenFull = BridgeWhenFull::DropOldest;
        /// Shortest pause after a connection failed.
        pub reconnect_min: Duration = Duration::from_millis(500), within "10ms" to "1h";
        /// Longest pause after connections failed often.
        pub reconnect_max: Duration = Duration::from_secs(30), within "10ms" to "24h";
        /// Time of one connection, from its beginning until the broker has taken it.
        pub connect_timeout: Duration = Duration::from_secs(10), within "100ms" to "10m";
        /// Time that the broker may take to acknowledge; then the connection counts as lost.
        pub ack_timeout: Duration = Duration::from_secs(30), within "100ms" to "1h";
        /// Messages with an acknowledgement that the broker may have under way to this gateway.
        pub receive_maximum: usize = 64, within "1" to "65535";
        /// Messages that this gateway has under way to the broker, which may allow fewer.
        pub in_flight_max: usize = 64, within "1" to "65535";
        /// Topics that go as numbers, in each direction. MQTT 5.
        pub topic_aliases_max: usize = 16, within "0" to "65535";
        /// Longest packet that is taken.
        pub packet_bytes_max: Size = Size::mib(2), within "1KiB" to "256MiB";
        /// Bridges that an event may have crossed. One that comes back to a gateway which it has passed is
        /// dropped in any case.
        pub hops_max: usize = 8, within "1" to "64";
    }
}

section! {
    /// How the broker is verified, and what it is shown. The files are followed.
    pub(crate) struct BridgeTls {
        /// Certificates of the authorities that it is verified by, in PEM. Those of the system when left
        /// empty.
        pub ca_files: Vec<PathBuf> = Vec::new();
        /// Shown to a broker that asks for a certificate, in PEM, with those that signed it.
        pub certificate_file: Option<PathBuf> = None;
        /// Its private key, in PEM.
        pub key_file: Option<PathBuf> = None;
        /// The name that the broker's certificate must bear; the host of `url` when left out.
        pub server_name: Option<String> = None;
        /// The least version of TLS: "1.2" or "1.3".
        pub version_min: LeastVersion = LeastVersion::Tls12;
    }
}

section! {
    /// The will; none without a topic.
    pub(crate) struct BridgeWillSettings {
        /// Where it is published, as MQTT writes it.
        pub topic: Option<String> = None;
        /// What is published; nothing when left out.
        pub payload: Option<String> = None;
        /// How often it may arrive: 0, 1 or 2.
        pub qos: QosSetting = QosSetting(Qos::AtMostOnce);
        /// Whether the broker keeps it for those who subscribe later.
        pub retain: bool = false;
        /// How long the broker waits with it. MQTT 5.
        pub delay: Duration = Duration::ZERO, within "0s" to "24h";
    }
}

section! {
    /// Topics that are exchanged. `local-prefix` and `remote-prefix` stand before what `filter` says, here and
    /// at the broker.
    pub(crate) struct BridgeTopic {
        /// Which topics, as MQTT writes it: "sensors/+/data", "orders/#". Needed.
        pub filter: Option<String> = None;
        /// "in" from the broker, "out" to it, "both".
        pub direction: BridgeDirection = BridgeDirection::In;
        /// What topics begin with here, as MQTT writes it: "site/7/".
        pub local_prefix: Option<String> = None;
        /// What they begin with at the broker.
        pub remote_prefix: Option<String> = None;
        /// How often a message may arrive, in both directions: 0, 1 or 2.
        pub qos: QosSetting = QosSetting(Qos::AtLeastOnce);
        /// What becomes of the retain flag: "keep" it goes along, "always" everything is retained at the
        /// broker, "never" nothing is.
        pub retain: RetainSetting = RetainSetting::Keep;
    }
}

/// Where a broker is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BridgeUrl {
    pub transport: Transport,
    /// As the table of dialers takes it.
    pub authority: String,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BridgeVersion {
    V3,
    V5,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BridgeWhenFull {
    DropOldest,
    DropNewest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BridgeDirection {
    In,
    Out,
    Both,
}

/// What becomes of the retain flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RetainSetting {
    Keep,
    Always,
    Never,
}

/// 0, 1 or 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct QosSetting(pub Qos);

word_leaf!(BridgeVersion { V3 = "3.1.1", V5 = "5" });
word_leaf!(BridgeWhenFull { DropOldest = "drop-oldest", DropNewest = "drop-newest" });
word_leaf!(BridgeDirection { In = "in", Out = "out", Both = "both" });
word_leaf!(RetainSetting { Keep = "keep", Always = "always", Never = "never" });

impl Named for Bridge {}
impl Named for BridgeTopic {}

impl BridgeDirection {
    #[must_use]
    pub(crate) const fn is_in(self) -> bool {
        matches!(self, Self::In | Self::Both)
    }

    #[must_use]
    pub(crate) const fn is_out(self) -> bool {
        matches!(self, Self::Out | Self::Both)
    }
}

impl BridgeTopic {
    /// What topics begin with, here and at the broker.
    pub(crate) fn prefixes(&self) -> (&str, &str) {
        (
            self.local_prefix.as_deref().unwrap_or_default(),
            self.remote_prefix.as_deref().unwrap_or_default(),
        )
    }

    /// The filters here and at the broker.
    ///
    /// # Errors
    /// Which of them is none, and why.
    pub(crate) fn filters(&self) -> Result<(TopicFilter, TopicFilter), String> {
        let filter = self.filter.as_deref().unwrap_or_default();
        let (local, remote) = self.prefixes();
        let joined = |prefix: &str| {
            let text = format!("{prefix}{filter}");
            TopicFilter::new(&text).map_err(|error| format!("{text:?} is no filter: {error}"))
        };
        Ok((joined(local)?, joined(remote)?))
    }
}

impl BridgeTls {
    /// As those of every other whom this gateway dials.
    #[must_use]
    pub(crate) fn to_upstream(&self) -> UpstreamTls {
        UpstreamTls {
            ca_files: self.ca_files.clone(),
            certificate_file: self.certificate_file.clone(),
            key_file: self.key_file.clone(),
            version_min: self.version_min,
        }
    }
}

impl Bridge {
    /// As the client wants it, but for its TLS. `client_id` is that of one which has none. A bridge
    /// without a URL is refused before.
    #[must_use]
    pub(crate) fn to_client(&self, client_id: &str) -> BrokerClientConfig {
        let count = |number: usize| u16::try_from(number).unwrap_or(u16::MAX);
        let url = self.url.as_ref();
        let client_id = self.client_id.as_deref().unwrap_or(client_id);
        let password = self.password.as_ref();
        let password = password.map(|one| BrokerPassword(one.expose().to_owned().into()));
        BrokerClientConfig {
            transport: url.map_or(Transport::Tcp, |url| url.transport),
            authority: url.map_or_else(Text::default, |url| url.authority.as_str().into()),
            server_name: self.tls.server_name.as_deref().map(Text::from),
            version: match self.version {
                BridgeVersion::V3 => MqttVersion::V3,
                BridgeVersion::V5 => MqttVersion::V5,
            },
            is_bridge: true,
            client_id: client_id.into(),
            user_name: self.username.as_deref().map(Text::from),
            password,
            keep_alive: self.keep_alive,
            is_clean: self.clean_session,
            session_expiry: self.session_expiry,
            will: self.will.to_client(),
            receive_maximum: count(self.receive_maximum),
            in_flight_max: count(self.in_flight_max),
            topic_aliases_max: count(self.topic_aliases_max),
            packet_bytes_max: u32::try_from(self.packet_bytes_max.octets()).unwrap_or(u32::MAX),
            connect_timeout: self.connect_timeout,
            ack_timeout: self.ack_timeout,
            back_off_min: self.reconnect_min,
            back_off_max: self.reconnect_max,
            ..BrokerClientConfig::default()
        }
    }

    /// What may wait for the broker.
    #[must_use]
    pub(crate) fn queue(&self) -> (QueueBounds, BrokerQueueFull) {
        let bounds = QueueBounds {
            events_max: self.queue_messages_max,
            bytes_max: self.queue_bytes_max.octets(),
        };
        let when_full = match self.when_full {
            BridgeWhenFull::DropOldest => BrokerQueueFull::DropOldest,
            BridgeWhenFull::DropNewest => BrokerQueueFull::DropNewest,
        };
        (bounds, when_full)
    }
}

impl BridgeWillSettings {
    fn to_client(&self) -> Option<BrokerWill> {
        let topic = self.topic.as_deref()?;
        Some(BrokerWill {
            topic: topic.into(),
            payload: self.payload.clone().unwrap_or_default().into(),
            qos: self.qos.0,
            is_retained: self.retain,
            delay: self.delay,
        })
    }
}

impl BridgeUrl {
    fn parse(text: &str) -> Option<Self> {
        let url = |transport, authority: &str| {
            Some(Self {
                transport,
                authority: authority.to_owned(),
                text: text.to_owned(),
            })
        };
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            path.parse::<postern_net::UnixAddress>().ok()?;
            return url(Transport::Unix, path);
        }
        let (scheme, rest) = text.split_once("://")?;
        let (transport, port, takes_path) = match scheme {
            "mqtt" => (Transport::Tcp, 1883, false),
            "mqtts" => (Transport::Tls, 8883, false),
            "ws" => (Transport::WebSocket, 80, true),
            "wss" => (Transport::SecureWebSocket, 443, true),
            _ => return None,
        };
        let at = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(at);
        let has_odd = path.contains(|c: char| c.is_whitespace() || c.is_control());
        if (!takes_path && !path.is_empty()) || has_odd {
            return None;
        }
        let with_port = match has_port(authority)? {
            true => authority.to_owned(),
            false => format!("{authority}:{port}"),
        };
        url(transport, &format!("{with_port}{path}"))
    }
}

impl fmt::Display for BridgeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whether an authority names a port; none where it is no authority.
fn has_port(authority: &str) -> Option<bool> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        Some(_) | None => (authority, None),
    };
    let is_ip = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .is_some_and(|host| host.parse::<std::net::Ipv6Addr>().is_ok());
    let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    ((is_ip || is_host_name(host)) && is_port).then_some(port.is_some())
}

impl Leaf for BridgeUrl {
    fn expected() -> String {
        "\"mqtt://HOST:PORT\", \"mqtts://HOST:PORT\", \"ws://HOST:PORT/PATH\", \"wss://HOST:PORT/PATH\" \
         or \"unix:/PATH\""
            .to_owned()
    }

    fn read(value: &Value) -> Result<Self, String> {
        let refused = || format!("{} is no address of a broker", value.shown());
        let text = value.as_text().ok_or_else(refused)?;
        Self::parse(text).ok_or_else(refused)
    }

    fn written(&self) -> Option<String> {
        self.text.written()
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "pattern": "^((mqtts?|wss?)://.+|unix:(//)?[/@].+)$" })
    }
}

impl Leaf for QosSetting {
    fn expected() -> String {
        "0, 1 or 2".to_owned()
    }

    fn read(value: &Value) -> Result<Self, String> {
        let number = u8::read(value)?;
        let qos = Qos::from_bits(number);
        qos.map(Self)
            .ok_or_else(|| format!("{number} is no quality of service"))
    }

    fn written(&self) -> Option<String> {
        self.0.bits().written()
    }

    fn schema() -> serde_json::Value {
        json!({ "enum": [0, 1, 2] })
    }
}

/// Whether a text may be the topic of a message.
pub(super) fn topic_fault(topic: &str) -> Option<String> {
    let fault = check_name(topic).err()?;
    Some(format!("{topic:?} is no topic: {fault}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_transport_and_address() {
        let check = |text: &str, expected: Option<(Transport, &str)>| {
            let url = BridgeUrl::parse(text);
            let found = url
                .as_ref()
                .map(|url| (url.transport, url.authority.as_str()));
            assert_eq!(found, expected, "{text}");
        };
        check("mqtt://a.example", Some((Transport::Tcp, "a.example:1883")));
        check("mqtts://a:8884", Some((Transport::Tls, "a:8884")));
        check("mqtt://[::1]", Some((Transport::Tcp, "[::1]:1883")));
        check("mqtt://[::1]:9", Some((Transport::Tcp, "[::1]:9")));
        check("ws://a/mqtt", Some((Transport::WebSocket, "a:80/mqtt")));
        check(
            "wss://a:1/x/y",
            Some((Transport::SecureWebSocket, "a:1/x/y")),
        );
        check("unix:/run/m.sock", Some((Transport::Unix, "/run/m.sock")));
        for text in [
            "a:1883",
            "http://a:1",
            "mqtt://",
            "mqtt://a:0",
            "mqtt://a:x",
            "mqtt://a/path",
            "mqtt://user@a",
            "ws://a/ b",
            "unix:m.sock",
        ] {
            check(text, None);
        }
    }
}
