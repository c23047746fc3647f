//! Keys of the directory: `[directory]`, and by name `[peers.NAME]` and `[instances.NAME]`.

use std::{collections::BTreeMap, time::Duration};

use postern_core::{
    Text, Transport,
    registry::{
        Address, DirectoryConfig, Draft, Entry, EntryError, HealthConfig, Number,
        ParamValue as Param, Params, Version, entry,
    },
    service::MethodInfo,
    transport::AddressForm,
};
use postern_net::dial;

use super::{
    fault::ConfigFault,
    leaf::{Leaf, Secret, word_leaf},
    named::Named,
    section::{Bounds, Field, SectionReader, Shape, join, section},
    value::{Node, Value},
};

section! {
    /// Who can answer for which service, and who may say so.
    pub(crate) struct DirectorySettings {
        /// This gateway's name. It stands before the names of what its plugins answer for, so that
        /// operators of several gateways can tell them apart.
        pub name: Option<String> = None;
        /// Zone of this gateway, for balancers that prefer what is near.
        pub zone: Option<String> = None;
        /// Virtual networks of what the plugins answer for.
        pub vnets: Vec<String> = Vec::new();
        /// Addresses at which others reach this gateway, such as "tcp://edge.example:9090". Those of
        /// its listeners when left empty.
        pub advertise: Vec<Address> = Vec::new();
        /// Who may register instances over the network: "off" nobody, "authenticated" whom an
        /// authenticator knows, "open" everybody.
        pub registration: RegistrationMode = RegistrationMode::Off;
        /// Roles of which a provider needs one to register. Empty: none is needed.
        pub registration_roles: Vec<String> = Vec::new();
        /// Role of gateways that watch this one. Who has it sees entries whatever their permissions.
        pub peer_role: String = "peer".to_owned();
        /// Lease of a registration that asks for none. A provider renews every third of it.
        pub lease: Duration = Duration::from_secs(60), within "1s" to "24h";
        /// The longest lease that a provider may ask for; longer ones are cut to it.
        pub lease_max: Duration = Duration::from_secs(3600), within "1s" to "24h";
        /// Below this share of live instances, in percent, all are used. 0 never.
        pub panic_percent: u8 = 50, within "0" to "100";
        /// How often each remote instance is asked for a sign of life.
        pub probe_interval: Duration = Duration::from_secs(30), within "100ms" to "1h";
        /// How often one that is down is asked.
        pub probe_down_interval: Duration = Duration::from_secs(5), within "100ms" to "1h";
        /// Time for the answer.
        pub probe_timeout: Duration = Duration::from_secs(5), within "10ms" to "1m";
        /// Instances that are asked at one time.
        pub probe_concurrency: usize = 64, within "1" to "10000";
        /// Failures in a row, of probes or of calls, after which an instance is down.
        pub failure_threshold: u32 = 3, within "1" to "1000";
        /// Successful probes in a row after which it is up.
        pub recovery_threshold: u32 = 2, within "1" to "1000";
        /// An instance that was up this long flaps no more.
        pub flap_window: Duration = Duration::from_secs(300), within "0s" to "24h";
        /// How much longer an instance stays down each time it flaps.
        pub hold: Duration = Duration::from_secs(30), within "0s" to "24h";
        /// The longest time that flapping keeps an instance down.
        pub hold_max: Duration = Duration::from_secs(300), within "0s" to "24h";
        /// How long what a peer told is used after the peer was lost.
        pub peer_grace: Duration = Duration::from_secs(60), within "0s" to "24h";
        /// Time beyond that for a peer that is back to tell what it has.
        pub peer_sync: Duration = Duration::from_secs(10), within "0s" to "24h";
        /// How long a peer is given to tell of a change before it is asked again. A peer that does not
        /// answer within 5s more is lost.
        pub peer_wait: Duration = Duration::from_secs(10), within "100ms" to "1m";
        /// The longest wait before a peer that cannot be reached is tried again; the first is 250ms.
        pub peer_retry_max: Duration = Duration::from_secs(10), within "250ms" to "10m";
        /// Entries of all owners.
        pub entries_max: usize = 10_000, within "1" to "1000000";
        /// Of these, kept free for plugins and the configuration.
        pub entries_reserved: usize = 1_000, within "0" to "1000000";
        /// Entries of one plugin, of the configuration, of one provider.
        pub entries_per_owner_max: usize = 1_000, within "1" to "1000000";
        /// Entries of one peer.
        pub entries_per_peer_max: usize = 5_000, within "1" to "1000000";
        /// Changes kept for watchers; who was away for more fetches a new picture.
        pub history_max: usize = 4_096, within "1" to "1000000";
        /// Callers that watch at one time; one more is refused.
        pub watchers_max: usize = 1_000, within "1" to "1000000";
    }
}

