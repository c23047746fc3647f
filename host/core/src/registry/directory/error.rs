//! Why the directory refuses something. Facts; `control` decides on kind, blame and retry.

use crate::registry::{
    owner::{Incarnation, InstanceId},
    watch::Cursor,
};

/// Why an entry is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// A later life of the instance has registered. Whoever sent this should end.
    #[error("incarnation {} is older than {}, which is registered", .given.0, .held.0)]
    StaleIncarnation {
        given: Incarnation,
        held: Incarnation,
    },
    #[error("instance `{instance}` is held by another owner")]
    HeldByAnother { instance: InstanceId },
    #[error("the owner has {limit} entries, which is its limit")]
    OwnerFull { limit: usize },
    #[error("the directory has {limit} entries, which is its limit")]
    Full { limit: usize },
    #[error("a remote provider needs a lease")]
    LeaseNeeded,
    #[error("what a peer has comes by its snapshot and its changes")]
    OfPeer,
}

/// Why an entry is not renewed or removed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenewError {
    /// The lease has ended, or the name was never registered: register again.
    #[error("instance `{instance}` is not registered by this owner")]
    NotHeld { instance: InstanceId },
    /// As in `RegisterError`.
    #[error("incarnation {} is older than {}, which is registered", .given.0, .held.0)]
    StaleIncarnation {
        given: Incarnation,
        held: Incarnation,
    },
}

/// Why what a peer told is not taken. Fetch its snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SyncError {
    #[error("the peer is not connected")]
    NotConnected,
    #[error("changes since {given:?} do not follow {held:?}")]
    Gap { given: Cursor, held: Option<Cursor> },
}
