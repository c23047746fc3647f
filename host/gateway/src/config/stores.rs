//! `[stores.NAME]`: a Redis, for key/value tables of plugins, for channels and for streams of events. Keys
//! and defaults are those of `postern_net::redis`.

use std::{collections::BTreeMap, time::Duration};

use postern_core::redis::{RedisLocation, RedisTopology};
use postern_net::redis::{RedisChannelsConfig, RedisConfig, RedisCredentials};

use super::{
    events::Topics,
    leaf::{Leaf, Secret},
    named::Named,
    section::{SectionReader, section},
    tls::UpstreamTls,
    value::Value,
};

section! {
    /// A Redis, and what it may be asked for.
    pub(crate) struct StoreSettings {
        /// Where it is: "redis://HOST:PORT/DATABASE", "rediss://…" over TLS, "unix:/PATH",
        /// "redis+cluster://HOST:PORT,HOST:PORT" or "redis+sentinel://HOST:PORT,HOST:PORT/SERVICE". Needed.
        pub url: Option<StoreUrl> = None;
        /// Its ACL user; where left out, "default".
        pub username: Option<String> = None;
        /// The user's password.
        pub password: Option<Secret> = None;
        /// ACL user of the sentinels.
        pub sentinel_username: Option<String> = None;
        /// The password of that user.
        pub sentinel_password: Option<Secret> = None;
        /// Number of the database, where `url` has none.
        pub database: Option<u32> = None, within "0" to "1000000";
        /// Connections of all kinds, to all nodes: a half is for commands, the other for subscribers and
        /// consumers, which wait on a connection of their own.
        pub connections_max: usize = 50, within "2" to "10000";
        /// Time to find, connect, encrypt and greet.
        pub connect_timeout: Duration = Duration::from_secs(2), within "10ms" to "10m";
        /// Time from a command to its reply. With `connect-timeout` it bounds every operation.
        pub response_timeout: Duration = Duration::from_secs(2), within "10ms" to "10m";
        /// Shortest pause after a connection failed.
        pub reconnect_min: Duration = Duration::from_millis(50), within "1ms" to "10m";
        /// Longest pause after connections failed often; operations are refused meanwhile.
        pub reconnect_max: Duration = Duration::from_secs(2), within "1ms" to "1h";
        /// How all keys begin that the gateway writes.
        pub key_prefix: String = "postern:".to_owned();
        /// Keys that one listing of a plugin's keys may look through, those of others in the same database
        /// included.
        pub scan_keys_max: u32 = 1_000_000, within "1000" to "1000000000";
        /// How long an event may lie with a gateway that gives no sign of life before another one takes it
        /// over.
        pub claim_idle: Duration = Duration::from_secs(30), within "100ms" to "24h";
        /// TLS of "rediss://…".
        pub tls: UpstreamTls = UpstreamTls::default();
        /// Its channels and the gateway's events.
        pub channels: StoreChannels = StoreChannels::default();
    }
}

section! {
    /// Which events go out to channels, and which come in from there.
    pub(crate) struct StoreChannels {
        /// Topics whose events are published to channels, such as "orders.>".
        pub publish: Vec<Topics> = Vec::new();
        /// Topics whose channels are subscribed to; what comes from there is published here.
        pub subscribe: Vec<Topics> = Vec::new();
        /// What stands before the topic in the name of a channel that is published to.
        pub publish_prefix: Option<String> = None;
        /// What stands before the topic in the name of a channel that is subscribed to.
        pub subscribe_prefix: Option<String> = None;
    }
}

section! {
    /// Where key/value tables lie.
    pub(crate) struct KvTable {
        /// A store of [stores.NAME] by its name; where left out, the gateway's own file.
        pub store: Option<String> = None;
        /// For how long such a store keeps what is set; where left out, until it is deleted.
        pub ttl: Option<Duration> = None, within "1ms" to "1000d";
    }
}

/// An address that `RedisLocation` takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoreUrl(pub RedisLocation);

impl Named for StoreSettings {}

impl StoreSettings {
    /// As the client wants it; none without an address.
    #[must_use]
    pub(crate) fn to_config(&self, name: &str) -> Option<RedisConfig> {
        let mut location = self.url.as_ref()?.0.clone();
        location.database = location.database.or(self.database);
        let secret = |secret: &Option<Secret>| secret.as_ref().map(|one| one.expose().to_owned());
        Some(RedisConfig {
            credentials: RedisCredentials {
                username: self.username.clone(),
                password: secret(&self.password),
            },
            sentinel_credentials: RedisCredentials {
                username: self.sentinel_username.clone(),
                password: secret(&self.sentinel_password),
            },
            connections_max: self.connections_max,
            connect_timeout: self.connect_timeout,
            response_timeout: self.response_timeout,
            reconnect_min: self.reconnect_min,
            reconnect_max: self.reconnect_max,
            key_prefix: self.key_prefix.clone(),
            scan_keys_max: self.scan_keys_max.into(),
            channels: RedisChannelsConfig {
                out_prefix: self.channels.publish_prefix.clone().unwrap_or_default(),
                in_prefix: self.channels.subscribe_prefix.clone().unwrap_or_default(),
            },
            ..RedisConfig::new(name, location)
        })
    }