section! {
    /// Another gateway, whose own entries this one learns.
    pub(crate) struct PeerSettings {
        /// Where its VSTP listener is: "tls://HOST:PORT", "tcp://HOST:PORT", "udp://HOST:PORT" or
        /// "unix:///PATH". Needed.
        pub address: Option<Address> = None;
        /// Whether it is followed at all.
        pub enabled: bool = true;
        /// Sent as `authorization: Bearer TOKEN`, so that the peer knows who asks.
        pub token: Option<Secret> = None;
        /// Virtual networks from which entries are taken. Empty: all.
        pub vnets: Vec<String> = Vec::new();
    }
}

section! {
    /// A remote instance that the operator knows of.
    pub(crate) struct InstanceSettings {
        /// The service that it answers for. Needed.
        pub service: Option<String> = None;
        /// Where it is: at most one of "tcp://HOST:PORT", "tls://…", "udp://…", "quic://…", "ws://…",
        /// "wss://…", "http://…", "https://…", "grpc://…", "grpcs://…", "velithon://…", "velithons://…" and
        /// "unix:/PATH" each, the preferred first. Sessions come before gRPC, gRPC before velithon, and that
        /// before requests of HTTP. A socket of this machine is "http://unix:/PATH", "grpc://unix:/PATH" or
        /// "velithon://unix:/PATH" there; "@NAME" may stand for a path. Needed.
        pub addresses: Vec<Address> = Vec::new();
        /// Its semantic version.
        pub version: Option<Version> = None;
        /// What of the service it is responsible for, such as { ccy = "USD" }.
        pub params: ParamTable = ParamTable::default();
        /// Virtual networks that it is in.
        pub vnets: Vec<String> = Vec::new();
        /// A caller needs one of these roles to see or use it. Empty: everybody may.
        pub permissions: Vec<String> = Vec::new();
        /// Share of calls beside others. 0 is drained.
        pub weight: u32 = entry::WEIGHT_DEFAULT, within "0" to "10000";
        /// Where it is, for balancers that prefer what is near.
        pub zone: Option<String> = None;
        /// Pairs of texts by which callers may choose, such as { track = "canary" }.
        pub metadata: PairTable = PairTable::default();
        /// Methods that may be called again after a failure.
        pub idempotent: Vec<String> = Vec::new();
    }
}

impl Named for PeerSettings {}

impl Named for InstanceSettings {}

/// Who may register instances over the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RegistrationMode {
    Off,
    Authenticated,
    Open,
}

/// A free table of parameters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ParamTable(pub Params);

/// A free table of texts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct PairTable(pub BTreeMap<Text, Text>);

word_leaf!(RegistrationMode { Off = "off", Authenticated = "authenticated", Open = "open" });

impl DirectorySettings {
    /// The part that the pure directory takes.
    #[must_use]
    pub(crate) fn to_core(&self) -> DirectoryConfig {
        DirectoryConfig {
            entries_max: self.entries_max,
            entries_reserved: self.entries_reserved,
            entries_per_owner_max: self.entries_per_owner_max,
            entries_per_peer_max: self.entries_per_peer_max,
            history_max: self.history_max,
            peer_grace: self.peer_grace,
            peer_sync: self.peer_sync,
            panic_percent: self.panic_percent,
            health: HealthConfig {
                failure_threshold: self.failure_threshold,
                recovery_threshold: self.recovery_threshold,
                flap_window: self.flap_window,
                hold: self.hold,
                hold_max: self.hold_max,
            },
        }
    }
}

