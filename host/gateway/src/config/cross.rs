//! What no key can say alone: addresses that collide, keys that contradict each other.

mod acme;
mod admission;
mod bridges;
mod callers;
mod channels;
mod consul;
pub(crate) mod routes;
mod security;
mod stores;
mod tls;
mod vyra;

use std::time::Duration;

use postern_core::Transport;
use postern_net::UnixAddress;

use super::{
    address::{ListenAddress, UnixFile},
    directory,
    documents::DocumentPath,
    fault::suggest,
    listener::{Listener, Protocol},
    section::SectionReader,
    settings::Config,
    stores::check_stores,
    supply,
    units::{Size, show_duration},
};

/// Adds a fault for each contradiction. Keys that are wrong by themselves have their defaults here,
/// so one mistake is told once.
pub(crate) fn check(config: &Config, reader: &mut SectionReader) {
    for (name, listener) in &config.listeners {
        check_listener(name, listener, reader);
    }
    check_unix("admin", &config.admin.address, &config.admin.unix, reader);
    check_addresses(config, reader);
    tls::check(config, reader);
    acme::check(config, reader);
    bridges::check(config, reader);
    security::check(&config.auth, reader);
    callers::check(config, reader);
    admission::check(config, reader);
    config.services.check(reader);
    routes::check(config, reader);
    check_stores(&config.stores, reader);
    config
        .plugins
        .kv
        .check("plugins.kv", &config.stores, reader);
    config.pool.check(reader);
    config.topics.check(reader);
    stores::check(config, reader);
    supply::check(config, reader);
    consul::check(config, reader);
    let calls = &config.calls;
    in_order(
        reader,
        ("calls.timeout", calls.timeout),
        ("calls.timeout-max", calls.timeout_max),
    );
    check_extensions(config, reader);
    check_directory(config, reader);
    channels::check(config, reader);
    vyra::check(config, reader);
}

/// An extension of a listener that nobody opens would see nothing.
fn check_extensions(config: &Config, reader: &mut SectionReader) {
    let known: Vec<_> = config.listeners.keys().map(String::as_str).collect();
    for (name, extension) in &config.extensions {
        let mut named = extension.listeners.iter();
        if let Some(unknown) = named.find(|name| !config.listeners.contains_key(*name)) {
            let remedy = match suggest(unknown, &known) {
                Some(similar) => format!("did you mean {similar:?}?"),
                None => format!("known here: {}", known.join(", ")),
            };
            let key = format!("extensions.{name}.listeners");
            reader.fault_of_key(&key, format!("no listener is called {unknown:?}"), remedy);
        }
    }
}

fn check_directory(config: &Config, reader: &mut SectionReader) {
    let settings = &config.directory;
    in_order(
        reader,
        ("directory.lease", settings.lease),
        ("directory.lease-max", settings.lease_max),
    );
    in_order(
        reader,
        ("directory.hold", settings.hold),
        ("directory.hold-max", settings.hold_max),
    );
    in_order(
        reader,
        ("directory.entries-reserved", settings.entries_reserved),
        ("directory.entries-max", settings.entries_max),
    );
    let n_instances = config.instances.len();
    for (key, most) in [
        (
            "directory.entries-per-owner-max",
            settings.entries_per_owner_max,
        ),
        ("directory.entries-max", settings.entries_max),
    ] {
        if n_instances > most {
            let message = format!("{n_instances} tables [instances.NAME] exceed {key} ({most})");
            reader.fault_of_key(key, message, "raise it, or remove instances");
        }
    }
    directory::check(&config.peers, &config.instances, reader);
}

fn check_documents(path: &str, listener: &Listener, reader: &mut SectionReader) {
    let documents = &listener.documents;
    if documents.contains(&DocumentPath::Docs) && !documents.contains(&DocumentPath::OpenApi) {
        let key = format!("{path}.documents");
        let message = "/docs shows what /openapi.json says, which is not served";
        reader.fault_of_key(&key, message, "add \"/openapi.json\", or remove \"/docs\"");
    }
}

