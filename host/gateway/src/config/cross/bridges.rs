//! What a bridge's keys cannot say alone.

use postern_core::Transport;

use super::{in_order, tls::check_pair};
use crate::config::{
    Config,
    bridges::{Bridge, BridgeTls, BridgeVersion, topic_fault},
    section::SectionReader,
};

pub(super) fn check(config: &Config, reader: &mut SectionReader) {
    for (name, bridge) in &config.bridges {
        let path = format!("bridges.{name}");
        check_bridge(&path, bridge, reader);
        check_tls(&path, bridge, reader);
        check_topics(&path, bridge, reader);
    }
}

fn check_bridge(path: &str, bridge: &Bridge, reader: &mut SectionReader) {
    if bridge.url.is_none() && !reader.places.contains_key(&format!("{path}.url")) {
        let remedy = "add url = \"mqtt://HOST:1883\"";
        reader.fault_of_table(path, "the key \"url\" is missing", remedy);
    }
    let key = |name: &str| format!("{path}.{name}");
    in_order(
        reader,
        (&key("reconnect-min"), bridge.reconnect_min),
        (&key("reconnect-max"), bridge.reconnect_max),
    );
    if !bridge.clean_session && bridge.client_id.is_none() {
        let message = "the broker remembers clients by their names, and this one has none";
        let remedy = format!("add {path}.client-id, another for each gateway");
        reader.fault_of_key(&key("clean-session"), message, remedy);
    }
    if let Some(client_id) = &bridge.client_id
        && client_id.len() > CLIENT_ID_BYTES_MAX
    {
        let found = client_id.len();
        let message = format!("{found} octets exceed the limit of {CLIENT_ID_BYTES_MAX}");
        reader.fault_of_key(&key("client-id"), message, "write a shorter name");
    }
    let has_password = bridge.password.is_some() || bridge.password_file.is_some();
    if bridge.password.is_some() && bridge.password_file.is_some() {
        let message = "password already says it";
        reader.fault_of_key(&key("password-file"), message, "remove one of the two");
    }
    // MQTT 3.1.1 section 3.1.2.9.
    if has_password && bridge.username.is_none() && bridge.version == BridgeVersion::V3 {
        let written = match bridge.password {
            Some(_) => "password",
            None => "password-file",
        };
        let message = "MQTT 3.1.1 has no password without a user name";
        reader.fault_of_key(&key(written), message, format!("add {path}.username"));
    }
    if bridge.clean_session && reader.places.contains_key(&key("session-expiry")) {
        let message = "the broker forgets a clean session at once";
        let remedy = format!("write {path}.clean-session = false");
        reader.fault_of_key(&key("session-expiry"), message, remedy);
    }
    check_will(path, bridge, reader);
}

fn check_will(path: &str, bridge: &Bridge, reader: &mut SectionReader) {
    let will = &bridge.will;
    if let Some(topic) = &will.topic {
        if let Some(fault) = topic_fault(topic) {
            let key = format!("{path}.will.topic");
            reader.fault_of_key(&key, fault, "write a topic such as \"gateways/1/gone\"");
        }
        return;
    }
    for key in ["payload", "qos", "retain", "delay"] {
        let key = format!("{path}.will.{key}");
        if reader.places.contains_key(&key) {
            let message = "it means nothing without a topic";
            reader.fault_of_key(&key, message, format!("add {path}.will.topic"));
        }
    }
}

fn check_tls(path: &str, bridge: &Bridge, reader: &mut SectionReader) {
    let tls = &bridge.tls;
    let table = format!("{path}.tls");
    let (certificate, key) = (tls.certificate_file.is_some(), tls.key_file.is_some());
    check_pair(&table, certificate, key, reader);
    let Some(url) = &bridge.url else { return };
    let is_secure = matches!(url.transport, Transport::Tls | Transport::SecureWebSocket);
    if *tls != BridgeTls::default() && !is_secure {
        let message = format!("{url} has no TLS, which [{table}] is about");
        let remedy = format!("write mqtts:// or wss://, or remove [{table}]");
        reader.fault_of_key(&format!("{path}.url"), message, remedy);
    }
}

fn check_topics(path: &str, bridge: &Bridge, reader: &mut SectionReader) {
    for (rule, topic) in &bridge.topics {
        let path = format!("{path}.topics.{rule}");
        if topic.filter.is_none() {
            let key = format!("{path}.filter");
            if !reader.places.contains_key(&key) {
                let remedy = "add filter = \"orders/#\"";
                reader.fault_of_table(&path, "the key \"filter\" is missing", remedy);
            }
            continue;
        }
        let (local, remote) = topic.prefixes();
        for (key, prefix) in [("local-prefix", local), ("remote-prefix", remote)] {
            if prefix.contains(['+', '#', '\0']) {
                let message = format!("{prefix:?} holds a wildcard, which stands for many topics");
                let remedy = "write wildcards in filter";
                reader.fault_of_key(&format!("{path}.{key}"), message, remedy);
            }
        }
        let fault = match topic.filters() {
            Err(fault) => Some(fault),
            Ok((local, _)) if local.as_str().starts_with("$share/") => {
                Some("shared subscriptions belong to the broker; local topics have none".to_owned())
            }
            Ok((local, _)) => local.patterns().err().map(|fault| fault.to_string()),
        };
        if let Some(fault) = fault {
            let remedy = "write a filter such as \"sensors/+/data\" or \"orders/#\"";
            reader.fault_of_key(&format!("{path}.filter"), fault, remedy);
        }
    }
}

/// MQTT section 1.5.3.
const CLIENT_ID_BYTES_MAX: usize = 65_535;
