//! From octets to a generation that may take calls, one stage after the other.
//!
//! ```text
//! seen ─► compiled ─► linked ─► warmed ─► healthy ─► active ─► (the one before drains and is freed)
//!   └─────────┴──────────┴─────────┴─────────┴──► refused: the one before stays in service
//! ```

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, atomic::AtomicU32},
};

use bytes::Bytes;
use postern_core::service::ServiceInfo;
use postern_system::clock;
use tokio::sync::oneshot;

use crate::{
    cache::{Compiled, is_of_system, wants_concurrency},
    capability::outgoing::OutgoingPermits,
    digest::Digest,
    drain::Drain,
    engine::Flavor,
    exports::{self, Export, Exports},
    generation::{Direct, Generation, Serving},
    instance::Code,
    kv_table::{KvStore, OtherStore, Table},
    lease,
    limits::octets,
    linking::{self, RoleSpec},
    log_rate::LogRate,
    on_trap::OnTrap,
    own_metrics::OwnMetrics,
    placement::Placements,
    plugin_name::plugin_of_slot,
    role::Role,
    runtime::Runtime,
    sandbox_stats::SandboxStats,
    slots::Shared,
    spec::{KvSettings, PluginSpec},
    stage::{Needs, Refusal, Stage, told},
    state::Guest,
    stats::PluginStats,
    stats_table::StatsTable,
    tails::Tails,
    trap_policy::TrapPolicy,
    worker_local::DirectCode,
};

/// What a slot gives to all its generations.
pub(crate) struct Loader {
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) plugin: Arc<str>,
    pub(crate) stats: Arc<StatsTable>,
    pub(crate) sandbox: Arc<SandboxStats>,
    /// Those that its guests count themselves; there while the plugin is.
    pub(crate) own_metrics: Arc<OwnMetrics>,
    /// The roles that there are.
    pub(crate) roles: &'static [RoleSpec],
}

/// A generation whose instances start. One that is dropped never took a call.
pub struct ReadyGeneration {
    pub(crate) serving: Serving,
    pub(crate) ended: oneshot::Receiver<()>,
    pub(crate) cached: bool,
}

impl Loader {
    /// Takes `source` through all stages up to `warmed`; `on_stage` is told of each.
    pub(crate) async fn prepare(
        &self,
        source: Bytes,
        digest: Digest,
        spec: PluginSpec,
        number: u64,
        mut on_stage: impl FnMut(Stage),
    ) -> Result<ReadyGeneration, Refusal> {
        on_stage(Stage::Seen);
        self.check_spec(&spec)?;
        let compiled = self.compile(source.clone(), digest).await?;
        let cached = compiled.cached;
        let stats = self.stats.begin(&told_version(&spec, &digest));
        let (guest, code, imports) = self.link(compiled, spec, stats)?;
        let guest = Arc::new(guest);
        let direct = self.direct(source, digest, &guest, &code, imports).await?;
        on_stage(Stage::Compiled);
        on_stage(Stage::Linked);
        let (generation, ended) = Generation::new(number, digest, guest, code, direct);
        let serving = Serving::new(generation);
        let refuse = |reason: String| Stage::Warmed.refuse(reason).until(Needs::to_run());
        let shard = serving.shard();
        let warmed = lease::warm(&shard).await;
        warmed.map_err(|error| refuse(told(error)))?;
        on_stage(Stage::Warmed);
        Ok(ReadyGeneration {
            serving,
            ended,
            cached,
        })
    }

    fn check_spec(&self, spec: &PluginSpec) -> Result<(), Refusal> {
        let (memory, most) = (
            spec.limits.memory_bytes_max,
            self.runtime.memory_bytes_max(),
        );
        if memory > most {
            let (memory, most) = (octets(memory), octets(most));
            let reason =
                format!("memory limit {memory} exceeds the {most} that any plugin may have");
            return Err(Stage::Linked.refuse(reason).until(Needs::settings()));
        }
        for grant in &spec.grants.files {
            if !grant.host.is_dir() {
                let reason = format!("granted folder {} does not exist", grant.host.display());
                let needs = Needs {
                    folder: Some(grant.host.clone()),
                    ..Needs::settings()
                };
                return Err(Stage::Linked.refuse(reason).until(needs));
            }
        }
        Ok(())
    }

    async fn compile(&self, source: Bytes, digest: Digest) -> Result<Compiled, Refusal> {
        let runtime = Arc::clone(&self.runtime);
        // What is in the cache does not wait behind what must be compiled.
        let loading = tokio::task::spawn_blocking(move || runtime.load(&digest));
        let panicked = || Stage::Compiled.refuse("the compiler panicked");
        let loaded = loading.await.map_err(|_| panicked())?;
        let compiled = match loaded {
            Ok(Some(compiled)) => Ok(compiled),
            Ok(None) => {
                let runtime = Arc::clone(&self.runtime);
                let source_bytes = source.len();
                let work = move || runtime.compile(&digest, &source);
                let compiling = self.runtime.compiler.run(source_bytes, work);
                compiling.await.ok_or_else(panicked)?
            }
            Err(error) => Err(error),
        };
        compiled.map_err(|error| fail(Stage::Compiled, &error))
    }

