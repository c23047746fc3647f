//! Every key of `postern.toml`: its type, default and bounds. What is here cannot be wrong.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use super::{
    acme::Acme,
    address::{ListenAddress, UnixFile},
    admission::{HeaderRule, RateLimit},
    bridges::Bridge,
    channels::ChannelSettings,
    consul::Consul,
    directory::{DirectorySettings, InstanceSettings, PeerSettings},
    events::Events,
    extensions::Extension,
    leaf::{Secret, word_leaf},
    listener::{Listener, built_in_listeners, local},
    mqtt::Mqtt,
    pool::Pool,
    routes::RouteSettings,
    section::section,
    security::{Auth, Authorization},
    services::ServiceTables,
    stores::{KvTable, StoreSettings},
    supply::{Approval, SignatureSettings},
    tls::{ListenerTls, UpstreamTls},
    topics::TopicTables,
    traps::{OnTrapSetting, Traps},
    units::Size,
    vyra::Vyra,
};

section! {
    /// The whole configuration of a gateway.
    pub(crate) struct Config {
        /// Folder for what the gateway writes: compiled code, the key/value store, last good copies
        /// of plugins. Private to one gateway.
        pub data_dir: PathBuf = ".postern".into();
        /// How long calls are still taken once a drain has begun and `/readyz` says so: the time that
        /// balancers need to see it. 0s closes the listeners at once.
        pub drain_delay: Duration = Duration::ZERO, within "0s" to "10m";
        /// The listeners, by name. `vstp` and `http` are there unless disabled.
        pub listeners: BTreeMap<String, Listener> = built_in_listeners();
        /// Health, metrics and control for operators, over HTTP.
        pub admin: Admin = Admin::default();
        /// Calls, whichever listener they come through.
        pub calls: Calls = Calls::default();
        /// How callers prove who they are.
        pub auth: Auth = Auth::default();
        /// Who may call what. Without rules everybody may call everything.
        pub authorization: Authorization = Authorization::default();
        /// Limits on the rate of calls, by a name of your choice.
        pub limits: BTreeMap<String, RateLimit> = BTreeMap::new();
        /// Changes to headers, by a name of your choice; in the order of the names.
        pub headers: BTreeMap<String, HeaderRule> = BTreeMap::new();
        /// Plugins that stand in the way of calls and frames, by the plugins' names.
        pub extensions: BTreeMap<String, Extension> = BTreeMap::new();
        /// How the calls of each service are spread over its instances and kept from failure.
        /// `default` holds for all that have no table of their own.
        pub services: ServiceTables = ServiceTables::default();
        /// Where requests over HTTP go, by a name of your choice; in the order of the names where nothing
        /// else decides. The paths of the listener itself, /v1/services and what is below, come first.
        pub routes: BTreeMap<String, RouteSettings> = BTreeMap::new();
        /// Sessions with remote instances, shared by all services.
        pub pool: Pool = Pool::default();
        /// Certificates that an authority issues by itself.
        pub acme: Acme = Acme::default();
        /// TLS of sessions with remote instances and other gateways.
        pub upstream_tls: UpstreamTls = UpstreamTls::default();
        /// Events, and what waits for those who subscribed to them.
        pub events: Events = Events::default();
        /// Topics whose events are kept, by a pattern over them. Of all others, events are told to
        /// whoever listens at that moment.
        pub topics: TopicTables = TopicTables::default();
        /// MQTT: sessions, topics, and publishes that are calls.
        pub mqtt: Mqtt = Mqtt::default();
        /// Brokers of MQTT that topics go to and come from, by a name of your choice.
        pub bridges: BTreeMap<String, Bridge> = BTreeMap::new();
        /// Brokers under one name, by a name of your choice: the first that works carries events and calls,
        /// and the next one when it fails.
        pub channels: BTreeMap<String, ChannelSettings> = BTreeMap::new();
        /// VYRA's patterns of revision J: publishing, requests and goals, over Redis and Unix sockets.
        pub vyra: Vyra = Vyra::default();
        /// Where plugins come from, and what they may use unless their manifest says otherwise.
        pub plugins: Plugins = Plugins::default();
        /// Who can answer for which service, and who may say so.
        pub directory: DirectorySettings = DirectorySettings::default();
        /// Other gateways whose own entries this one learns, by name.
        pub peers: BTreeMap<String, PeerSettings> = BTreeMap::new();
        /// Remote instances that the operator knows of, by name.
        pub instances: BTreeMap<String, InstanceSettings> = BTreeMap::new();
        /// Redis servers, by name: for key/value tables of plugins, for channels and for streams of events.
        pub stores: BTreeMap<String, StoreSettings> = BTreeMap::new();
        /// Registration of services at an agent of Consul.
        pub consul: Consul = Consul::default();
        /// What is logged, and how.
        pub log: Log = Log::default();
    }
}

