//! Configuration: what is written becomes `Config`, which cannot be wrong, or all its faults at
//! once. Layers: defaults, the file, the environment (`POSTERN_CALLS_TIMEOUT` for `calls.timeout`).

mod acme;
mod address;
mod admission;
pub(crate) mod bridges;
mod broker_url;
mod callers;
pub(crate) mod canary;
mod channels;
mod compression;
mod consul;
mod cross;
mod directory;
mod documents;
mod environment;
mod events;
mod extensions;
mod fault;
mod forwarded;
mod grpc;
mod grpc_service_config;
pub(crate) mod hints;
mod http_grant;
mod inline;
pub(crate) mod leaf;
mod listener;
mod listener_transport;
pub(crate) mod manifest;
mod mqtt;
mod mqtt_topics;
mod named;
mod opaque_table;
mod pattern;
mod policy;
mod pool;
mod quantity;
mod redis;
mod render;
mod route_words;
pub(crate) mod routes;
pub(crate) mod section;
mod security;
mod service_grpc;
mod service_http;
mod service_velithon;
pub(crate) mod services;
mod settings;
mod sockets;
mod stores;
mod supply;
pub(crate) mod tls;
mod topics;
mod traps;
mod units;
pub(crate) mod value;
mod vyra;
pub(crate) mod web_routes;
mod websocket;
mod words;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io,
    path::{Path, PathBuf},
};

#[cfg(test)]
pub(crate) use self::{admission::Cors, directory::InstanceSettings, security::Timestamp};
pub(crate) use acme::{Acme, ChallengeKind, KeyType};
pub(crate) use address::{ListenAddress, UnixFile};
pub(crate) use admission::{HeaderEdits, HeaderRule, RateKey, RateLimit};
pub(crate) use broker_url::{BrokerUrl, ChannelMember};
pub(crate) use callers::CertificateCaller;
pub(crate) use canary::{Canary, CanaryMode, HeaderMatch};
pub(crate) use channels::{ChannelDeliveryWord, ChannelSettings};
pub(crate) use compression::ReplyCoding;
pub(crate) use consul::{Consul, ConsulCheck};
pub(crate) use cross::routes::hidden_route;
pub(crate) use directory::{DirectorySettings, PeerSettings, RegistrationMode};
pub(crate) use documents::DocumentPath;
pub(crate) use events::Topics;
pub(crate) use extensions::{Extension, Fail};
pub(crate) use fault::{ConfigFault, Faults};
pub(crate) use grpc::MessageCoding;
pub(crate) use hints::Hints;
#[cfg(test)]
pub(crate) use inline::Pairs;
pub(crate) use leaf::{Secret, is_host_name};
pub(crate) use listener::{Listener, Protocol};
pub(crate) use listener_transport::ListenerTransport;
pub(crate) use manifest::{Manifest, PayloadForm};
pub(crate) use mqtt::{Mqtt, MqttRule};
pub(crate) use mqtt_topics::{
    MqttRoutes, PermissionLevel, PermissionPiece, RouteLevel, TopicPermission, TopicRoute,
};
pub(crate) use opaque_table::OpaqueTable;
pub(crate) use pattern::{CallPattern, Wildcard};
pub(crate) use quantity::{quantities, quantity};
pub(crate) use redis::RedisSettings;
pub(crate) use render::sample;
pub use render::{manifest_schema, schema};
pub(crate) use security::{
    Algorithm, ApiKey, ApiKeys, Auth, AuthenticationMode, Authorization, Effect, Jwt, KeyHash, Rule,
};
pub(crate) use service_grpc::ServiceGrpc;
pub(crate) use service_http::ServiceHttp;
pub(crate) use service_velithon::ServiceVelithon;
pub(crate) use services::Service;
pub(crate) use settings::{AccessLog, Admin, Config, InstanceMode, Log, LogFormat};
pub(crate) use stores::{StoreChannels, StoreSettings};
#[cfg(test)]
pub(crate) use supply::SigningKey;
pub(crate) use supply::{Approval, SignatureSettings};
pub(crate) use topics::{LOCAL_STORE, TopicDelivery, TopicSettings};
pub(crate) use units::{Size, parse_duration};
pub(crate) use value::Provenance;
pub(crate) use vyra::{Vyra, VyraFunction, VyraKind, VyraPeer, VyraTransport};
pub(crate) use websocket::WebSocketPath;

use section::{Field, SectionReader};

