//! A plugin's manifest, `NAME.toml` beside `NAME.wasm`. Every key is optional; bounds and instances
//! that it does not set are those of `[plugins]`.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use postern_wasm::{self as spec, PluginSpec};

use super::{
    Faults,
    canary::CanaryTable,
    cross::routes::{RouteOwner, check_routes},
    events::Topics,
    extensions::Extension,
    hints::Hints,
    http_grant::HttpGrantSetting,
    leaf::{Leaf, word_leaf},
    opaque_table::OpaqueTable,
    routes::RouteSettings,
    section::{Field, SectionReader, section},
    settings::{Config, InstanceMode, Instances, PluginLimits},
    sockets::SocketGrantSetting,
    stores::KvTable,
    traps::{OnTrapSetting, Traps},
    value::Value,
    web_routes,
};

section! {
    /// What a manifest says, with the defaults of the gateway where it says nothing.
    pub(crate) struct Manifest {
        /// Service that the plugin answers for, or a list of them; its own name unless it describes
        /// itself.
        pub service: Names = Names::default();
        /// Version of those services.
        pub version: Option<String> = None;
        /// File of JSON Schemas (2020-12) of the types that its methods name, as `{"NAME": {..}}`, in the
        /// plugin folder or below. They come before those that the component tells. Read when the plugin
        /// is deployed.
        pub schemas: Option<PathBuf> = None;
        /// The protobuf schema of its services, in the folder of the manifest: a `.proto` file, a folder of
        /// them, a set of descriptors (`.binpb`, `.pb`, `.desc`), or a list of those. Files import each other
        /// by their paths below a folder that is named, or else below that of the manifest. Without it
        /// `NAME.proto`, `NAME.binpb`, `NAME.pb` or `NAME.desc` beside the component, or what the component
        /// has built in.
        pub proto: Names = Names::default();
        /// How the component takes and gives the messages of its schema: "json" or "protobuf". Callers have
        /// either form whatever it is.
        pub payload: PayloadForm = PayloadForm::Json;
        /// Seen by the plugin through the import `config`: text as it is, everything else as JSON.
        pub config: OpaqueTable = OpaqueTable::default();
        /// What happens after traps, beside a new instance: "restart" nothing; "stop" answers no more after
        /// one. After `traps.threshold` of them, "closed" refuses calls and backs off; "open" does and lets
        /// calls pass by a plugin that stands in their way; "last-good" does and puts the version before
        /// back into service; "quarantine" takes the plugin out of service until an operator releases it.
        pub on_trap: OnTrapSetting = OnTrapSetting::Restart;
        /// When traps are too many, and how long the plugin backs off.
        pub traps: Traps = Traps::default();
        /// Least level of the plugin's own log lines.
        pub log_level: LogLevelSetting = LogLevelSetting::Info;
        /// Whether and where it stands in the way of calls and frames. `[extensions.NAME]` of the
        /// configuration is used in its place where there is one.
        pub extension: Extension = Extension::absent();
        /// Topics of the events that it takes, where it is an event handler.
        pub topics: Vec<Topics> = Vec::new();
        /// Requests over HTTP that come to its services, by a name of your choice. They come after those
        /// of the configuration, and lead to no upstream and no files. One that says of no end where it
        /// leads hands requests to the component itself, which then answers them as `wasi:http` says;
        /// routes = ["/shop/*"] is short for such ones.
        pub routes: BTreeMap<String, RouteSettings> = BTreeMap::new();
        /// What it may reach beyond its own call.
        pub grants: Grants = Grants::default();
        /// Where its key/value table lies (imports `kv` and `wasi:keyvalue`).
        pub kv: KvTable = KvTable::default();
        /// What it may use.
        pub limits: PluginLimits = PluginLimits::default();
        /// Time that it may take in the way of a call or a frame, where it is entered directly.
        pub budgets: Budgets = Budgets::default();
        /// How its instances are kept.
        pub instances: Instances = Instances::default();
        /// How this version is tried where it comes beside another one.
        pub canary: CanaryTable = CanaryTable::default();
        /// How calls of its services are made, unless `[services.NAME]` says otherwise.
        pub policy: Hints = Hints::default();
    }
}