section! {
    /// The admin listener.
    pub(crate) struct Admin {
        /// Whether it is opened at all.
        pub enabled: bool = true;
        /// Where to listen, as a listener's. Whoever reaches it can read everything, so keep it local.
        pub address: ListenAddress = local(9900);
        /// The file of an address such as "unix:/run/postern-admin.sock".
        pub unix: UnixFile = UnixFile::default();
        /// Names under which an admin listener on a loopback address is called, besides "localhost"
        /// and addresses.
        pub hosts: Vec<String> = vec![];
        /// Asked for as `authorization: Bearer TOKEN` by everything that changes something.
        pub token: Option<Secret> = None;
        /// Whether what is not encrypted is taken from other machines.
        pub insecure: bool = false;
        /// TLS of connections; none where left out.
        pub tls: ListenerTls = ListenerTls::default();
    }
}

section! {
    /// Bounds of every call.
    pub(crate) struct Calls {
        /// Time for a call whose caller sets no deadline. HTTP: to the head of its reply.
        pub timeout: Duration = Duration::from_secs(30), within "1ms" to "24h";
        /// The longest deadline that a caller may set; longer ones are cut to it.
        pub timeout_max: Duration = Duration::from_secs(300), within "1ms" to "24h";
        /// Plugins that may stand behind one another in one call.
        pub depth_max: u8 = 8, within "1" to "64";
        /// Largest message of a call or a reply.
        pub body_bytes_max: Size = Size::mib(8), within "1KiB" to "1GiB";
        /// Octets that all connections together may make the gateway hold: requests that have not
        /// arrived whole, and replies that nobody has taken. More is refused until some are gone.
        pub held_bytes_max: Size = Size::mib(256), within "1MiB" to "64GiB";
    }
}

section! {
    /// Where plugins come from and what they may use.
    pub(crate) struct Plugins {
        /// Folder of `NAME.wasm` or `NAME/NAME.wasm`, each with an optional `NAME.toml`.
        pub folder: PathBuf = "plugins".into();
        /// Whether a change in the folder takes effect while the gateway runs.
        pub watch: bool = true;
        /// How long a file must be left alone before it is read, or missed before it counts as gone,
        /// where the system does not tell. One that was renamed into place, or closed by its writer,
        /// is read at once. Holds for the configuration and for files of keys, too.
        pub settle: Duration = Duration::from_millis(500), within "1ms" to "10s";
        /// Plugins without which the gateway is not ready: each must take calls and be healthy.
        pub required: Vec<String> = Vec::new();
        /// How often a plugin's health is asked.
        pub health_interval: Duration = Duration::from_secs(10), within "100ms" to "1h";
        /// Time for the answer; also for the first, before a generation takes traffic.
        pub health_timeout: Duration = Duration::from_secs(1), within "1ms" to "1m";
        /// Time for calls of a replaced generation; then they are cut off. Looked at about every
        /// second.
        pub drain_timeout: Duration = Duration::from_secs(30), within "0s" to "10m";
        /// Which versions wait for `postern plugins approve` before they take calls: "off" none, "growth" those
        /// that ask for more than the one that serves, "always" each. "growth" unless set, and "off" under
        /// `postern dev`.
        pub approval: Option<Approval> = None;
        /// Who vouches for plugins.
        pub signatures: SignatureSettings = SignatureSettings::default();
        /// Bounds of each plugin unless its manifest sets its own.
        pub limits: PluginLimits = PluginLimits::default();
        /// Where key/value tables of plugins lie whose manifests do not say.
        pub kv: KvTable = KvTable::default();
        /// Instances of each plugin unless its manifest says otherwise.
        pub instances: Instances = Instances::default();
        /// What happens after traps, unless a plugin's manifest says otherwise: see there.
        pub on_trap: OnTrapSetting = OnTrapSetting::Restart;
        /// When traps are too many, unless a plugin's manifest says otherwise.
        pub traps: Traps = Traps::default();
    }
}

section! {
    /// What one plugin may use.
    pub(crate) struct PluginLimits {
        /// All linear memories of one instance together.
        pub memory: Size = Size::mib(64), within "64KiB" to "1GiB";
        /// All tables of one instance together, in elements; one table has 40000 at most.
        pub tables: usize = 40_000, within "0" to "800000";
        /// Core modules that one instance consists of.
        pub core_instances: usize = 100, within "1" to "100";
        /// Time of one call, its waiting for `kv` and `client` included. Of a stream: between two messages.
        pub time: Duration = Duration::from_secs(1), within "10ms" to "24h";
        /// Processor time of one call, of a stream between two messages; as much as `time` when left out.
        pub cpu: Option<Duration> = None, within "50ms" to "24h";
        /// Time of one stream, its waiting for the caller left out.
        pub stream_time: Duration = Duration::from_secs(600), within "10ms" to "168h";
        /// Largest message that the plugin answers or sends.
        pub output: Size = Size::mib(8), within "1KiB" to "1GiB";
        /// Largest message that is handed to the plugin.
        pub input: Size = Size::mib(8), within "1KiB" to "1GiB";
        /// Log lines a second; more are dropped and counted.
        pub log: u32 = 100, within "0" to "100000";
        /// Log lines at once before the rate holds.
        pub log_burst: u32 = 200, within "0" to "100000";
        /// Octets of log lines a second, and as many at once; more are dropped and counted.
        pub log_bytes: Size = Size::kib(256), within "1KiB" to "1GiB";
        /// Octets that one call may log and print; more ends it. Of a stream: between two messages.
        pub log_call_bytes: Size = Size::mib(4), within "1KiB" to "1GiB";
        /// Calls of host functions in one call; of a stream between two messages.
        pub host_calls: u32 = 10_000, within "1" to "1000000000";
        /// Time of one call of `client` or `kv`; then the plugin is told and goes on.
        pub host_call_time: Duration = Duration::from_secs(30), within "1ms" to "24h";
        /// Calls of `client` and `kv` under way at one time; one more is refused.
        pub host_calls_in_flight: usize = 128, within "1" to "100000";
        /// Metrics that the plugin may have of its own.
        pub metrics: usize = 100, within "0" to "10000";
        /// Series of them, which are sets of labels, over all metrics.
        pub metric_series: usize = 1_000, within "0" to "100000";
    }
}