    fn link(
        &self,
        compiled: Compiled,
        spec: PluginSpec,
        stats: Arc<PluginStats>,
    ) -> Result<(Guest, Code, BTreeSet<String>), Refusal> {
        let refuse = |error: &dyn fmt::Display| Stage::Linked.refuse(format!("{error:#}"));
        let Compiled {
            component, flavor, ..
        } = compiled;
        let engine = component.engine();
        let imports = exports::imports(&component, engine, &linking::offered())
            .map_err(|error| refuse(&error))?;
        let known = self.exports();
        let exports = Exports::find(&component, engine, &known).map_err(|error| refuse(&error))?;
        let linker = self
            .runtime
            .linker(flavor)
            .map_err(|error| refuse(&error))?;
        let pre = linker
            .instantiate_pre(&component)
            .map_err(|error| refuse(&error))?;
        let inline = match flavor {
            Flavor::Synchronous if exports.has(Role::Handler) || exports.has(Role::TextHandler) => {
                let linker =
                    linking::inline_linker(engine, &component).map_err(|error| refuse(&error))?;
                let pre = linker.instantiate_pre(&component);
                Some(pre.map_err(|error| refuse(&error))?)
            }
            Flavor::Synchronous | Flavor::Metered | Flavor::Concurrent => None,
        };
        exports::check_shapes(&component, engine, &known).map_err(|error| refuse(&error))?;
        check_policy(&spec, &exports)?;
        let guest = Guest {
            plugin: Arc::clone(&self.plugin),
            stats,
            sandbox: Arc::clone(&self.sandbox),
            log_rate: LogRate::new(&spec.limits, clock::now()),
            executor: Arc::clone(&self.runtime.executor),
            placements: Placements::new(),
            role_placements: Placements::new(),
            drain: Drain::default(),
            traps: TrapPolicy::new(spec.on_trap, spec.traps),
            trap_notices: Arc::clone(&self.runtime.trap_notices),
            shared: self.shared(&spec, &imports)?,
            tells_callers: self.runtime.tells_callers(),
            budgets_told: AtomicU32::new(0),
            spec,
        };
        let roles = self.roles.iter().filter(|role| exports.has(role.role));
        let code = Code {
            find: roles.filter_map(|role| role.find).collect(),
            exports,
            pre,
            inline,
        };
        Ok((guest, code, imports))
    }

    /// What imports keep for all instances, one line each.
    fn shared(&self, spec: &PluginSpec, imports: &BTreeSet<String>) -> Result<Shared, Refusal> {
        let mut shared = Shared::default();
        shared.put(Arc::clone(&self.runtime.client));
        shared.put(Arc::clone(&self.runtime.events));
        shared.put(Arc::clone(&self.runtime.directory));
        shared.put(Arc::clone(&self.own_metrics));
        shared.put(Arc::clone(&self.runtime.outgoing));
        shared.put(OutgoingPermits::default());
        shared.put(Tails::default());
        if imports.contains("kv") {
            let store = self.key_value_store(&spec.kv)?;
            shared.put(Table::new(
                store,
                plugin_of_slot(&self.plugin),
                spec.grants.kv.as_deref(),
            ));
        }
        Ok(shared)
    }

    fn key_value_store(&self, settings: &KvSettings) -> Result<KvStore, Refusal> {
        let Some(name) = &settings.store else {
            let refuse = |error| Stage::Linked.refuse(format!("{error:#}"));
            let store = self.runtime.store();
            let store = store.map_err(|error| refuse(error).until(Needs::time()))?;
            return Ok(KvStore::Local(store));
        };
        Ok(KvStore::Other(OtherStore {
            stores: Arc::clone(self.runtime.named_stores()),
            name: name.as_str().into(),
            ttl: settings.ttl,
        }))
    }

    /// `generation` has said what it answers for, and so which version it is.
    pub(crate) fn tell_version(&self, generation: &Generation) {
        let mut services = generation.services().iter();
        let version = services.find_map(|service| service.version.as_deref());
        if let Some(version) = version.filter(|version| !version.is_empty()) {
            self.stats.rename(&generation.guest.stats, version);
        }
    }

    fn exports(&self) -> Vec<(Role, &'static [Export])> {
        let roles = self.roles.iter();
        roles.map(|role| (role.role, role.exports)).collect()
    }

