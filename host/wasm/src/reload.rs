//! From octets to a generation that may take calls, one stage after the other.
//!
//! ```text
//! seen ─► compiled ─► linked ─► warmed ─► healthy ─► active ─► (the one before drains and is freed)
//!   └─────────┴──────────┴─────────┴─────────┴──► refused: the one before stays in service
//! ```

use std::{collections::BTreeSet, fmt, path::PathBuf, sync::Arc, time::Instant};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::{
    cache::{Compiled, is_of_system, wants_concurrency},
    call_path,
    capability::{self, kv, log::Lines},
    component::{self, Exports, Role},
    describe::{self, ServiceInfo},
    digest::Digest,
    direct::{Code, Direct},
    drain::Drain,
    engine::Flavor,
    generation::{Generation, Linked},
    health::{self, HealthStatus},
    limits::octets,
    runtime::Runtime,
    serving::{Serving, WorkerShard},
    spec::PluginSpec,
    state::Guest,
    stats::PluginStats,
};

/// How far a component came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    Seen,
    Compiled,
    Linked,
    Warmed,
    Healthy,
    Active,
    /// Out of service because its file is gone.
    Removed,
}

/// Why a component does not serve. The generation before it stays in service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not {stage}: {reason}")]
pub struct Refusal {
    /// The stage that was not reached.
    pub stage: Stage,
    pub reason: String,
    /// What may lift it, beside another component.
    pub needs: Needs,
}

/// What must change for a refused component to be worth another try. Nothing of it: only the
/// component itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Needs {
    /// Time: descriptors, memory or a disk were wanting, or a part that it asks.
    pub time: bool,
    /// Other limits or grants.
    pub settings: bool,
    /// A folder of the host that does not exist.
    pub folder: Option<PathBuf>,
}

/// A component that serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployed {
    pub generation: u64,
    pub digest: Digest,
    pub roles: Vec<Role>,
    pub services: Vec<ServiceInfo>,
    /// Whether compiled code was found in the cache.
    pub cached: bool,
}

/// What a slot gives to all its generations.
pub(crate) struct Loader {
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) plugin: Arc<str>,
    pub(crate) stats: Arc<PluginStats>,
}

/// Where compiled code comes from.
pub(crate) enum Source {
    Octets(Bytes),
    /// Only the cache; the octets are gone.
    Cache,
}

/// A generation that may take calls.
pub(crate) struct Ready {
    pub(crate) serving: Serving,
    pub(crate) ended: oneshot::Receiver<()>,
    pub(crate) cached: bool,
}