    /// Adds faults for what contradicts, or is missing.
    fn check(&self, path: &str, reader: &mut SectionReader) {
        let key = |name: &str| format!("{path}.{name}");
        let Some(StoreUrl(location)) = &self.url else {
            let is_told = reader.faults.iter().any(|fault| fault.path == key("url"));
            if !is_told {
                let remedy = "add url = \"redis://HOST:PORT\"";
                reader.fault_of_table(path, "the key \"url\" is missing", remedy);
            }
            return;
        };
        let is_sentinel = matches!(location.topology, RedisTopology::Sentinel { .. });
        let is_cluster = matches!(location.topology, RedisTopology::Cluster(_));
        if location.database.is_some() && self.database.is_some() {
            let message = "the url names a database as well";
            reader.fault_of_key(&key("database"), message, "write one of the two");
        }
        if is_cluster && self.database.is_some_and(|database| database != 0) {
            let message = "a cluster has database 0 alone";
            reader.fault_of_key(&key("database"), message, "remove it");
        }
        for (name, password, what) in [
            ("username", "password", &self.username),
            (
                "sentinel-username",
                "sentinel-password",
                &self.sentinel_username,
            ),
        ] {
            let is_alone = what.is_some() && !reader.places.contains_key(&key(password));
            if is_alone {
                let message = format!("it means nothing without {password}");
                reader.fault_of_key(&key(name), message, format!("add {}", key(password)));
            }
        }
        for name in ["sentinel-username", "sentinel-password"] {
            if !is_sentinel && reader.places.contains_key(&key(name)) {
                let message = "only a url that begins with redis+sentinel has sentinels";
                reader.fault_of_key(&key(name), message, "remove it");
            }
        }
        self.check_tls(path, location.is_tls, reader);
        if self.reconnect_min > self.reconnect_max {
            let message = "it is above reconnect-max";
            reader.fault_of_key(&key("reconnect-min"), message, "change one of the two");
        }
    }

    fn check_tls(&self, path: &str, is_tls: bool, reader: &mut SectionReader) {
        let UpstreamTls {
            certificate_file,
            key_file,
            ..
        } = &self.tls;
        let pair = (certificate_file.is_some(), key_file.is_some());
        let lonely = match pair {
            (true, false) => Some(("certificate-file", "key-file")),
            (false, true) => Some(("key-file", "certificate-file")),
            (true, true) | (false, false) => None,
        };
        if let Some((written, missing)) = lonely {
            let message = format!("it means nothing without {missing}");
            let remedy = format!("add {path}.tls.{missing}");
            reader.fault_of_key(&format!("{path}.tls.{written}"), message, remedy);
        }
        let below = format!("{path}.tls.");
        let written: Vec<_> = reader
            .places
            .keys()
            .filter(|key| key.starts_with(&below))
            .cloned()
            .collect();
        if !is_tls {
            for key in written {
                let message = "the url is not encrypted";
                reader.fault_of_key(
                    &key,
                    message,
                    "write rediss:// in the place of redis://, or remove it",
                );
            }
        }
    }
}

/// Adds faults of all stores.
pub(crate) fn check_stores(stores: &BTreeMap<String, StoreSettings>, reader: &mut SectionReader) {
    for (name, store) in stores {
        store.check(&format!("stores.{name}"), reader);
    }
}

impl KvTable {
    /// Adds faults for a store that is not there, and for an expiry that nobody keeps. `path` is the table's.
    pub(crate) fn check(
        &self,
        path: &str,
        stores: &BTreeMap<String, StoreSettings>,
        reader: &mut SectionReader,
    ) {
        match &self.store {
            Some(name) if !stores.contains_key(name) => {
                let known: Vec<_> = stores.keys().map(String::as_str).collect();
                let remedy = match known.is_empty() {
                    true => format!("add [stores.{name}] to the configuration"),
                    false => format!("known here: {}", known.join(", ")),
                };
                let message = format!("no store is called {name:?}");
                reader.fault_of_key(&format!("{path}.store"), message, remedy);
            }
            None if self.ttl.is_some() => {
                let message = "the gateway's own store keeps values until they are deleted";
                let remedy = format!("add {path}.store with the name of a store of [stores.NAME]");
                reader.fault_of_key(&format!("{path}.ttl"), message, remedy);
            }
            Some(_) | None => {}
        }
    }
}

