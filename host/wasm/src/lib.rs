//! Plugins as WebAssembly components: engines, limits, roles, instance pools, reload, and what a
//! guest may import. The only crate that knows wasmtime.
//!
//! A [`Runtime`] is shared by all plugins. A [`Plugin`] is a named slot: `deploy` puts a component
//! into service, calls go to the version in service, and a component that does not make it leaves
//! the one before it where it was.
//!
//! Imports within the crate point to a lower layer, never up:
//!
//! | layer | what | files |
//! | --- | --- | --- |
//! | 8 | the slot, its roles | `plugin` |
//! | 7 | entry: a file for each role, which alone chooses inline, async or batch; from octets to a generation | `entry/`, `reload` |
//! | 6 | leases of instances, and questions to a role through them or directly; what all plugins share; which generation is in service | `lease`, `runtime`, `serving` |
//! | 5 | a generation, which makes and pools; what is linked; questions to a worker's own instance; how a role for streams is entered | `generation`, `linking`, `question`, `stream_role` |
//! | 4 | imports; instances; what a role for calls of one message is; work that moves between threads | `capability/`, `instance`, `worker_local/`, `offload`, `stream_registry`, `octet_streams`, `records` |
//! | 3 | the frame of a store, which knows no role and no import; its event loop | `state`, `concurrent`; `exchange`, `status`, `store` |
//! | 2 | what a plugin may use, how it ends, how it is counted, what is said across, what is recorded | `spec`, `coded_call`, `allowance`, `memory`, `trap`, `trap_policy`, `convert`, `shadowed`, `stats`, `drain`, `exports`, `cache`, `stage`, `journal/`, `recorder`, .. |
//! | 1 | facts, and parts that know no guest | `limits`, `role`, `outcome`, `framing`, `bindings`, `reply_draft`, `call_path`, `placement`, `plugin_name`, `pool`, `executor`, `slots`, .. |
//!
//! `tests/tidy/imports.rs` counts them.
//!
//! A new import is a file in `capability/` and a line in `linking.rs`. A new role is a file in `entry/`,
//! its name in `role.rs` and a line in `plugin.rs`.

mod allowance;
mod ambient_call;
mod answering;
mod batch_statistics;
mod bindings;
mod cache;
mod call_path;
mod capability;
mod coded_call;
mod compiler;
mod concurrent;
mod convert;
mod cpu;
mod denial;
mod digest;
mod drain;
mod effects;
mod engine;
mod entry;
mod exchange;
mod executor;
mod exports;
mod framing;
mod fuel;
mod generation;
mod guest_output;
mod guest_traps;
mod handles;
mod host_call;
mod http_bodies;
mod http_fields;
mod http_grant;
mod instance;
mod journal;
mod kv_overlay;
mod kv_table;
mod lease;
mod limits;
mod linking;
mod local_key_values;
mod log_rate;
mod memory;
mod named_stores;
mod octet_streams;
mod offer;
mod offered_wasi;
mod offload;
mod on_trap;
mod outcome;
mod own_metrics;
mod placement;
mod plugin;
mod plugin_name;
mod pool;
mod processor_time;
mod progress;
mod question;
mod recorded;
mod recorder;
mod records;
mod reload;
mod reply_draft;
mod retirement;
mod role;
mod runtime;
mod sandbox_stats;
mod serving;
mod shadowed;
mod slots;
mod socket_grant;
mod spec;
mod stage;
mod state;
mod stats;
mod stats_table;
mod status;
mod store;
mod store_stats;
mod stream_registry;
mod stream_role;
mod streamed_methods;
mod tails;
mod tee;
mod trap;
mod trap_notices;
mod trap_policy;
mod waited;
mod worker_local;

pub use cache::CacheError;
pub use capability::directory::ServiceDirectory;
pub use digest::Digest;
pub use engine::Pooling;
pub use entry::{
    balancer::{Ask, Candidate, CandidateSet, ComponentBalancer},
    health::{HealthReport, HealthStatus},
};
pub use http_grant::{HttpGrant, HttpGrantError};
pub use journal::{AskChange, AskDifference};
pub use limits::PluginLimits;
pub use offer::{ImportFault, check_import};
pub use on_trap::{OnTrap, TrapBounds, TrapChange, TrapState};
pub use outcome::{EntryOutcome, Outcome, TrapReason};
pub use own_metrics::{OwnMetric, OwnMetricKind, OwnSample, OwnValue};
pub use plugin::{
    Plugin,
    recording::{CallRecording, CallReplayer, ReplayTerms, ReplayedCall},
};
pub use plugin_name::{plugin_of_slot, version_of_slot};
pub use recorded::{
    HostAnswer, HostAsk, RecordedBody, RecordedBodyKind, RecordedCall, RecordedFailure,
    RecordedHeaders, RecordedHost, RecordedHttp, RecordedInstance, RecordedListing, RecordedOctets,
    RecordedOrigin, RecordedOutcome, RecordedPeer, RecordedPrincipal, RecordedReply,
    RecordedRequest,
};
pub use recorder::{RecordedGeneration, RecordingFilter, SkippedCalls};
pub use records::Records;
pub use reload::ReadyGeneration;
pub use retirement::Retirement;
pub use role::Role;
pub use runtime::{Runtime, RuntimeConfig, RuntimeError};
pub use sandbox_stats::SandboxSnapshot;
pub use socket_grant::{SocketGrant, SocketGrantError, SocketNetwork, SocketProtocol};
pub use spec::{
    Access, Budgets, FileGrant, Grants, Instances, KvSettings, LogLevel, Mode, PluginSchema,
    PluginSpec,
};
pub use stage::{Deployed, Needs, Refusal, Stage};
pub use stats::{BUCKETS_MICROS, Entries, PluginStats, StatsSnapshot};
pub use stats_table::{StatsTable, VersionStats};
pub use status::{InlinePathStatus, PluginEvent, PluginState, PluginStatus, RefusalRecord};
pub use store::{
    CACHE_BYTES as STORE_CACHE_BYTES, CommitBatch, GroupCommit, StoreError, StoreHealth,
};
pub use store_stats::HostImport;
pub use trap_policy::TrapStatus;