fn check_listener(name: &str, listener: &Listener, reader: &mut SectionReader) {
    let path = format!("listeners.{name}");
    if !Listener::is_built_in(name) {
        for key in ["protocol", "address"] {
            require(reader, &path, key);
        }
    }
    for (key, speakers) in KEYS_OF_SOME {
        if !speakers.contains(&listener.protocol) {
            refuse_foreign(reader, &format!("{path}.{key}"), speakers);
        }
    }
    if listener.transports.is_empty() {
        let key = format!("{path}.transports");
        let remedy = "write [\"tcp\"], [\"udp\"] or both";
        reader.fault_of_key(&key, "no transport is left", remedy);
    }
    check_documents(&path, listener, reader);
    check_quic(&path, listener, reader);
    check_unix(&path, &listener.address, &listener.unix, reader);
    check_unix_transports(&path, listener, reader);
    let key = |name: &str| format!("{path}.{name}");
    check_proxies(&path, listener, reader);
    let udp = &listener.udp;
    in_order(
        reader,
        (&key("udp.retry-delay"), udp.retry_delay),
        (&key("udp.max-retry-delay"), udp.max_retry_delay),
    );
    if listener.protocol == Protocol::Vstp {
        in_order(
            reader,
            (&key("keep-alive"), listener.keep_alive),
            (&key("idle-timeout"), listener.idle_timeout),
        );
    }
    let limits = &listener.limits;
    in_order(
        reader,
        (
            &key("limits.reassembly-bytes-per-peer-max"),
            limits.reassembly_bytes_per_peer_max,
        ),
        (
            &key("limits.reassembly-bytes-max"),
            limits.reassembly_bytes_max,
        ),
    );
    in_order(
        reader,
        (
            &key("limits.reassembly-sessions-per-peer-max"),
            limits.reassembly_sessions_per_peer_max,
        ),
        (
            &key("limits.reassembly-sessions-max"),
            limits.reassembly_sessions_max,
        ),
    );
}

/// Who may say for whom it connects, and where that can be said.
fn check_proxies(path: &str, listener: &Listener, reader: &mut SectionReader) {
    let key = |name: &str| format!("{path}.{name}");
    let trusted = &listener.forwarded.trusted;
    if listener.proxy_protocol && trusted.is_empty() {
        reader.fault_of_key(
            &key("proxy-protocol"),
            "no proxy is trusted to say for whom it connects",
            format!("write forwarded.trusted = [\"10.0.0.0/8\"] with the addresses of your proxies below [{path}]"),
        );
    }
    if listener.protocol.is_http() {
        return;
    }
    if !trusted.is_empty() && !listener.proxy_protocol {
        reader.fault_of_key(
            &key("forwarded.trusted"),
            "outside of HTTP a proxy says for whom it connects by the PROXY protocol alone",
            format!("write proxy-protocol = true below [{path}], or remove it"),
        );
    }
    let is_of_streams =
        listener.address.is_unix() || listener.transports.iter().any(|one| !one.0.has_datagrams());
    if listener.proxy_protocol && !is_of_streams {
        reader.fault_of_key(
            &key("proxy-protocol"),
            "udp and quic begin with no header of the PROXY protocol",
            "add \"tcp\" to transports, or remove it",
        );
    }
}

/// QUIC proves itself by TLS, has its port alone, and asks for a sign of life before it gives up.
fn check_quic(path: &str, listener: &Listener, reader: &mut SectionReader) {
    let has = |wanted| listener.transports.iter().any(|one| one.0 == wanted);
    let transports = format!("{path}.transports");
    if has(Transport::Quic) && !listener.tls.is_on() {
        let remedy = format!("add certificate-file and key-file below [{path}.tls], or acme");
        reader.fault_of_key(&transports, "quic needs a certificate", remedy);
    }
    if has(Transport::Quic) && has(Transport::Udp) {
        let message = "udp and quic cannot share a port";
        let remedy = "leave one out, or give it a listener of its own";
        reader.fault_of_key(&transports, message, remedy);
    }
    let (keep_alive, idle_timeout) = (listener.quic.keep_alive, listener.quic.idle_timeout);
    if keep_alive >= idle_timeout {
        let [keep_alive, idle_timeout] = [keep_alive, idle_timeout].map(show_duration);
        let [small, large] = ["keep-alive", "idle-timeout"].map(|key| format!("{path}.quic.{key}"));
        let (key, message) = match reader.places.contains_key(&small) {
            true => (
                &small,
                format!("{keep_alive} is not below {large} ({idle_timeout})"),
            ),
            false => (
                &large,
                format!("{idle_timeout} is not above {small} ({keep_alive})"),
            ),
        };
        let remedy = "the connection would end before it is asked for a sign of life";
        reader.fault_of_key(key, message, remedy);
    }
}