impl Leaf for StoreUrl {
    fn expected() -> String {
        "an address such as \"redis://127.0.0.1:6379\"".to_owned()
    }

    fn read(value: &Value) -> Result<Self, String> {
        let text = String::read(value)?;
        let location = text.parse::<RedisLocation>();
        // What it holds may be a password.
        location.map(Self).map_err(|error| error.to_string())
    }

    fn written(&self) -> Option<String> {
        self.0.to_string().written()
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({ "type": "string", "pattern": "^(rediss?(\\+cluster|\\+sentinel)?://|unix:)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn settings(text: &str) -> StoreSettings {
        let text = format!("[stores.main]\n{text}");
        let (config, _) = parse("f", &text, &BTreeMap::new()).expect("valid");
        config.stores["main"].clone()
    }

    fn check(text: &str, expected: &[&str]) {
        let text = format!("[stores.main]\n{text}");
        let faults = parse("f", &text, &BTreeMap::new()).expect_err("faults");
        let told: Vec<_> = faults.faults.iter().map(ToString::to_string).collect();
        assert_eq!(told, expected, "{text}");
    }

    #[test]
    fn the_defaults_are_those_of_the_client() {
        let settings = settings("url = \"redis://127.0.0.1\"");
        let location = "redis://127.0.0.1".parse().expect("an address");
        assert_eq!(
            settings.to_config("main"),
            Some(RedisConfig::new("main", location))
        );
    }

    #[test]
    fn every_key_reaches_the_client() {
        let settings = settings(
            "url = \"redis+sentinel://a,b/main\"\nusername = \"u\"\npassword = \"p\"\nsentinel-username = \"s\"\n\
             sentinel-password = \"q\"\ndatabase = 3\nconnections-max = 7\nconnect-timeout = \"1s\"\n\
             response-timeout = \"3s\"\nreconnect-min = \"2ms\"\nreconnect-max = \"9s\"\nkey-prefix = \"k:\"\n\
             scan-keys-max = 5000\n[stores.main.channels]\npublish-prefix = \"o:\"\nsubscribe-prefix = \"i:\"",
        );
        let config = settings.to_config("main").expect("an address");
        assert_eq!(config.location.database, Some(3));
        assert_eq!(config.credentials.password.as_deref(), Some("p"));
        assert_eq!(config.sentinel_credentials.username.as_deref(), Some("s"));
        assert_eq!((config.connections_max, config.scan_keys_max), (7, 5000));
        assert_eq!(config.operation_max(), Duration::from_secs(4));
        assert_eq!(config.reconnect_min, Duration::from_millis(2));
        assert_eq!(config.reconnect_max, Duration::from_secs(9));
        assert_eq!(
            (
                config.key_prefix.as_str(),
                config.channels.in_prefix.as_str()
            ),
            ("k:", "i:")
        );
        assert!(!format!("{config:?}").contains("\"p\""));
    }

    #[test]
    fn what_contradicts_is_told_at_its_key() {
        check(
            "username = \"u\"\npassword = \"p\"",
            &["stores.main: the key \"url\" is missing"],
        );
        check(
            "url = \"redis://user:secret@a\"",
            &["stores.main.url: it holds credentials; write the keys username and password"],
        );
        check(
            "url = \"redis://a/1\"\ndatabase = 2",
            &["stores.main.database: the url names a database as well"],
        );
        check(
            "url = \"redis+cluster://a\"\ndatabase = 2",
            &["stores.main.database: a cluster has database 0 alone"],
        );
        check(
            "url = \"redis://a\"\nusername = \"u\"",
            &["stores.main.username: it means nothing without password"],
        );
        check(
            "url = \"redis://a\"\nsentinel-password = \"u\"",
            &[
                "stores.main.sentinel-password: only a url that begins with redis+sentinel has sentinels",
            ],
        );
        check(
            "url = \"redis://a\"\ntls = { ca-files = [\"ca.pem\"] }",
            &["stores.main.tls.ca-files: the url is not encrypted"],
        );
        check(
            "url = \"rediss://a\"\ntls = { key-file = \"key.pem\" }",
            &["stores.main.tls.key-file: it means nothing without certificate-file"],
        );
        check(
            "url = \"redis://a\"\nreconnect-min = \"3s\"",
            &["stores.main.reconnect-min: it is above reconnect-max"],
        );
    }

    #[test]
    fn tables_lie_in_stores_that_are_there() {
        let faults = |text: &str| {
            let faults = parse("f", text, &BTreeMap::new()).expect_err("faults");
            faults
                .faults
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            faults("[plugins.kv]\nstore = \"other\""),
            ["plugins.kv.store: no store is called \"other\""]
        );
        assert_eq!(
            faults("[plugins.kv]\nttl = \"1h\""),
            ["plugins.kv.ttl: the gateway's own store keeps values until they are deleted"]
        );
    }
}
