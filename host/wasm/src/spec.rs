//! What a manifest says about a plugin. `PluginSpec::default()` is what an absent manifest means.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use postern_core::{
    Blame,
    event::TopicPattern,
    message_codec::{HandlerForm, MessageCodec, MessageForm},
    service::ServiceInfo,
};

use crate::{
    http_grant::HttpGrant,
    limits::PluginLimits,
    on_trap::{OnTrap, TrapBounds},
    socket_grant::SocketGrant,
};

/// How a component is to be run, and what it may reach.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginSpec {
    /// Services that the plugin answers for, where it has no `describe` role to say so. Empty means
    /// the plugin's own name.
    pub services: Vec<String>,
    /// Version of those services.
    pub version: Option<String>,
    /// Of services whose messages are types of protobuf. They are the plugin's where neither `describe`
    /// nor `services` names any.
    pub schema: Option<PluginSchema>,
    /// Seen by the guest through the import `config`.
    pub config: BTreeMap<String, String>,
    pub instances: Instances,
    pub limits: PluginLimits,
    pub grants: Grants,
    pub kv: KvSettings,
    pub budgets: Budgets,
    pub on_trap: OnTrap,
    /// When traps are too many, for every policy but `Restart` and `Stop`.
    pub traps: TrapBounds,
    /// Lines below this level are dropped before they count. Default `info`.
    pub log_level: LogLevel,
    /// Time for calls of the generation that this one replaces, and of its own when it is removed; then
    /// they are cut off. Looked at about every second. Default 30 s.
    pub drain_max: Duration,
    /// Whether copies of calls come to it, which have no effect. It opens sockets and sends requests in calls alone:
    /// in a copy it would find them open. Default no.
    pub answers_copies: bool,
    /// Time for the first answer about health, which decides whether the generation takes calls.
    /// Default 1 s.
    pub health_max: Duration,
}

/// Where a plugin's key/value table lies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KvSettings {
    /// A store of others, by its name in the configuration. Default: the gateway's own file.
    pub store: Option<String>,
    /// For how long such a store keeps what is set. Default: until it is deleted.
    pub ttl: Option<Duration>,
}

/// What the schema of some services says.
#[derive(Debug, Clone)]
pub struct PluginSchema {
    pub codec: Arc<dyn MessageCodec>,
    /// In which the component takes and gives messages of those services.
    pub form: MessageForm,
    /// The services, with JSON Schemas of the types of their methods.
    pub services: Arc<[ServiceInfo]>,
}

/// How instances are made and kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instances {
    pub mode: Mode,
    /// Instances alive at once; a call beyond waits. Default 32. `single` has one.
    pub max: usize,
    /// Calls that arrive together and are answered in one entry, where the component has the role
    /// `batch-handler`; 1 is none. Default 32.
    pub batch_max: usize,
    /// Calls after which a pooled instance is replaced. Default 10,000: a new instance costs 24 us
    /// (Rust) to 5 ms (Python), so at most 0.5 us a call.
    pub calls_max: u32,
    /// Memory beyond that of a fresh instance after which a pooled instance is replaced, in octets.
    /// Default 32 MiB.
    pub growth_bytes_max: usize,
    /// Calls that may wait for an instance; one more is refused. Default 1,024.
    pub queue_max: usize,
    /// How long a call waits for an instance, if its deadline does not come first. Default 5 s.
    pub queue_time_max: Duration,
    /// Share of `max` that streaming calls may hold at one time, in percent; at least one instance.
    /// Default 75, so that a unary call finds one however slow those callers are.
    pub stream_share: u32,
    /// How long a stream may wait for its peer, which neither sends nor reads, while it holds an
    /// instance. Looked at about every second. Default 60 s.
    pub stream_idle_max: Duration,
    /// Instances without a call for this long are dropped. Default 60 s.
    pub idle_max: Duration,
}

/// How long an instance lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Used again and again, until retired.
    #[default]
    Pooled,
    /// A fresh one for each call.
    Isolated,
    /// One for all calls, one call after the other; it keeps its state until it traps.
    Single,
}