fn check_unix_transports(path: &str, listener: &Listener, reader: &mut SectionReader) {
    let transports = format!("{path}.transports");
    let is_written = reader.places.contains_key(&transports);
    if matches!(listener.address, ListenAddress::Unix(_)) && is_written {
        let message = "a Unix socket carries VSTP as it is";
        let remedy = "remove it, or write an address with a port";
        reader.fault_of_key(&transports, message, remedy);
    }
}

/// Only a socket that this gateway binds has a file of its own.
fn check_unix(path: &str, address: &ListenAddress, file: &UnixFile, reader: &mut SectionReader) {
    if matches!(address, ListenAddress::Unix(UnixAddress::Path(_))) || *file == UnixFile::default()
    {
        return;
    }
    for key in ["mode", "owner"].map(|key| format!("{path}.unix.{key}")) {
        if reader.places.contains_key(&key) {
            let message = format!("{address} has no file");
            reader.fault_of_key(
                &key,
                message,
                "remove it, or write address = \"unix:/PATH\"",
            );
        }
    }
}

/// A listener of a name of its own says what it is.
fn require(reader: &mut SectionReader, path: &str, key: &str) {
    if reader.places.contains_key(&format!("{path}.{key}")) {
        return;
    }
    let remedy = match key {
        "protocol" => {
            "add protocol = \"vstp\", \"http\", \"grpc\", \"mqtt\", \"redis\" or \"velithon\""
        }
        _ => "add address = \"127.0.0.1:PORT\"",
    };
    reader.fault_of_table(path, format!("the key \"{key}\" is missing"), remedy);
}

/// Keys of other protocols would be ignored silently.
fn refuse_foreign(reader: &mut SectionReader, key: &str, speakers: &[Protocol]) {
    let below = format!("{key}.");
    let written = |path: &&String| *path == key || path.starts_with(&below);
    let keys: Vec<_> = reader.places.keys().filter(written).cloned().collect();
    let names: Vec<_> = speakers.iter().map(|speaker| speaker.name()).collect();
    let (spoken, first) = (
        names.join(" or "),
        names.first().copied().unwrap_or_default(),
    );
    for key in keys {
        let message = format!("only a listener that speaks {spoken} has this key");
        let remedy = format!("remove it, or write protocol = \"{first}\"");
        reader.fault_of_key(&key, message, remedy);
    }
}

/// Two listeners at one address: the second could not be opened.
fn check_addresses(config: &Config, reader: &mut SectionReader) {
    let mut listeners: Vec<(String, &ListenAddress, Transport)> = Vec::new();
    for (name, listener) in config
        .listeners
        .iter()
        .filter(|(_, listener)| listener.enabled)
    {
        let transports = match listener.protocol {
            Protocol::Http | Protocol::Grpc | Protocol::Velithon => vec![Transport::Tcp],
            Protocol::Vstp | Protocol::Mqtt | Protocol::Redis
                if matches!(listener.address, ListenAddress::Unix(_)) =>
            {
                vec![Transport::Unix]
            }
            Protocol::Mqtt | Protocol::Redis => vec![Transport::Tcp],
            Protocol::Vstp => listener.transports.iter().map(|one| one.0).collect(),
        };
        let key = format!("listeners.{name}.address");
        listeners.extend(
            transports
                .into_iter()
                .map(|transport| (key.clone(), &listener.address, transport)),
        );
    }
    if config.admin.enabled {
        listeners.push((
            "admin.address".to_owned(),
            &config.admin.address,
            Transport::Tcp,
        ));
    }
    for (idx, (key, address, transport)) in listeners.iter().enumerate() {
        let earlier = listeners.iter().take(idx);
        let mut others = earlier.filter(|(other, taken, by)| {
            let is_same_kind = by.has_datagrams() == transport.has_datagrams();
            other != key && is_same_kind && address.collides_with(taken)
        });
        let Some((other, taken, by)) = others.next() else {
            continue;
        };
        // Told at the key that somebody wrote; the other may be a default.
        let (key, other, by) = match reader.places.contains_key(key) {
            true => (key, other, by),
            false => (other, key, transport),
        };
        let message = format!("{address} is taken by {other} ({taken}, {by})");
        reader.fault_of_key(
            key,
            message,
            "choose another address, or disable one of the two",
        );
    }
}