section! {
    /// Time of one entry, by the role in which it is entered. Counted in instructions, so that the
    /// same work fits on every machine.
    pub(crate) struct Budgets {
        /// Role `balancer`: a pick, or 16 instances told.
        pub balancer: Duration = Duration::from_micros(100), within "1us" to "100ms";
        /// Role `frame-extension`: a look at a frame's head, or its handling.
        pub frame_extension: Duration = Duration::from_micros(200), within "1us" to "100ms";
        /// Roles `request-interceptor` and `response-interceptor`, one entry. 20 ns more per octet of a payload that it
        /// asks for.
        pub interceptor: Duration = Duration::from_millis(5), within "1us" to "100ms";
        /// Role `authenticator`.
        pub authenticator: Duration = Duration::from_millis(5), within "1us" to "100ms";
        /// Role `authorizer`.
        pub authorizer: Duration = Duration::from_millis(5), within "1us" to "100ms";
    }
}

section! {
    /// What a plugin may reach. Nothing unless granted.
    pub(crate) struct Grants {
        /// Services that it may call: "users", "users.*", "acme-*", "*"; a star stands for any characters.
        pub services: Vec<String> = Vec::new();
        /// Name of a key/value store shared with other plugins, in the place of its own.
        pub kv: Option<String> = None;
        /// Servers that it may ask over HTTP (import `wasi:http`): "api.example.org", "*.example.org:8443",
        /// "http://127.0.0.1:8080". "*" is every public name.
        pub http: Vec<HttpGrantSetting> = Vec::new();
        /// Topics under which it may publish events: "user.created", "user.*" (one level), "user.>".
        pub events: Vec<Topics> = Vec::new();
        /// Services whose instances it may look up; "*" is all.
        pub directory: Vec<String> = Vec::new();
        /// Its environment (WASI).
        pub env: OpaqueTable = OpaqueTable::default();
        /// Folders that it sees (WASI): "HOST:GUEST" to read, "HOST:GUEST:rw" to write as well.
        pub files: Vec<FileGrantSetting> = Vec::new();
        /// Where its own sockets may lead (WASI): "tcp:10.0.0.0/8:5432", "udp:*:53", "tcp:[::1]:80-90", and
        /// "dns" to have names looked up. It never listens.
        pub sockets: Vec<SocketGrantSetting> = Vec::new();
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogLevelSetting {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

/// A form of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PayloadForm {
    Json,
    Protobuf,
}

/// One name or many.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Names(pub Vec<String>);

/// A folder of the host under a name of the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileGrantSetting {
    pub host: PathBuf,
    pub guest: String,
    pub writable: bool,
}

word_leaf!(LogLevelSetting {
    Trace = "trace",
    Debug = "debug",
    Info = "info",
    Warn = "warn",
    Error = "error",
});

word_leaf!(PayloadForm {
    Json = "json",
    Protobuf = "protobuf",
});

impl Manifest {
    /// What an absent manifest means.
    #[must_use]
    pub(crate) fn absent(config: &Config) -> Self {
        let plugins = &config.plugins;
        Self {
            limits: plugins.limits.clone(),
            instances: plugins.instances.clone(),
            on_trap: plugins.on_trap,
            traps: plugins.traps.clone(),
            kv: plugins.kv.clone(),
            ..Self::default()
        }
    }

    /// Reads a manifest. Pure.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of the text.
    pub(crate) fn parse(name: &str, text: &str, config: &Config) -> Result<Self, Faults> {
        let mut manifest = Self::absent(config);
        let mut reader = SectionReader::default();
        let root = web_routes::as_tables(reader.parse(text));
        manifest.merge(&root, "", None, &mut reader);
        check_routes(&manifest.routes, RouteOwner::Manifest, config, &mut reader);
        let writes = manifest.grants.files.iter().any(|grant| grant.writable);
        manifest.canary.check(writes, &mut reader);
        manifest.kv.check("kv", &config.stores, &mut reader);
        if reader.faults.is_empty() {
            Ok(manifest)
        } else {
            Err(Faults::new(name, text, reader.faults))
        }
    }

    /// As the components' host wants it. `answers_once` is whether an instance of the component answers one request.
    #[must_use]
    pub(crate) fn spec(&self, config: &Config, answers_once: bool) -> PluginSpec {
        PluginSpec {
            services: self.service.0.clone(),
            version: self.version.clone(),
            // Whoever deploys it has compiled it.
            schema: None,
            config: self.config.0.clone(),
            instances: self.instances.spec(answers_once),
            limits: self.limits.spec(config.calls.depth_max),
            grants: self.grants.spec(),
            kv: spec::KvSettings {
                store: self.kv.store.clone(),
                ttl: self.kv.ttl,
            },
            budgets: self.budgets.spec(),
            drain_max: config.plugins.drain_timeout,
            answers_copies: self.canary.is_shadow(),
            health_max: config.plugins.health_timeout,
            on_trap: self.on_trap.spec(),
            traps: self.traps.spec(),
            log_level: match self.log_level {
                LogLevelSetting::Trace => spec::LogLevel::Trace,
                LogLevelSetting::Debug => spec::LogLevel::Debug,
                LogLevelSetting::Info => spec::LogLevel::Info,
                LogLevelSetting::Warn => spec::LogLevel::Warn,
                LogLevelSetting::Error => spec::LogLevel::Error,
            },
        }
    }
}

impl Grants {
    fn spec(&self) -> spec::Grants {
        let file = |grant: &FileGrantSetting| spec::FileGrant {
            host: grant.host.clone(),
            guest: grant.guest.clone(),
            access: match grant.writable {
                true => spec::Access::ReadWrite,
                false => spec::Access::ReadOnly,
            },
        };
        spec::Grants {
            services: self.services.clone(),
            kv: self.kv.clone(),
            http: self.http.iter().map(|grant| grant.0.clone()).collect(),
            events: self.events.iter().map(|topics| topics.0.clone()).collect(),
            directory: self.directory.clone(),
            env: self.env.0.clone(),
            files: self.files.iter().map(file).collect(),
            sockets: self.sockets.iter().map(|grant| grant.0.clone()).collect(),
        }
    }
}

impl Budgets {
    const fn spec(&self) -> spec::Budgets {
        spec::Budgets {
            balancer: self.balancer,
            frame_extension: self.frame_extension,
            interceptor: self.interceptor,
            authenticator: self.authenticator,
            authorizer: self.authorizer,
        }
    }
}

impl Instances {
    fn spec(&self, answers_once: bool) -> spec::Instances {
        spec::Instances {
            mode: match self.mode {
                InstanceMode::Auto if answers_once => spec::Mode::Isolated,
                InstanceMode::Auto | InstanceMode::Pooled => spec::Mode::Pooled,
                InstanceMode::Isolated => spec::Mode::Isolated,
                InstanceMode::Single => spec::Mode::Single,
            },
            max: self.max,
            batch_max: self.batch,
            calls_max: self.max_calls,
            growth_bytes_max: self.max_growth.octets(),
            queue_max: self.queue,
            queue_time_max: self.queue_timeout,
            stream_share: self.stream_share,
            stream_idle_max: self.stream_idle_timeout,
            idle_max: self.idle_timeout,
        }
    }
}

impl PluginLimits {
    fn spec(&self, depth_max: u8) -> spec::PluginLimits {
        spec::PluginLimits {
            memory_bytes_max: self.memory.octets(),
            table_elements_max: self.tables,
            core_instances_max: self.core_instances,
            time_max: self.time,
            cpu_max: self.cpu.unwrap_or(self.time),
            stream_time_max: self.stream_time,
            output_bytes_max: self.output.octets(),
            input_bytes_max: self.input.octets(),
            log_lines_per_second: self.log,
            log_lines_burst: self.log_burst,
            log_bytes_per_second: self.log_bytes.octets(),
            log_call_bytes_max: self.log_call_bytes.octets(),
            host_calls_max: self.host_calls,
            host_call_time_max: self.host_call_time,
            host_calls_in_flight_max: self.host_calls_in_flight,
            metrics_max: self.metrics,
            metric_series_max: self.metric_series,
            depth_max,
        }
    }
}

impl Leaf for Names {
    fn expected() -> String {
        "a name, or a list of names".to_owned()
    }

    fn read(value: &Value) -> Result<Self, String> {
        match value.as_text() {
            Some(_) => String::read(value).map(|name| Self(vec![name])),
            None => Vec::read(value).map(Self),
        }
    }

    fn written(&self) -> Option<String> {
        if self.0.is_empty() {
            None
        } else {
            self.0.written()
        }
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({ "anyOf": [String::schema(), Vec::<String>::schema()] })
    }
}

impl Leaf for FileGrantSetting {
    fn expected() -> String {
        "\"HOST:GUEST\" or \"HOST:GUEST:rw\"".to_owned()
    }

    fn read(value: &Value) -> Result<Self, String> {
        let refused = || format!("{} does not name a folder of each side", value.shown());
        let text = value.as_text().ok_or_else(refused)?;
        let (folders, writable) = match text.strip_suffix(":rw") {
            Some(folders) => (folders, true),
            None => (text, false),
        };
        match folders.split_once(':') {
            Some((host, guest)) if !host.is_empty() && guest.starts_with('/') => Ok(Self {
                host: host.into(),
                guest: guest.to_owned(),
                writable,
            }),
            _ => Err(refused()),
        }
    }

    fn written(&self) -> Option<String> {
        let access = if self.writable { ":rw" } else { "" };
        format!("{}:{}{access}", self.host.display(), self.guest).written()
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({ "type": "string", "pattern": "^[^:]+:/[^:]*(:rw)?$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(text: &str) -> Manifest {
        Manifest::parse("users.toml", text, &Config::default()).expect("valid")
    }

    #[test]
    fn nothing_written_means_what_an_absent_manifest_means() {
        let config = Config::default();
        assert_eq!(manifest(""), Manifest::absent(&config));
        assert_eq!(manifest("").spec(&config, false), PluginSpec::default());
        // Whoever writes a mode has it.
        for (text, mode) in [
            ("", spec::Mode::Isolated),
            ("instances = { mode = \"auto\" }", spec::Mode::Isolated),
            ("instances = { mode = \"pooled\" }", spec::Mode::Pooled),
            ("instances = { mode = \"single\" }", spec::Mode::Single),
        ] {
            let spec = manifest(text).spec(&config, true);
            assert_eq!(spec.instances.mode, mode, "{text}");
        }
    }

    #[test]
    fn the_gateways_bounds_hold_where_the_manifest_is_silent() {
        let mut config = Config::default();
        config.plugins.limits.memory = crate::config::Size::mib(16);
        config.plugins.instances.max = 3;
        let read = Manifest::parse("m", "[limits]\ntime = \"2s\"", &config).expect("valid");
        let spec = read.spec(&config, false);
        assert_eq!(spec.limits.memory_bytes_max, 16 * 1024 * 1024);
        assert_eq!(spec.limits.time_max.as_secs(), 2);
        assert_eq!(spec.limits.cpu_max.as_secs(), 2);
        assert_eq!(spec.instances.max, 3);
    }

    #[test]
    fn reads_every_key() {
        let spec = manifest(
            r#"
            service = "accounts"
            version = "1.2.0"
            on-trap = "stop"
            log-level = "debug"
            config = { greeting = "hi", limit = 5, nested = { on = true }, ratio = 0.5 }
            instances = { mode = "single", max = 1, max-calls = 7 }
            [limits]
            memory = "1MiB"
            host-calls = 9
            metrics = 7
            metric-series = 8
            [grants]
            services = ["calculator"]
            sockets = ["tcp:10.0.0.0/8:5432", "dns"]
            directory = ["*"]
            kv = "shared"
            env = { LANG = "C" }
            files = ["data:/data:rw", "static:/static"]
            "#,
        )
        .spec(&Config::default(), false);
        assert_eq!(spec.services, ["accounts"]);
        assert_eq!(spec.on_trap, spec::OnTrap::Stop);
        assert_eq!(spec.config["greeting"], "hi");
        assert_eq!(spec.config["limit"], "5");
        assert_eq!(spec.config["ratio"], "0.5");
        assert_eq!(spec.config["nested"], r#"{"on":true}"#);
        assert_eq!(spec.instances.mode, spec::Mode::Single);
        assert_eq!(spec.instances.calls_max, 7);
        assert_eq!(spec.limits.host_calls_max, 9);
        assert_eq!(spec.limits.metrics_max, 7);
        assert_eq!(spec.limits.metric_series_max, 8);
        assert!(spec.grants.allows_service("calculator") && !spec.grants.allows_service("users"));
        assert!(spec.grants.allows_lookup("anything"));
        assert_eq!(spec.grants.env["LANG"], "C");
        assert_eq!(spec.grants.sockets.len(), 2);
        let accesses: Vec<_> = spec.grants.files.iter().map(|file| file.access).collect();
        assert_eq!(accesses, [spec::Access::ReadWrite, spec::Access::ReadOnly]);
    }

    #[test]
    fn tells_every_fault() {
        let text = "servce = \"x\"\n[limits]\nmemory = \"lots\"\n[grants]\nfiles = [\"data\"]\n";
        let faults = Manifest::parse("users.toml", text, &Config::default()).expect_err("faults");
        let told: Vec<_> = faults.faults.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "servce: unknown key \"servce\"",
                "limits.memory: \"lots\" is not a size",
                "grants.files: \"data\" does not name a folder of each side",
            ]
        );
        assert_eq!(faults.faults[0].remedy, "did you mean \"service\"?");
    }
}
