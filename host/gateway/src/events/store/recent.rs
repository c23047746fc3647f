//! The newest events of a log in memory, so that whoever keeps up reads no file.

use std::collections::VecDeque;

use postern_core::event::durable::{Position, StoredEvent};

/// Bounded by number and by octets of payloads and headers.
#[derive(Debug, Default)]
pub(super) struct RecentEvents {
    events: VecDeque<StoredEvent>,
    n_bytes: usize,
}

impl RecentEvents {
    /// Adds one behind all that are there.
    pub(super) fn push(&mut self, event: StoredEvent) {
        self.n_bytes += bytes_of(&event);
        self.events.push_back(event);
        while (self.events.len() > EVENTS_MAX || self.n_bytes > BYTES_MAX)
            && let Some(oldest) = self.events.pop_front()
        {
            self.n_bytes -= bytes_of(&oldest);
        }
    }

    /// The oldest that is here; every event from it to the log's last is.
    pub(super) fn first(&self) -> Option<Position> {
        self.events.front().map(|event| event.position)
    }

    pub(super) fn find(&self, position: Position) -> Option<&StoredEvent> {
        let idx = self
            .events
            .binary_search_by_key(&position, |event| event.position)
            .ok()?;
        self.events.get(idx)
    }

    /// Those from `position` on.
    pub(super) fn from(&self, position: Position) -> impl Iterator<Item = &StoredEvent> {
        let begin = self
            .events
            .partition_point(|event| event.position < position);
        self.events.range(begin..)
    }
}

fn bytes_of(stored: &StoredEvent) -> usize {
    let event = &stored.event;
    event.payload.len() + event.headers.section().len() + event.topic.len()
}

const EVENTS_MAX: usize = 2048;
const BYTES_MAX: usize = 4 * 1024 * 1024;