/// A configuration and where it came from, so that it can be loaded again.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Loaded {
    pub config: Config,
    /// The file that was read; `None` when there was none and the defaults serve.
    pub file: Option<PathBuf>,
    /// Where each key was set, by its path. Keys with their defaults are absent.
    pub places: BTreeMap<String, Provenance>,
    /// What the file said.
    pub text: String,
    source: ConfigSource,
    /// Whether whoever calls develops what is called, and is told more (`postern dev`).
    pub is_development: bool,
}

/// Where a configuration is to be found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ConfigSource {
    /// A file that must be there.
    pub file: Option<PathBuf>,
    /// The environment. Only variables that begin with `POSTERN_` are looked at. What is not UTF-8
    /// in a value is a replacement character, which no key takes.
    pub environment: BTreeMap<String, String>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("cannot read {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Faults(#[from] Faults),
}

impl ConfigSource {
    /// The file given, and this process's environment.
    #[must_use]
    pub(crate) fn new(file: Option<PathBuf>) -> Self {
        Self {
            file,
            environment: own_variables(std::env::vars_os()),
        }
    }
}

/// The variables that may concern this gateway; all others are left alone, whatever octets they hold.
fn own_variables(
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> BTreeMap<String, String> {
    let text = |octets: OsString| octets.to_string_lossy().into_owned();
    let variables = variables.map(|(name, value)| (text(name), text(value)));
    variables
        .filter(|(name, _)| name.starts_with(environment::PREFIX))
        .collect()
}

impl ConfigSource {
    /// The file that is read if it is there.
    pub(crate) fn path(&self) -> &Path {
        match &self.file {
            Some(file) => file,
            None => Path::new(DEFAULT_FILE),
        }
    }

    fn read(&self, file: Option<PathBuf>, text: String) -> Result<Loaded, LoadError> {
        let name = self.path().display().to_string();
        let (config, places) = parse(&name, &text, &self.environment)?;
        Ok(Loaded {
            config,
            file,
            places,
            text,
            source: self.clone(),
            is_development: false,
        })
    }
}

impl Loaded {
    /// The same for whoever develops plugins.
    #[must_use]
    pub(crate) fn for_development(self) -> Self {
        Self {
            is_development: true,
            ..self
        }
    }

    /// What the same file and environment say once the file says `text`.
    ///
    /// # Errors
    /// `Faults` with everything that is wrong.
    pub(crate) fn with_text(&self, text: String) -> Result<Self, LoadError> {
        self.source.read(Some(self.source.path().to_owned()), text)
    }

    /// Variables that an orchestrator set for services called `postern...`, which are no keys.
    #[must_use]
    pub(crate) fn service_links(&self) -> Vec<&str> {
        environment::service_links(&self.source.environment)
    }

    /// The file to watch: the one that was read, or the one that would be read if it came to be.
    #[must_use]
    pub(crate) fn file_to_watch(&self) -> &Path {
        self.source.path()
    }
}

/// Reads defaults, file and environment into one configuration. Without a file given,
/// `postern.toml` is read if it is there.
///
/// # Errors
/// `Unreadable` when the file cannot be read, `Faults` with everything that is wrong.
pub(crate) fn load(source: &ConfigSource) -> Result<Loaded, LoadError> {
    let path = source.path();
    let (file, text) = match std::fs::read_to_string(path) {
        Ok(text) => (Some(path.to_owned()), text),
        Err(error) if error.kind() == io::ErrorKind::NotFound && source.file.is_none() => {
            (None, String::new())
        }
        Err(error) => {
            return Err(LoadError::Unreadable {
                path: path.to_owned(),
                source: error,
            });
        }
    };
    source.read(file, text)
}

/// Reads a text and an environment. Pure, but for files that keys name as parts of the configuration.
///
/// # Errors
/// Everything that is wrong, in the order of the text.
pub(crate) fn parse(
    name: &str,
    text: &str,
    environment: &BTreeMap<String, String>,
) -> Result<(Config, BTreeMap<String, Provenance>), Faults> {
    let mut config = Config::default();
    let mut reader = SectionReader::default();
    let root = reader.parse(text);
    config.merge(&root, "", None, &mut reader);
    environment::merge(environment, &mut config, &mut reader);
    cross::check(&config, &mut reader);
    if reader.faults.is_empty() {
        Ok((config, reader.places))
    } else {
        Err(Faults::new(name, text, reader.faults))
    }
}

/// Read when no file is given.
pub(crate) const DEFAULT_FILE: &str = "postern.toml";

#[cfg(test)]
mod tests;
