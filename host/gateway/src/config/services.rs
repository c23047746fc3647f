//! `[services.NAME]`: how the calls of a service are spread and kept from failure.
//!
//! `[services.default]` holds for every service. What a manifest says of its own services comes over
//! it, and what `[services.NAME]` says over both.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

pub(crate) use super::words::{
    BalancerName, CallLimit, HashKey, KindName, NativeName, SplitBySetting, SubsetMode,
};
use super::{
    grpc_service_config::{self, GrpcServiceConfig},
    hints::Hints,
    inline::Pairs,
    section::{Bounds, Field, SectionReader, Shape, join, section},
    service_grpc::ServiceGrpc,
    service_http::ServiceHttp,
    service_velithon::ServiceVelithon,
    value::Node,
};

section! {
    /// One service, whoever answers for it.
    pub(crate) struct Service {
        /// Who picks an instance: "round-robin", "weighted", "least-connections", "p2c-ewma", "hash",
        /// "sticky", or "plugin:NAME".
        pub balancer: BalancerName = BalancerName::default();
        /// Who picks when the plugin does not.
        pub fallback_balancer: NativeName = NativeName::default();
        /// What keeps calls together for "hash", "sticky", plugins and split-by = "key": "peer",
        /// "principal", "service-method", "header:NAME" or "payload-field:NAME".
        pub hash_on: HashKey = HashKey::default();
        /// For "hash": what an instance bears at most, in percent of its share; 0 is no bound.
        pub load_factor: u32 = 125, within "0" to "10000";
        /// Weights by instance, over those of the directory; 0 stands by.
        pub weights: Pairs<u32> = Pairs::default();
        /// Whether instances in the gateway's own zone come first.
        pub zone_aware: bool = true;
        /// Share of the own zone's weight, in percent, under which calls leave it.
        pub zone_minimum: u8 = 70, within "0" to "100";
        /// Calls in flight per instance of the own zone from which calls leave it.
        pub zone_busy: u32 = 32, within "1" to "1000000";
        /// Time until a new instance has its full weight; 0s gives it at once.
        pub slow_start: Duration = Duration::ZERO, within "0s" to "24h";
        /// Shape of that rise: 1 is a line, more is faster at first.
        pub slow_start_aggression: f64 = 1.0, within "0.1" to "10";
        /// Share of calls by version, as in { "1" = 90, "2" = 10 }.
        pub split: Pairs<u32> = Pairs::default();
        /// "sequence" gives exact shares; "key" keeps a caller with one version.
        pub split_by: SplitBySetting = SplitBySetting::Sequence;
        /// Instances that a call wants: key of metadata and the header that has its value.
        pub subset_headers: Pairs<String> = Pairs::default();
        /// "prefer" takes others when none of those can be picked, "require" does not.
        pub subset_mode: SubsetMode = SubsetMode::Prefer;
        /// No call takes longer, whatever its caller allows.
        pub timeout: Option<Duration> = None, within "1ms" to "24h";
        /// Time of one try, to the beginning of its reply.
        pub per_try_timeout: Option<Duration> = None, within "1ms" to "24h";
        /// Methods that may be repeated, such as "Get*", beside those that describe themselves so.
        pub idempotent: Vec<String> = Vec::new();
        /// Trying again.
        pub retry: Retry = Retry::default();
        /// Breaker of each instance.
        pub breaker: Breaker = Breaker::default();
        /// Instances that do worse than the rest are taken out for a while.
        pub outlier: Outlier = Outlier::default();
        /// Calls under way at one time, and who waits.
        pub concurrency: Concurrency = Concurrency::default();
        /// A second try beside one that takes long, of methods that may be repeated.
        pub hedge: Hedge = Hedge::default();
        /// What answers when the service cannot.
        pub fallback: Fallback = Fallback::default();
        /// Instances at "http://HOST:PORT" and "https://HOST:PORT".
        pub http: ServiceHttp = ServiceHttp::default();
        /// Instances at "grpc://HOST:PORT", "grpcs://HOST:PORT" and "grpc://unix:/PATH".
        pub grpc: ServiceGrpc = ServiceGrpc::default();
        /// Instances at "velithon://HOST:PORT", "velithons://HOST:PORT" and "velithon://unix:/PATH".
        pub velithon: ServiceVelithon = ServiceVelithon::default();
        /// Files of protobuf that describe the service, such as "user.proto", or descriptor sets such as
        /// "user.binpb": callers may send JSON to instances at "grpc://…" then. What a file imports is
        /// looked for in its folder. Read with the configuration, and followed from then on.
        pub proto: Vec<PathBuf> = Vec::new();
        /// The standard service configuration of gRPC: the path of a JSON file, or a table. Its parts
        /// become keys of this service, which those written here come before; what would mean something
        /// else here is refused. Read with the configuration.
        pub grpc_service_config: GrpcServiceConfig = GrpcServiceConfig::default();
    }
}

