//! What all listeners for clients of Redis share.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use postern_core::{Text, event::TopicPattern, key_value::KeyValueStore};

use super::{
    channel_counts::ChannelCounts, cursors::Cursors, groups::Groups, stream::Stream, table::Tables,
};
use crate::events::EventService;

/// What all listeners for clients of Redis share.
pub(crate) struct RedisFront {
    pub(super) events: EventService,
    pub(super) tables: Tables,
    pub(super) groups: Groups,
    pub(super) cursors: Cursors,
    pub(super) channels: ChannelCounts,
    clients: AtomicU64,
}

impl RedisFront {
    #[must_use]
    pub(crate) fn new(events: EventService, store: Arc<dyn KeyValueStore>) -> Self {
        Self {
            events,
            tables: Tables::new(store),
            groups: Groups::default(),
            cursors: Cursors::default(),
            channels: ChannelCounts::default(),
            clients: AtomicU64::new(0),
        }
    }

    /// The number of a new client.
    pub(super) fn next_client(&self) -> u64 {
        self.clients.fetch_add(1, Relaxed) + 1
    }

    /// The stream that `name` is.
    pub(super) fn log_of(&self, name: &[u8]) -> Option<Stream> {
        let name = std::str::from_utf8(name).ok()?;
        let topics = self.events.topics();
        let pattern = TopicPattern::new(name).ok()?;
        let is_topic = !name.split('.').any(|level| level == "*" || level == ">");
        if is_topic && !topics.is_durable(name) {
            return None;
        }
        let mut matching = topics.matching(std::slice::from_ref(&pattern)).into_iter();
        let durable = matching.find(|durable| match is_topic {
            true => durable.log.wants(name),
            false => durable.pattern == pattern,
        })?;
        Some(Stream {
            key: name.into(),
            log_name: Text::from(durable.pattern.as_str()),
            log: durable.log,
            pattern,
        })
    }
}

impl fmt::Debug for RedisFront {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisFront").finish_non_exhaustive()
    }
}