section! {
    /// How a plugin's instances are kept.
    pub(crate) struct Instances {
        /// "pooled" reuses them, "isolated" takes a fresh one per call, "single" keeps one and its
        /// state; "auto" is "isolated" for components whose instances answer one request, otherwise "pooled".
        pub mode: InstanceMode = InstanceMode::Auto;
        /// Instances at one time, which is also calls at one time.
        pub max: usize = 32, within "1" to "10000";
        /// Calls that arrive together and enter the plugin in one go, where it has the role
        /// `batch-handler`; 1 is none.
        pub batch: usize = 32, within "1" to "32";
        /// Calls after which an instance is replaced.
        pub max_calls: u32 = 10_000, within "1" to "4000000000";
        /// Memory beyond that of a fresh instance after which an instance is replaced.
        pub max_growth: Size = Size::mib(32), within "64KiB" to "3GiB";
        /// Calls that may wait for an instance; one more is refused.
        pub queue: usize = 1024, within "0" to "1000000";
        /// Time that a call waits for an instance, if its deadline does not come first.
        pub queue_timeout: Duration = Duration::from_secs(5), within "1ms" to "1h";
        /// Share of `max` that streaming calls may hold at one time, in percent; at least one
        /// instance. More wait like calls without an instance.
        pub stream_share: u32 = 75, within "1" to "100";
        /// Time that a stream may hold an instance while its caller neither sends nor reads; then it
        /// is ended. Looked at about every second.
        pub stream_idle_timeout: Duration = Duration::from_secs(60), within "100ms" to "24h";
        /// Instances without a call for this long are dropped.
        pub idle_timeout: Duration = Duration::from_secs(60), within "100ms" to "24h";
    }
}

section! {
    /// The gateway's own log, on the standard error output.
    pub(crate) struct Log {
        /// Least level: "trace", "debug", "info", "warn", "error" or "off"; per part as in
        /// "info,postern_net=debug".
        pub level: LevelFilter = LevelFilter::default();
        /// "text" for people, "json" for programs, "auto" decides by the terminal.
        pub format: LogFormat = LogFormat::Auto;
        /// Level of the line that each call leaves: "debug", "info", or "off" for none.
        pub access: AccessLog = AccessLog::Debug;
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InstanceMode {
    Auto,
    Pooled,
    Isolated,
    Single,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Auto,
    Text,
    Json,
}

/// Whether and how loudly each call is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AccessLog {
    Off,
    Debug,
    Info,
}

/// Directives that `tracing_subscriber::EnvFilter` accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LevelFilter(String);

word_leaf!(InstanceMode {
    Auto = "auto",
    Pooled = "pooled",
    Isolated = "isolated",
    Single = "single",
});
word_leaf!(AccessLog { Off = "off", Debug = "debug", Info = "info" });
word_leaf!(LogFormat { Auto = "auto", Text = "text", Json = "json" });

impl LevelFilter {
    #[must_use]
    pub(crate) fn directives(&self) -> &str {
        &self.0
    }
}

impl Default for LevelFilter {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

impl super::leaf::Leaf for LevelFilter {
    fn expected() -> String {
        "a level such as \"info\", or \"info,postern_net=debug\"".to_owned()
    }

    fn read(value: &super::value::Value) -> Result<Self, String> {
        let text = String::read(value)?;
        let levels = ["trace", "debug", "info", "warn", "error", "off"];
        let known = |directive: &str| {
            let level = directive
                .rsplit_once('=')
                .map_or(directive, |(_, level)| level);
            levels.contains(&level.trim())
        };
        match text.split(',').find(|directive| !known(directive)) {
            Some(directive) => Err(format!("{directive:?} names no level")),
            None => Ok(Self(text)),
        }
    }

    fn written(&self) -> Option<String> {
        self.0.written()
    }

    fn schema() -> serde_json::Value {
        String::schema()
    }
}