    /// Direct entry into a component, compiled for the engine that counts. `None` where it has no role
    /// for that, or needs the other engine and has no role that must be entered directly.
    async fn direct(
        &self,
        source: Bytes,
        digest: Digest,
        guest: &Arc<Guest>,
        code: &Code,
        imports: BTreeSet<String>,
    ) -> Result<Option<Direct>, Refusal> {
        let roles = self.roles.iter();
        let roles = roles.filter(|role| code.exports.has(role.role));
        let direct: Vec<_> = roles.filter_map(|role| role.direct.as_ref()).collect();
        if direct.is_empty() {
            return Ok(None);
        }
        let refuse = |error: &dyn fmt::Display| Stage::Linked.refuse(format!("{error:#}"));
        let runtime = Arc::clone(&self.runtime);
        let source_bytes = source.len();
        let work = move || runtime.compile_metered(&digest, &source);
        let panicked = || Stage::Compiled.refuse("the compiler panicked");
        let compiling = self.runtime.compiler.run(source_bytes, work);
        let compiled = compiling.await.ok_or_else(panicked)?;
        let component = match compiled {
            Ok(component) => component,
            Err(error) if wants_concurrency(&error) => {
                if direct.iter().any(|role| role.is_always) {
                    let reason = "roles balancer and frame-extension are entered directly, which a \
                        component with async features cannot be";
                    return Err(Stage::Compiled.refuse(reason));
                }
                return Ok(None);
            }
            Err(error) => return Err(fail(Stage::Compiled, &error)),
        };
        let engine = component.engine();
        let known = self.exports();
        let exports = Exports::find(&component, engine, &known).map_err(|error| refuse(&error))?;
        let linker = linking::direct_linker(engine, &component).map_err(|error| refuse(&error))?;
        let pre = linker
            .instantiate_pre(&component)
            .map_err(|error| refuse(&error))?;
        let grants = &guest.spec.grants;
        let has_waiting = !grants.files.is_empty() || !grants.sockets.is_empty();
        let may_wait = linking::wants_to_wait(&imports) || has_waiting;
        let code = Arc::new(DirectCode {
            guest: Arc::clone(guest),
            tick: self.runtime.engines.tick(),
            imports,
            pre,
            exports,
        });
        let entered = direct
            .into_iter()
            .filter(|role| role.is_always || !may_wait && !(role.is_off)(&code));
        let (per_use, kept): (Vec<_>, Vec<_>) = entered.partition(|role| role.is_per_use);
        Ok(Some(Direct {
            local: kept.iter().map(|role| (role.new)(&code)).collect(),
            per_use: per_use.iter().map(|role| role.new).collect(),
            code,
        }))
    }
}

/// Calls can pass by a plugin that stands in their way, and by no other.
fn check_policy(spec: &PluginSpec, exports: &Exports) -> Result<(), Refusal> {
    let answering = [
        Role::Handler,
        Role::TextHandler,
        Role::BatchHandler,
        Role::StreamHandler,
        Role::AsyncStreamHandler,
        Role::IncomingHandler,
        Role::HttpHandler,
    ];
    let role = answering.into_iter().find(|role| exports.has(*role));
    match role {
        Some(role) if spec.on_trap == OnTrap::Open => {
            let role = role.name();
            let reason = format!(
                "on-trap = \"open\" lets calls pass by a plugin that stands in their way, and this one \
                 answers them itself (role {role}): take \"closed\", \"last-good\" or \"quarantine\""
            );
            Err(Stage::Linked.refuse(reason).until(Needs::settings()))
        }
        Some(_) | None => Ok(()),
    }
}

/// The version that a manifest names, or the first digits of the component's digest.
pub(crate) fn told_version(spec: &PluginSpec, digest: &Digest) -> String {
    spec.version.clone().unwrap_or_else(|| digest.short())
}

/// A refusal for an error of wasmtime's. One of the system passes, one of the component does not.
fn fail(stage: Stage, error: &wasmtime::Error) -> Refusal {
    let needs = Needs {
        time: is_of_system(error),
        ..Needs::default()
    };
    stage.refuse(format!("{error:#}")).until(needs)
}

impl ReadyGeneration {
    /// Whether it would answer requests of HTTP as they are.
    #[must_use]
    pub fn answers_requests(&self) -> bool {
        self.serving.generation.answers_requests()
    }

    /// What it would answer for.
    #[must_use]
    pub fn services(&self) -> &[ServiceInfo] {
        self.serving.generation.services()
    }
}

impl fmt::Debug for ReadyGeneration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadyGeneration")
            .field("number", &self.serving.generation.number)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn an_error_of_the_system_passes_and_one_of_the_component_does_not() {
        let of_system = io::Error::from(io::ErrorKind::OutOfMemory);
        let of_system = wasmtime::Error::from(of_system).context("cannot map");
        assert!(fail(Stage::Compiled, &of_system).needs.time);
        let of_component = wasmtime::Error::msg("no component");
        let refusal = fail(Stage::Compiled, &of_component);
        assert_eq!(refusal.needs, Needs::default());
    }
}