impl Loader {
    /// Takes `source` through all stages before `active`; `on_stage` is told of each.
    pub(crate) async fn prepare(
        &self,
        source: Source,
        digest: Digest,
        spec: PluginSpec,
        number: u64,
        mut on_stage: impl FnMut(Stage),
    ) -> Result<Ready, Refusal> {
        on_stage(Stage::Seen);
        self.check_spec(&spec)?;
        let octets = source.octets();
        let compiled = self.compile(source, digest).await?;
        let cached = compiled.cached;
        let (guest, mut linked, imports) = self.link(compiled, spec)?;
        let guest = Arc::new(guest);
        if linked.exports.roles().into_iter().any(Role::is_direct) {
            let must =
                linked.exports.has(Role::Balancer) || linked.exports.has(Role::FrameExtension);
            let direct = self.link_direct(octets, digest, &guest, &imports).await?;
            if must && direct.is_none() {
                let reason = "roles balancer and frame-extension are entered directly, which a \
                    component with async features cannot be";
                return Err(Stage::Compiled.refuse(reason));
            }
            linked.direct = direct;
        }
        on_stage(Stage::Compiled);
        on_stage(Stage::Linked);
        let (generation, ended) = Generation::new(number, digest, guest, linked);
        let serving = Serving::new(generation);
        let refuse = |reason: String| Stage::Warmed.refuse(reason).until(Needs::to_run());
        let no_shard = || refuse("there is no worker to run it".to_owned());
        let shard = serving.shard().ok_or_else(no_shard)?;
        let warmed = shard.warm().await;
        warmed.map_err(|error| refuse(error.message.into_owned()))?;
        on_stage(Stage::Warmed);
        self.check_health(&serving, shard).await?;
        on_stage(Stage::Healthy);
        Ok(Ready {
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

    async fn compile(&self, source: Source, digest: Digest) -> Result<Compiled, Refusal> {
        let runtime = Arc::clone(&self.runtime);
        // What is in the cache does not wait behind what must be compiled.
        let loading = tokio::task::spawn_blocking(move || runtime.load(&digest));
        let panicked = || Stage::Compiled.refuse("the compiler panicked");
        let loaded = loading.await.map_err(|_| panicked())?;
        let compiled = match (loaded, source) {
            (Ok(Some(compiled)), _) => Ok(compiled),
            (Ok(None), Source::Octets(source)) => {
                let runtime = Arc::clone(&self.runtime);
                let work = move || runtime.compile(&digest, &source);
                self.runtime.compiler.run(work).await.ok_or_else(panicked)?
            }
            (Ok(None), Source::Cache) => {
                let reason = format!(
                    "compiled code of {} is in the cache no longer",
                    digest.short()
                );
                return Err(Stage::Compiled.refuse(reason));
            }
            (Err(error), _) => Err(error),
        };
        compiled.map_err(|error| Stage::Compiled.fail(&error))
    }

    fn link(
        &self,
        compiled: Compiled,
        spec: PluginSpec,
    ) -> Result<(Guest, Linked, BTreeSet<String>), Refusal> {
        let refuse = |error: &dyn fmt::Display| Stage::Linked.refuse(format!("{error:#}"));
        let Compiled {
            component, flavor, ..
        } = compiled;
        let engine = component.engine();
        let imports = component::imports(&component, engine).map_err(|error| refuse(&error))?;
        let exports = Exports::find(&component, engine).map_err(|error| refuse(&error))?;
        let linker = self
            .runtime
            .linker(flavor)
            .map_err(|error| refuse(&error))?;
        let pre = linker
            .instantiate_pre(&component)
            .map_err(|error| refuse(&error))?;
        let inline = match flavor {
            Flavor::Synchronous if exports.handle.is_some() => {
                let linker =
                    call_path::linker(engine, &component).map_err(|error| refuse(&error))?;
                let pre = linker.instantiate_pre(&component);
                Some(pre.map_err(|error| refuse(&error))?)
            }
            Flavor::Synchronous | Flavor::Metered | Flavor::Concurrent => None,
        };
        component::check_shapes(&component, engine).map_err(|error| refuse(&error))?;
        let kv = if imports.contains("kv") {
            let store = self.runtime.store();
            let store = store.map_err(|error| refuse(&error).until(Needs::time()))?;
            Some(kv::Table::new(
                store,
                &self.plugin,
                spec.grants.kv.as_deref(),
            ))
        } else {
            None
        };
        let guest = Guest {
            plugin: Arc::clone(&self.plugin),
            stats: Arc::clone(&self.stats),
            lines: Lines::new(&spec.limits, Instant::now()),
            client: Arc::clone(&self.runtime.client),
            events: Arc::clone(&self.runtime.events),
            kv,
            executor: Arc::clone(&self.runtime.executor),
            drain: Drain::default(),
            spec,
        };
        let linked = Linked {
            pre,
            inline,
            exports,
            direct: None,
        };
        Ok((guest, linked, imports))
    }

    /// The direct way into a component, compiled for the engine that counts. `None` where the
    /// component needs the other engine and has no role that must be entered directly.
    async fn link_direct(
        &self,
        source: Option<Bytes>,
        digest: Digest,
        guest: &Arc<Guest>,
        imports: &BTreeSet<String>,
    ) -> Result<Option<Direct>, Refusal> {
        let refuse = |error: &dyn fmt::Display| Stage::Linked.refuse(format!("{error:#}"));
        let runtime = Arc::clone(&self.runtime);
        let work = move || runtime.compile_metered(&digest, source.as_deref());
        let panicked = || Stage::Compiled.refuse("the compiler panicked");
        let compiled = self.runtime.compiler.run(work).await.ok_or_else(panicked)?;
        let component = match compiled {
            Ok(component) => component,
            Err(error) if wants_concurrency(&error) => return Ok(None),
            Err(error) => return Err(Stage::Compiled.fail(&error)),
        };
        let engine = component.engine();
        let exports = Exports::find(&component, engine).map_err(|error| refuse(&error))?;
        let linker =
            capability::direct_linker(engine, &component).map_err(|error| refuse(&error))?;
        let pre = linker
            .instantiate_pre(&component)
            .map_err(|error| refuse(&error))?;
        let may_wait = imports.contains("kv")
            || imports.contains("client")
            || !guest.spec.grants.files.is_empty();
        let code = Code {
            guest: Arc::clone(guest),
            tick: self.runtime.engines.tick(),
            asks_call: imports.contains("call"),
            asks_candidates: imports.contains("candidates"),
            pre,
            exports,
        };
        Ok(Some(Direct::new(Arc::new(code), may_wait)))
    }

    /// Asks for health and services; both within the plugin's time limit, and for health within its
    /// own, which is also for a guest that never gets a turn.
    async fn check_health(
        &self,
        serving: &Serving,
        shard: Arc<WorkerShard>,
    ) -> Result<(), Refusal> {
        let refuse = |reason: String| Stage::Healthy.refuse(reason).until(Needs::to_run());
        let limit = serving.generation.guest.spec.health_max;
        let report = health::check(Arc::clone(&shard), limit).await;
        let report = report.map_err(|error| refuse(format!("health: {}", error.message)))?;
        if report.status == HealthStatus::NotServing {
            let message = report.message.as_deref().unwrap_or("no reason given");
            return Err(refuse(format!("health: not-serving: {message}")));
        }
        if !serving.generation.handles() {
            return Ok(());
        }
        let services = describe::services(shard).await;
        let services = services.map_err(|error| refuse(format!("describe: {}", error.message)))?;
        serving.generation.set_services(services);
        Ok(())
    }
}

impl Source {
    fn octets(&self) -> Option<Bytes> {
        match self {
            Self::Octets(octets) => Some(octets.clone()),
            Self::Cache => None,
        }
    }
}

impl Stage {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Seen => "seen",
            Self::Compiled => "compiled",
            Self::Linked => "linked",
            Self::Warmed => "warmed",
            Self::Healthy => "healthy",
            Self::Active => "active",
            Self::Removed => "removed",
        }
    }

    /// The reason on one line: the compiler's own go over many, and logs and tables show one.
    pub(crate) fn refuse(self, reason: impl AsRef<str>) -> Refusal {
        let words: Vec<_> = reason.as_ref().split_whitespace().collect();
        Refusal {
            stage: self,
            reason: words.join(" "),
            needs: Needs::default(),
        }
    }

    /// As `refuse`; an error of the system passes, one of the component does not.
    fn fail(self, error: &wasmtime::Error) -> Refusal {
        let needs = Needs {
            time: is_of_system(error),
            ..Needs::default()
        };
        self.refuse(format!("{error:#}")).until(needs)
    }
}

impl Refusal {
    fn until(self, needs: Needs) -> Self {
        Self { needs, ..self }
    }
}

impl Needs {
    #[must_use]
    pub fn time() -> Self {
        Self {
            time: true,
            ..Self::default()
        }
    }

    #[must_use]
    pub fn settings() -> Self {
        Self {
            settings: true,
            ..Self::default()
        }
    }

    /// An instance could not be made, or did not run well: its limits may be at fault, what it
    /// asks, or the machine.
    fn to_run() -> Self {
        Self {
            time: true,
            ..Self::settings()
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
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
        assert!(Stage::Compiled.fail(&of_system).needs.time);
        let of_component = wasmtime::Error::msg("no component");
        let refusal = Stage::Compiled.fail(&of_component);
        assert_eq!(refusal.needs, Needs::default());
    }
}
