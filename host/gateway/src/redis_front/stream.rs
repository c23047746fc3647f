//! A durable topic as a stream.

use std::sync::Arc;

use postern_core::{
    Error, Text,
    event::{
        TopicPattern,
        durable::{EventLog, LogInfo, Position, StoredEvent},
    },
};

/// A stream: a log, and which of its events.
#[derive(Debug, Clone)]
pub(super) struct Stream {
    pub key: Text,
    /// Of the log: its pattern.
    pub log_name: Text,
    pub log: Arc<dyn EventLog>,
    pub pattern: TopicPattern,
}

impl Stream {
    /// Whether every event of the log is one of the stream.
    pub(super) fn is_whole(&self) -> bool {
        self.log_name == self.key
    }

    fn has(&self, stored: &StoredEvent) -> bool {
        self.is_whole() || self.pattern.matches(&stored.event.topic)
    }

    /// Up to `count` events from `from` to `until`, in order.
    pub(super) async fn read(
        &self,
        from: Position,
        until: Position,
        count: usize,
    ) -> Result<Vec<StoredEvent>, Error> {
        let (mut next, mut found) = (from.max(Position(1)), Vec::new());
        while found.len() < count && next <= until {
            let n_wanted = (count - found.len()).clamp(PAGE_MIN, PAGE_MAX);
            let page = self.log.read(next, n_wanted).await?;
            let Some(last) = page.last() else {
                break;
            };
            next = Position(last.position.0.saturating_add(1));
            let within = page
                .into_iter()
                .take_while(|stored| stored.position <= until);
            found.extend(within.filter(|stored| self.has(stored)));
        }
        found.truncate(count);
        Ok(found)
    }

    /// As `read`, the newest first.
    pub(super) async fn read_back(
        &self,
        from: Position,
        until: Position,
        count: usize,
    ) -> Result<Vec<StoredEvent>, Error> {
        let info = self.log.info().await?;
        let (from, mut end) = (from.max(info.first).max(Position(1)), until.min(info.last));
        let (mut found, mut n_page) = (Vec::new(), count.clamp(PAGE_MIN, PAGE_MAX) as u64);
        while found.len() < count && end >= from && end.0 > 0 {
            let start = Position(end.0.saturating_sub(n_page - 1)).max(from);
            let page = self.read(start, end, usize::MAX).await?;
            found.extend(page.into_iter().rev());
            end = Position(start.0 - 1);
            n_page = n_page.saturating_mul(2).min(PAGE_MAX as u64);
        }
        found.truncate(count);
        Ok(found)
    }

    /// Events that it has.
    pub(super) async fn len(&self, info: &LogInfo) -> Result<u64, Error> {
        if self.is_whole() {
            return Ok(info.n_events);
        }
        let (mut next, mut n_found) = (info.first.max(Position(1)), 0);
        while next <= info.last {
            let page = self.log.read(next, PAGE_MAX).await?;
            let Some(last) = page.last() else {
                break;
            };
            next = Position(last.position.0.saturating_add(1));
            n_found += page.iter().filter(|stored| self.has(stored)).count() as u64;
        }
        Ok(n_found)
    }

    pub(super) async fn first_and_last(&self) -> Result<[Option<StoredEvent>; 2], Error> {
        let all = Position(u64::MAX);
        let first = self.read(Position(1), all, 1).await?;
        let last = self.read_back(Position(1), all, 1).await?;
        Ok([first.into_iter().next(), last.into_iter().next()])
    }
}

/// Events that are read at one time.
const PAGE_MIN: usize = 64;
const PAGE_MAX: usize = 1024;