/// What a plugin may reach beyond its own call. Nothing by default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grants {
    /// Services that may be called through `client`; a `*` in a name stands for any run of characters.
    pub services: Vec<String>,
    /// Name of a store shared with other plugins; without it `kv` is private to the plugin.
    pub kv: Option<String>,
    /// Servers that may be asked over HTTP (import `wasi:http`).
    pub http: Vec<HttpGrant>,
    /// Topics that may be published under, as subscribers name theirs.
    pub events: Vec<TopicPattern>,
    /// Services whose instances may be looked up through `directory`; `*` is all.
    pub directory: Vec<String>,
    /// Environment of the guest (WASI), name to value.
    pub env: BTreeMap<String, String>,
    /// Folders that the guest sees (WASI).
    pub files: Vec<FileGrant>,
    /// Where the guest's own sockets may lead (WASI).
    pub sockets: Vec<SocketGrant>,
}

/// A folder of the host under a name of the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileGrant {
    pub host: PathBuf,
    /// Path in the guest, for example `/data`.
    pub guest: String,
    pub access: Access,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    #[default]
    ReadOnly,
    ReadWrite,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum LogLevel {
    Trace,
    Debug,
    #[default]
    Info,
    Warn,
    Error,
}

/// Time for one entry of a role that is entered directly, on the thread that serves the call. It is
/// kept by counting what the guest executes (`fuel.rs`), so the same work always fits or never.
///
/// Zero for `interceptor`, `authenticator` and `authorizer` enters through the pool
/// of instances, where the plugin's time limit holds and a guest may wait; so does a component that
/// imports `kv` or `client`, has files granted, or needs the component model's async features.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budgets {
    /// `pick`, `done`, and `update` per 16 instances. Default 100 us.
    pub balancer: Duration,
    /// `should-handle` and `handle-frame` each. Default 200 us.
    pub frame_extension: Duration,
    /// `on-request` and `on-response` each; 20 ns more per octet of a payload that is asked for.
    /// Default 5 ms.
    pub interceptor: Duration,
    /// Default 5 ms.
    pub authenticator: Duration,
    /// Default 5 ms.
    pub authorizer: Duration,
}

impl PluginSpec {
    /// The form of the messages of `service`: JSON unless its schema is taken in protobuf.
    pub(crate) fn form_of(&self, service: &str) -> MessageForm {
        let schema = self.schema.as_ref();
        let schema = schema.filter(|schema| schema.service(service).is_some());
        schema.map_or(MessageForm::Json, |schema| schema.form)
    }
}

impl PluginSchema {
    /// How a component of these limits wants the messages of its calls.
    pub(crate) fn handler_form(&self, limits: &PluginLimits) -> HandlerForm {
        HandlerForm {
            form: self.form,
            message_bytes_max: limits.input_bytes_max.max(limits.output_bytes_max),
            blame: Blame::Guest,
        }
    }

    /// What it says of the service of that name.
    pub(crate) fn service(&self, name: &str) -> Option<&ServiceInfo> {
        self.services.iter().find(|service| service.name == *name)
    }
}

/// Schemas are the same that convert by the same codec.
impl PartialEq for PluginSchema {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.codec, &other.codec) && self.form == other.form
    }
}

impl Instances {
    /// Instances that may be alive at once.
    pub(crate) fn live_max(&self) -> usize {
        match self.mode {
            Mode::Single => 1,
            Mode::Pooled | Mode::Isolated => self.max.max(1),
        }
    }

    /// Instances that streaming calls may hold at one time.
    pub(crate) fn streams_max(&self) -> usize {
        let share = usize::try_from(self.stream_share).unwrap_or(100).min(100);
        (self.live_max().saturating_mul(share) / 100).max(1)
    }
}

impl Grants {
    /// Whether publishing under `topic` is granted.
    #[must_use]
    pub fn allows_topic(&self, topic: &str) -> bool {
        self.events.iter().any(|pattern| pattern.matches(topic))
    }

    /// Whether requests by `scheme` to `host` and `port` are granted.
    #[must_use]
    pub fn allows_http(&self, scheme: &str, host: &str, port: u16) -> bool {
        let mut grants = self.http.iter();
        grants.any(|grant| grant.allows(scheme, host, port))
    }

    /// Whether calls of `service` are granted.
    #[must_use]
    pub fn allows_service(&self, service: &str) -> bool {
        names(&self.services, service)
    }

    /// Whether looking up the instances of `service` is granted.
    #[must_use]
    pub fn allows_lookup(&self, service: &str) -> bool {
        names(&self.directory, service)
    }
}

