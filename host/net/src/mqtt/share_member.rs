//! A member's side of a stored share.

use std::{fmt, sync::Arc};

use postern_core::{
    event::durable::{EventConsumer, Position},
    mqtt::{ShareKey, SharedFilter},
};

/// A member's side of a stored share. Clones are the same member.
#[derive(Clone)]
pub(super) struct ShareMember {
    pub(super) key: ShareKey,
    pub(super) filter: SharedFilter,
    pub(super) consumer: Arc<dyn EventConsumer>,
}

/// What a share has given to a client with QoS 2: nobody else gets it (section 4.8.2).
#[derive(Debug)]
pub(super) struct HeldShare {
    pub(super) member: ShareMember,
    pub(super) positions: Vec<Position>,
}

impl fmt::Debug for ShareMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShareMember")
            .field("filter", &self.filter)
            .finish_non_exhaustive()
    }
}