impl InstanceSettings {
    /// The entry of the instance called `name`.
    ///
    /// # Errors
    /// The first bound of an entry that it exceeds.
    pub(crate) fn entry(&self, name: &str) -> Result<Entry, EntryError> {
        let texts = |list: &[String]| list.iter().map(|text| Text::from(text.as_str())).collect();
        let service = self.service.as_deref().unwrap_or_default();
        let methods = self.idempotent.iter();
        let methods = methods.map(|name| MethodInfo::new(name.as_str(), true));
        Entry::new(&Draft {
            version: self.version.clone(),
            addresses: self.addresses.clone(),
            params: self.params.0.clone(),
            vnets: texts(&self.vnets),
            permissions: texts(&self.permissions).into_iter().collect(),
            weight: self.weight,
            zone: self.zone.as_deref().map(Text::from),
            metadata: self.metadata.0.clone(),
            methods: (!self.idempotent.is_empty()).then(|| methods.collect()),
            ..Draft::new(name, service)
        })
    }
}

/// Adds a fault for each thing that no key of these tables can say alone.
pub(super) fn check(
    peers: &BTreeMap<String, PeerSettings>,
    instances: &BTreeMap<String, InstanceSettings>,
    reader: &mut SectionReader,
) {
    for (name, peer) in peers {
        let path = format!("peers.{name}");
        let Some(address) = &peer.address else {
            require(reader, &path, "address", "\"tcp://HOST:9090\"");
            continue;
        };
        check_dialled(
            std::slice::from_ref(address),
            &join(&path, "address"),
            reader,
        );
    }
    for (name, instance) in instances {
        let path = format!("instances.{name}");
        let n_faults = reader.faults.len();
        if instance.service.is_none() {
            require(reader, &path, "service", "\"SERVICE\"");
        }
        if instance.addresses.is_empty() {
            require(reader, &path, "addresses", "[\"tcp://HOST:PORT\"]");
        }
        if let Err(undialled) = dial::check_all(&instance.addresses) {
            let remedy = format!("write {}", examples(dial::all()));
            fault(
                reader,
                &join(&path, "addresses"),
                undialled.to_string(),
                &remedy,
            );
        }
        if reader.faults.len() > n_faults {
            continue;
        }
        if let Err(error) = instance.entry(name) {
            let key = join(&path, key_of(&error));
            let remedy = "see the bounds of an entry in host/docs/directory.md";
            fault(reader, &key, error.to_string(), remedy);
        }
    }
}

/// Adds a fault where this gateway can dial none of `addresses`. One that it can is enough: the others
/// are told to those who ask the directory.
fn check_dialled(addresses: &[Address], key: &str, reader: &mut SectionReader) {
    if let Err(undialled) = dial::check(addresses) {
        let remedy = format!("write {}", examples(dial::sessions()));
        fault(reader, key, undialled.to_string(), &remedy);
    }
}

/// How addresses that can be dialled are written.
fn examples(transports: impl Iterator<Item = Transport>) -> String {
    let examples = transports.map(|transport| match transport.form() {
        AddressForm::Path => format!("{transport}:///PATH"),
        AddressForm::HostPort
        | AddressForm::HostOrPath
        | AddressForm::Url
        | AddressForm::Unaddressed => format!("{transport}://HOST:PORT"),
    });
    examples.collect::<Vec<_>>().join(" or ")
}

/// The key that is at fault, as far as the fault says.
fn key_of(error: &EntryError) -> &'static str {
    match error {
        EntryError::Empty { what }
        | EntryError::TooLong { what, .. }
        | EntryError::Control { what }
        | EntryError::TooMany { what, .. } => match *what {
            "virtual network" | "virtual networks" => "vnets",
            "permission" | "permissions" => "permissions",
            "method" | "methods" | "description of a method" => "idempotent",
            "zone" => "zone",
            "service" => "service",
            "parameter" | "parameters" => "params",
            _ => "metadata",
        },
        EntryError::TooDeep { .. } => "params",
        EntryError::Address(_) | EntryError::TransportTwice { .. } => "addresses",
        EntryError::MethodTwice { .. } => "idempotent",
        EntryError::Weight { .. } => "weight",
        EntryError::TooLarge { .. } => "service",
    }
}

fn require(reader: &mut SectionReader, path: &str, key: &str, example: &str) {
    // A key that was written wrong has been told.
    if reader
        .faults
        .iter()
        .any(|fault| fault.path == join(path, key))
    {
        return;
    }
    let message = format!("the key \"{key}\" is missing");
    reader.fault_of_table(path, message, format!("add {key} = {example}"));
}

fn fault(reader: &mut SectionReader, key: &str, message: String, remedy: &str) {
    let table = key.rsplit_once('.').map_or("", |(table, _)| table);
    let place = reader.places.get(key).or_else(|| reader.tables.get(table));
    reader.faults.push(ConfigFault {
        path: key.to_owned(),
        place: place.cloned(),
        message,
        remedy: remedy.to_owned(),
    });
}