section! {
    /// When and how often a failed call is tried again.
    pub(crate) struct Retry {
        /// Tries of one call, the first included; 1 never retries.
        pub attempts: u32 = 3, within "1" to "100";
        /// Longest wait before the second try.
        pub backoff_min: Duration = Duration::from_millis(25), within "0s" to "24h";
        /// How much longer the longest wait is from try to try.
        pub backoff_factor: f64 = 2.0, within "1" to "100";
        /// No wait is longer.
        pub backoff_max: Duration = Duration::from_secs(30), within "1ms" to "24h";
        /// Errors that are tried again, by kind; also "connection_error" and "timeout".
        pub kinds: Vec<KindName> = KindName::retried();
        /// Retries and hedges for each call of the window.
        pub budget_ratio: f64 = 0.2, within "0" to "10";
        /// Retries and hedges a second that are allowed at any traffic.
        pub budget_min: u32 = 10, within "0" to "1000000";
        /// How long a call counts for the budget.
        pub budget_window: Duration = Duration::from_secs(10), within "100ms" to "24h";
    }
}

section! {
    /// Stops calling an instance that keeps failing.
    pub(crate) struct Breaker {
        /// Whether there is one.
        pub enabled: bool = true;
        /// Failures in a row that open it.
        pub failure_threshold: u32 = 5, within "1" to "1000000";
        /// How long it stays open before it lets probes through.
        pub timeout: Duration = Duration::from_secs(60), within "1ms" to "24h";
        /// Probes under way at one time.
        pub half_open_requests: u32 = 3, within "1" to "1000000";
        /// Successful probes in a row that close it.
        pub success_threshold: u32 = 2, within "1" to "1000000";
    }
}

section! {
    /// Compares the instances of a service.
    pub(crate) struct Outlier {
        /// Whether they are compared.
        pub enabled: bool = true;
        /// Failures in a row that take an instance out.
        pub consecutive_errors: u32 = 5, within "1" to "1000000";
        /// From one comparison to the next.
        pub interval: Duration = Duration::from_secs(30), within "1ms" to "24h";
        /// Time out, multiplied by how often it was out.
        pub base_ejection_time: Duration = Duration::from_secs(30), within "1ms" to "24h";
        /// No time out is longer.
        pub max_ejection_time: Duration = Duration::from_secs(300), within "1ms" to "24h";
        /// How much of the service may be out, in percent, but at least one instance.
        pub max_ejected_percent: u32 = 10, within "0" to "100";
        /// Standard deviations below the mean success rate; 0 does not compare.
        pub success_rate_factor: f64 = 1.9, within "0" to "10";
        /// Times the median response time; 0 does not compare.
        pub latency_factor: f64 = 3.0, within "0" to "100";
        /// A mean response time up to this is never too much.
        pub latency_floor: Duration = Duration::from_millis(10), within "0s" to "24h";
        /// Comparable instances that a comparison of success rates needs.
        pub minimum_hosts: u32 = 5, within "2" to "10000";
        /// Calls in an interval that make an instance comparable.
        pub request_volume: u32 = 100, within "1" to "1000000";
    }
}

section! {
    /// Keeps a service from drowning.
    pub(crate) struct Concurrency {
        /// Calls under way at one time: a number, "adaptive", or 0 for no limit.
        pub limit: CallLimit = CallLimit::None;
        /// Calls that wait for a place, the most urgent first; one more is refused.
        pub queue: u32 = 1000, within "0" to "1000000";
        /// How long a call waits at most.
        pub queue_timeout: Duration = Duration::from_secs(1), within "1ms" to "24h";
        /// For "adaptive": the limit is never lower.
        pub adaptive_min: u32 = 2, within "1" to "1000000";
        /// For "adaptive": the limit is never higher.
        pub adaptive_max: u32 = 1000, within "1" to "1000000";
    }
}