/// Keys that only some listeners have, with what those speak.
const KEYS_OF_SOME: [(&str, &[Protocol]); 26] = [
    ("transports", VSTP),
    ("default-service", OF_CALLS),
    ("calls-in-flight-max", OF_CALLS),
    ("keep-alive", VSTP),
    ("idle-timeout", NOT_MQTT),
    ("udp", VSTP),
    ("quic", VSTP),
    ("limits", VSTP),
    ("redis", REDIS),
    ("header-timeout", OVER_HTTP),
    (
        "body-timeout",
        &[Protocol::Http, Protocol::Grpc, Protocol::Velithon],
    ),
    ("velithon", &[Protocol::Velithon]),
    ("streams-max", OVER_HTTP),
    ("forwarded.accept", OVER_HTTP),
    ("forwarded.send", HTTP),
    ("hosts", OVER_HTTP),
    ("cors", OVER_HTTP),
    ("compression.encodings", HTTP),
    ("compression.bytes-min", HTTP),
    ("compression.ratio-max", OVER_HTTP),
    ("documents", HTTP),
    ("websocket", HTTP),
    ("grpc", OVER_HTTP),
    ("http2", OVER_HTTP),
    ("connection-age-max", OVER_HTTP),
    ("connection-age-grace", OVER_HTTP),
];
const VSTP: &[Protocol] = &[Protocol::Vstp];
const REDIS: &[Protocol] = &[Protocol::Redis];
const OF_CALLS: &[Protocol] = &[Protocol::Vstp, Protocol::Redis, Protocol::Velithon];
const HTTP: &[Protocol] = &[Protocol::Http];
const OVER_HTTP: &[Protocol] = &[Protocol::Http, Protocol::Grpc];
/// Clients of MQTT say for how long they may be silent; `mqtt.keep-alive-max` bounds it.
const NOT_MQTT: &[Protocol] = &[
    Protocol::Vstp,
    Protocol::Http,
    Protocol::Grpc,
    Protocol::Redis,
    Protocol::Velithon,
];

/// Whether a listener that speaks `protocol` refuses `key`, which is a path below its table.
pub(crate) fn is_foreign_key(protocol: &str, key: &str) -> bool {
    let protocol = Protocol::ALL.into_iter().find(|one| one.name() == protocol);
    let is_of = |own: &str| {
        let rest = key.strip_prefix(own);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    protocol.is_some_and(|protocol| {
        let mut keys = KEYS_OF_SOME.iter();
        keys.any(|(own, speakers)| is_of(own) && !speakers.contains(&protocol))
    })
}

/// A bound that can be compared and shown.
trait Amount: PartialOrd {
    fn shown(&self) -> String;
}

impl Amount for Duration {
    fn shown(&self) -> String {
        show_duration(*self)
    }
}

impl Amount for Size {
    fn shown(&self) -> String {
        self.to_string()
    }
}

impl Amount for usize {
    fn shown(&self) -> String {
        self.to_string()
    }
}

fn in_order<A: Amount>(reader: &mut SectionReader, small: (&str, A), large: (&str, A)) {
    if small.1 <= large.1 {
        return;
    }
    let (at, message) = match reader.places.contains_key(small.0) {
        true => (
            small.0,
            format!(
                "{} is above {} ({})",
                small.1.shown(),
                large.0,
                large.1.shown()
            ),
        ),
        false => (
            large.0,
            format!(
                "{} is below {} ({})",
                large.1.shown(),
                small.0,
                small.1.shown()
            ),
        ),
    };
    let remedy = format!("{} must not exceed {}", small.0, large.0);
    reader.fault_of_key(at, message, remedy);
}
