//! The directory: who can answer for which responsibility. Pure; `control` in the gateway owns one.
//!
//! A *responsibility* is a service with parameters (`vol-surface {ccy: USD}`). Several *instances*
//! may have it, each with an [`Entry`] that belongs to an [`Owner`]:
//!
//! | owner | how its entries come | how they go |
//! |---|---|---|
//! | plugin, configuration | `register`, `replace_all_of` | when it says so |
//! | remote provider | `register`, with a lease | `unregister`, or the lease ends without heartbeat |
//! | peer gateway | `on_peer_snapshot`, `on_peer_changes` | the peer says so, or the grace after its loss |
//!
//! What of a lost peer is kept is *stale*: used as before, and shown to be old. What a peer told is
//! never told on (one hop), so that no loop of gateways keeps an entry alive that nobody answers
//! for.
//!
//! # Contract
//!
//! One mutation, then read: [`Directory::snapshot`] for the data path when
//! [`Directory::is_changed`], [`Directory::changes_since`] for watchers when the revision has grown.
//! At [`Directory::poll_timeout`], first hand in what has arrived (a heartbeat that lies in a
//! socket counts), then call [`Directory::poll`].
//!
//! # Bounds
//!
//! | what | by |
//! |---|---|
//! | one entry | the constants of [`entry`], [`value`], [`version`] and [`address`] |
//! | entries in all, and what only the operator may fill | `entries_max`, `entries_reserved` |
//! | entries of one owner | `entries_per_owner_max`, `entries_per_peer_max` |
//! | changes kept for watchers | `history_max` |
//! | how long an entry outlives its owner | its lease, or `peer_grace` and `peer_sync` |
//! | how long flapping keeps an instance down | `hold_max` |

pub mod address;
pub mod directory;
pub mod entry;
pub mod health;
pub mod lease;
pub mod owner;
pub mod query;
#[cfg(test)]
mod simulation;
pub mod snapshot;
pub mod value;
pub mod version;
pub mod watch;

pub use address::{Address, Location};
pub use directory::{
    Directory, DirectoryConfig, DirectoryEvent, RegisterError, Registered, ToldEntry,
};
pub use entry::{Draft, Entry, EntryError};
pub use health::{Health, HealthConfig, HealthOutcome, HealthSource};
pub use lease::{EntryLease, Ttl};
pub use owner::{EntryKey, Incarnation, InstanceId, Owner};
pub use query::{Caller, Query};
pub use snapshot::{EntryRecord, Selection, ServiceInstance, ServiceInstances, Snapshot};
pub use value::{Number, ParamValue, Params};
pub use version::{Range, Version};
pub use watch::{Changes, Cursor, DirectoryChange, Scope, WatchQuery, WatchSnapshot};