section! {
    /// Off unless a delay or a percentile is given.
    pub(crate) struct Hedge {
        /// How long a try may take before a second is sent.
        pub delay: Option<Duration> = None, within "1ms" to "24h";
        /// The same as a share of recent calls that take no longer: 0.95.
        pub percentile: Option<f64> = None, within "0.5" to "0.999";
        /// Further tries beside the first.
        pub max: u32 = 1, within "1" to "10";
    }
}

section! {
    /// Off unless one of the two is given.
    pub(crate) struct Fallback {
        /// A service that is asked the same.
        pub service: Option<String> = None;
        /// A JSON value that is answered.
        pub reply: Option<String> = None;
    }
}

/// The policies of all services.
#[derive(Debug, Clone, Default)]
pub(crate) struct ServiceTables {
    /// `[services.default]`.
    pub default: Service,
    own: BTreeMap<String, Own>,
}

/// What is written of one service, and what that makes with the default.
#[derive(Debug, Clone)]
struct Own {
    written: Vec<(Node, String)>,
    effective: Service,
}

/// Where the same words stand makes no difference.
impl PartialEq for ServiceTables {
    fn eq(&self, other: &Self) -> bool {
        let effective = |services: &Self| -> BTreeMap<String, Service> {
            let own = services.own.iter();
            own.map(|(name, own)| (name.clone(), own.effective.clone()))
                .collect()
        };
        self.default == other.default && effective(self) == effective(other)
    }
}

impl ServiceTables {
    /// Services of which something is written, with what holds for them where no manifest speaks.
    pub(crate) fn own(&self) -> impl Iterator<Item = (&str, &Service)> {
        let own = self.own.iter();
        own.map(|(name, own)| (name.as_str(), &own.effective))
    }

    /// What holds for a service of a plugin whose manifest gives `hints`.
    #[must_use]
    pub(crate) fn of(&self, name: &str, hints: Option<&Hints>) -> Service {
        let mut service = self.default.clone();
        if let Some(hints) = hints {
            hints.apply(&mut service);
        }
        if let Some(own) = self.own.get(name) {
            own.lay_over(&mut service);
        }
        service
    }
}

impl Own {
    fn lay_over(&self, service: &mut Service) {
        // What is wrong was told when it was read first.
        let mut silent = SectionReader::default();
        for (node, path) in &self.written {
            service.merge(node, path, None, &mut silent);
        }
    }
}

impl Field for ServiceTables {
    fn merge(&mut self, node: &Node, path: &str, _: Bounds, reader: &mut SectionReader) {
        for entry in reader.entries(node, path).unwrap_or_default() {
            let name = &entry.key;
            if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control)
            {
                reader.fault(
                    &join(path, name),
                    &entry.key_place,
                    format!("{name:?} is not a name of 1 to {NAME_BYTES_MAX} octets"),
                    "write the name of a service",
                );
                continue;
            }
            let path = join(path, &quoted(name));
            reader
                .tables
                .entry(path.clone())
                .or_insert_with(|| entry.key_place.clone());
            if name == DEFAULT {
                // What it says of services by name is theirs.
                if let Some(node) = grpc_service_config::of_service("", &entry.node, &path, reader)
                {
                    self.default.merge(&node, &path, None, reader);
                }
                self.default.merge(&entry.node, &path, None, reader);
                continue;
            }
            let own = self.own.entry(name.clone()).or_insert_with(|| Own {
                written: Vec::new(),
                effective: Service::default(),
            });
            if let Some(node) = grpc_service_config::of_service(name, &entry.node, &path, reader) {
                own.effective.merge(&node, &path, None, reader);
                own.written.push((node, path.clone()));
            }
            own.effective.merge(&entry.node, &path, None, reader);
            own.written.push((entry.node.clone(), path));
        }
        // The default may stand anywhere.
        for own in self.own.values_mut() {
            let mut effective = self.default.clone();
            own.lay_over(&mut effective);
            own.effective = effective;
        }
    }

    fn shape(&self, _: Bounds) -> Shape {
        let default = (DEFAULT.to_owned(), self.default.keys());
        let own = self.own.iter();
        let own = own.map(|(name, own)| (quoted(name), own.effective.keys()));
        Shape::Named {
            tables: std::iter::once(default).chain(own).collect(),
            template: self.default.keys(),
        }
    }
}

/// As TOML writes a key: names of gRPC services have dots.
pub(super) fn quoted(name: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    match name.chars().all(is_bare) {
        true => name.to_owned(),
        false => toml::Value::from(name).to_string(),
    }
}

const DEFAULT: &str = "default";
/// As in the directory.
const NAME_BYTES_MAX: usize = 255;

#[cfg(test)]
mod tests;