/// Whether a list of grants names `service`.
fn names(granted: &[String], service: &str) -> bool {
    granted.iter().any(|granted| matches(granted, service))
}

impl Default for PluginSpec {
    fn default() -> Self {
        Self {
            services: Vec::new(),
            version: None,
            schema: None,
            config: BTreeMap::new(),
            instances: Instances::default(),
            limits: PluginLimits::default(),
            grants: Grants::default(),
            kv: KvSettings::default(),
            budgets: Budgets::default(),
            on_trap: OnTrap::default(),
            traps: TrapBounds::default(),
            log_level: LogLevel::default(),
            drain_max: Duration::from_secs(30),
            answers_copies: false,
            health_max: Duration::from_secs(1),
        }
    }
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            balancer: Duration::from_micros(100),
            frame_extension: Duration::from_micros(200),
            interceptor: Duration::from_millis(5),
            authenticator: Duration::from_millis(5),
            authorizer: Duration::from_millis(5),
        }
    }
}

impl Default for Instances {
    fn default() -> Self {
        Self {
            mode: Mode::Pooled,
            max: 32,
            batch_max: 32,
            calls_max: 10_000,
            growth_bytes_max: 32 * 1024 * 1024,
            queue_max: 1024,
            queue_time_max: Duration::from_secs(5),
            stream_share: 75,
            stream_idle_max: Duration::from_secs(60),
            idle_max: Duration::from_secs(60),
        }
    }
}

/// Whether `name` is `pattern`, in which `*` stands for any run of characters, an empty one too.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    // The first place of each part leaves most for the parts behind it.
    for part in parts {
        let Some((_, behind)) = rest.split_once(part) else {
            return false;
        };
        rest = behind;
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_granted_as_they_are_subscribed_to() {
        let grants = |patterns: &[&str]| Grants {
            events: patterns
                .iter()
                .map(|pattern| TopicPattern::new(pattern).unwrap())
                .collect(),
            ..Grants::default()
        };
        let orders = grants(&["orders.*", "audit.>"]);
        assert!(orders.allows_topic("orders.new"));
        assert!(!orders.allows_topic("orders"));
        assert!(!orders.allows_topic("orders.new.eu"));
        assert!(orders.allows_topic("audit.call.eu"));
        assert!(grants(&[">"]).allows_topic("anything"));
        assert!(!grants(&[]).allows_topic("anything"));
    }

    #[test]
    fn streams_leave_a_part_to_unary_calls_where_there_is_more_than_one_instance() {
        let streams_max = |mode, max, stream_share| {
            let instances = Instances {
                mode,
                max,
                stream_share,
                ..Instances::default()
            };
            instances.streams_max()
        };
        assert_eq!(streams_max(Mode::Pooled, 32, 75), 24);
        assert_eq!(streams_max(Mode::Isolated, 2, 75), 1);
        assert_eq!(streams_max(Mode::Pooled, 32, 100), 32);
        assert_eq!(streams_max(Mode::Pooled, 32, 1), 1);
        assert_eq!(streams_max(Mode::Single, 32, 75), 1);
    }

    #[test]
    fn grants_go_by_exact_name_or_star() {
        let grants = |services: &[&str]| Grants {
            services: services.iter().map(ToString::to_string).collect(),
            ..Grants::default()
        };
        assert!(grants(&["users"]).allows_service("users"));
        assert!(!grants(&["users"]).allows_service("users2"));
        assert!(grants(&["*"]).allows_service("anything"));
        assert!(!grants(&[]).allows_service("users"));
        let looks_up = Grants {
            directory: vec!["users".to_owned()],
            ..Grants::default()
        };
        assert!(looks_up.allows_lookup("users") && !looks_up.allows_service("users"));
        assert!(!looks_up.allows_lookup("users2"));
    }

    #[test]
    fn a_star_in_a_grant_stands_for_any_run_of_characters() {
        for (pattern, name, expected) in [
            ("users.*", "users.v1", true),
            ("users.*", "users.", true),
            ("users.*", "users", false),
            ("acme-*", "acme-billing", true),
            ("acme-*", "evil-acme-billing", false),
            ("*.internal", "a.b.internal", true),
            ("*.internal", "a.internal.evil", false),
            ("a*b*c", "a1b2b3c", true),
            ("a*b*c", "ac", false),
            ("a*a", "a", false),
            ("", "users", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
