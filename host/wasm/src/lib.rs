//! Plugins as WebAssembly components: engines, limits, roles, instance pools, reload, and what a
//! guest may import. The only crate that knows wasmtime.
//!
//! A [`Runtime`] is shared by all plugins. A [`Plugin`] is a named slot: `deploy` puts a component
//! into service, calls go to the version in service, and a component that does not make it leaves
//! the one before it where it was.

mod balancer;
mod batch;
mod bindings;
mod cache;
mod call_path;
mod capability;
mod compiler;
mod component;
mod convert;
mod describe;
mod digest;
mod direct;
mod drain;
mod engine;
mod event;
mod executor;
mod frame;
mod generation;
mod handler;
mod health;
mod identity;
mod instance;
mod interceptor;
mod lease;
mod limits;
mod offload;
mod placement;
mod plugin;
mod pool;
mod pooled;
mod records;
mod reload;
mod reply_draft;
mod roles;
mod runtime;
mod serving;
mod shard;
mod spec;
mod state;
mod stats;
mod status;
mod store;
mod stream;
mod stream_registry;
mod subject;

pub use balancer::{Ask, Candidate, CandidateSet, ComponentBalancer};
pub use cache::CacheError;
pub use component::Role;
pub use describe::{CallKind, MethodInfo, ServiceInfo};
pub use digest::Digest;
pub use direct::stats::{Entries, EntryOutcome};
pub use engine::Pooling;
pub use health::{HealthReport, HealthStatus};
pub use limits::PluginLimits;
pub use plugin::Plugin;
pub use records::Records;
pub use reload::{Deployed, Needs, Refusal, Stage};
pub use runtime::{Runtime, RuntimeConfig, RuntimeError};
pub use spec::{Access, Budgets, FileGrant, Grants, Instances, LogLevel, Mode, OnTrap, PluginSpec};
pub use stats::{BUCKETS_MICROS, Outcome, PluginStats, StatsSnapshot, TrapReason};
pub use status::{Event, PluginState, PluginStatus, RefusalRecord};
pub use store::{StoreError, StoreFault, StoreHealth};