impl Leaf for Address {
    fn expected() -> String {
        "an address such as \"tcp://127.0.0.1:9090\"".to_owned()
    }

    fn read(value: &Value) -> Result<Self, String> {
        let text = value.as_text();
        let text = text.ok_or_else(|| format!("{} is not an address", value.shown()))?;
        Self::parse(text).map_err(|error| error.to_string())
    }

    fn written(&self) -> Option<String> {
        self.to_string().written()
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({ "type": "string", "pattern": pattern() })
    }
}

/// Of every transport that has addresses.
fn pattern() -> String {
    let of = |form| {
        let names: Vec<_> = Transport::addressed()
            .filter(|transport| transport.form() == form)
            .map(Transport::name)
            .collect();
        names.join("|")
    };
    let (hosts, paths) = (of(AddressForm::HostPort), of(AddressForm::Path));
    let (urls, either) = (of(AddressForm::Url), of(AddressForm::HostOrPath));
    format!(
        "^(({hosts}|{either})://.+:[0-9]+|({urls})://.+:[0-9]+(/.*)?|({either})://unix:[/@].+|({paths}):(//)?[/@].+)$"
    )
}

impl Leaf for Version {
    fn expected() -> String {
        "a semantic version such as \"1.2.3\"".to_owned()
    }

    fn read(value: &Value) -> Result<Self, String> {
        let text = value.as_text();
        let text = text.ok_or_else(|| format!("{} is not a version", value.shown()))?;
        Self::parse(text).map_err(|error| error.to_string())
    }

    fn written(&self) -> Option<String> {
        self.to_string().written()
    }

    fn schema() -> serde_json::Value {
        String::schema()
    }
}

impl Field for ParamTable {
    fn merge(&mut self, node: &Node, path: &str, _: Bounds, reader: &mut SectionReader) {
        reader.places.insert(path.to_owned(), node.place.clone());
        for entry in reader.entries(node, path).unwrap_or_default() {
            match param(&entry.node.value) {
                Ok(value) => {
                    self.0.insert(entry.key.as_str().into(), value);
                }
                Err(message) => {
                    let key = join(path, &entry.key);
                    let remedy = "write a text, a finite number, true, false, a list or a table";
                    reader.fault(&key, &entry.node.place, message, remedy);
                }
            }
        }
    }

    fn shape(&self, _: Bounds) -> Shape {
        Shape::Free
    }
}

impl Field for PairTable {
    fn merge(&mut self, node: &Node, path: &str, _: Bounds, reader: &mut SectionReader) {
        reader.places.insert(path.to_owned(), node.place.clone());
        for entry in reader.entries(node, path).unwrap_or_default() {
            match entry.node.value.as_text() {
                Some(text) => {
                    self.0.insert(entry.key.as_str().into(), text.into());
                }
                None => {
                    let key = join(path, &entry.key);
                    let message = format!("{} is not a text", entry.node.value.shown());
                    reader.fault(&key, &entry.node.place, message, "put it into quotes");
                }
            }
        }
    }

    fn shape(&self, _: Bounds) -> Shape {
        Shape::Free
    }
}

/// A parameter as TOML has it. TOML's nesting is bounded by its parser, a parameter's by its entry.
fn param(value: &Value) -> Result<Param, String> {
    Ok(match value {
        Value::Text(text) | Value::Untyped(text) => Param::Text(text.as_str().into()),
        Value::Integer(number) => Param::Number(Number::integer(*number)),
        Value::Boolean(boolean) => Param::Bool(*boolean),
        Value::Literal(literal) => {
            let number = literal.replace('_', "").parse().ok();
            let number = number.and_then(|number| Number::float(number).ok());
            let number = number.ok_or_else(|| format!("{literal} is not a finite number"))?;
            Param::Number(number)
        }
        Value::List(items) => {
            let items = items.iter().map(|item| param(&item.value));
            Param::List(items.collect::<Result<_, _>>()?)
        }
        Value::Table(entries) => {
            let pairs = entries.iter().map(|entry| {
                let value = param(&entry.node.value)?;
                Ok((Text::from(entry.key.as_str()), value))
            });
            Param::Map(pairs.collect::<Result<_, String>>()?)
        }
    })
}

#[cfg(test)]
mod tests;
