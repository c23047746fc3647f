//! What one commit does, to each log that it is for: it is put together, written, and then either shown to
//! the log's members or taken back. The writer alone says where events lie, so they become visible in
//! their order.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use postern_core::{
    Text,
    event::durable::{
        ConsumerId, EventMark, LogLimits, LogState, OrderKey, Position, decode_event,
    },
};
use postern_system::clock;
use postern_wasm::{CommitBatch, StoreError};
use redb::{ReadableTableMetadata, WriteTransaction};

use super::{
    disk::{self, Events, LOGS, Rows},
    log_core::{LogCore, QUEUED_UNITS_MAX},
    request::{AppendRequest, ConsumerRequest, Done, Request, Waiting, WriteFailure},
};

/// What one commit does, by the names of the logs.
#[derive(Default)]
pub(super) struct LogBatches(HashMap<Text, LogBatch>);

/// The part of a commit that is one log's.
struct LogBatch {
    log: Arc<LogCore>,
    appends: Vec<AppendRequest>,
    openings: Vec<ConsumerRequest>,
    deletions: Vec<(Text, Done<bool>)>,
    staged: Staged,
}

/// What was put into the commit.
#[derive(Default)]
struct Staged {
    state: LogState,
    oldest: Option<EventMark>,
    /// In the order of the appends.
    results: Vec<Result<Position, WriteFailure>>,
    opened: Vec<ConsumerId>,
    synced: Vec<ConsumerId>,
    waiting: Vec<Waiting>,
    freed: Vec<Position>,
    removed: Vec<Position>,
    deleted: Vec<bool>,
}

type EventTable<'t> = redb::Table<'t, u64, &'static [u8]>;
type RowTable<'t> = redb::Table<'t, &'static str, &'static [u8]>;

impl CommitBatch for LogBatches {
    type Request = Request;

    const THREAD: &'static str = "postern-events";
    const REQUESTS_MAX: usize = 1024;
    const UNITS_MAX: usize = QUEUED_UNITS_MAX;

    fn add(&mut self, request: Request) {
        let log = match &request {
            Request::Append(AppendRequest { log, .. })
            | Request::Consumer(ConsumerRequest { log, .. })
            | Request::Delete { log, .. }
            | Request::Sync(log) => Arc::clone(log),
            Request::Trim(log) => match log.upgrade() {
                Some(log) => log,
                None => return,
            },
        };
        let batch = self.0.entry(log.name.clone());
        batch.or_insert_with(|| LogBatch::new(log)).add(request);
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn n_bytes(&self) -> usize {
        self.0.values().map(LogBatch::n_bytes).sum()
    }

    fn write(&mut self, transaction: &WriteTransaction) -> Result<(), redb::Error> {
        self.0
            .values_mut()
            .try_for_each(|batch| batch.write(transaction))
    }

    fn on_committed(self) {
        self.0.into_values().for_each(LogBatch::on_committed);
    }

    fn on_failed(self, error: &StoreError) {
        self.0
            .into_values()
            .for_each(|batch| batch.on_failed(error));
    }
}

impl LogBatch {
    fn new(log: Arc<LogCore>) -> Self {
        Self {
            log,
            appends: Vec::new(),
            openings: Vec::new(),
            deletions: Vec::new(),
            staged: Staged::default(),
        }
    }

    fn add(&mut self, request: Request) {
        match request {
            Request::Append(append) => self.appends.push(append),
            Request::Consumer(opening) => self.openings.push(opening),
            Request::Delete { name, done, .. } => self.deletions.push((name, done)),
            // What they ask for is done with every commit.
            Request::Sync(_) | Request::Trim(_) => {}
        }
    }

    /// Octets that it writes, about.
    fn n_bytes(&self) -> usize {
        self.appends.iter().map(|append| append.record.len()).sum()
    }

    fn write(&mut self, transaction: &WriteTransaction) -> Result<(), redb::Error> {
        let log = Arc::clone(&self.log);
        let mut events = transaction.open_table(Events::new(&log.tables.events))?;
        let mut rows = transaction.open_table(Rows::new(&log.tables.consumers))?;
        let (state, limits) = {
            let inner = log.lock();
            (inner.state, inner.limits)
        };
        self.staged.state = state;
        self.trim(&mut events, &limits)?;
        self.write_appends(&mut events, &limits)?;
        self.write_receipts(transaction)?;
        self.trim(&mut events, &limits)?;
        self.write_consumers(&mut rows)?;
        self.free(&mut events)?;
        self.staged.oldest = disk::oldest(&events)?;
        if self.staged.state != state {
            let mut logs = transaction.open_table(LOGS)?;
            logs.insert(log.name.as_str(), &*self.staged.state.encode())?;
        }
        Ok(())
    }

    fn write_appends(
        &mut self,
        events: &mut EventTable<'_>,
        limits: &LogLimits,
    ) -> Result<(), redb::Error> {
        for append in &self.appends {
            let n_bytes = append.record.len() as u64;
            let admitted = self.staged.state.admit(limits, n_bytes);
            if let Ok(position) = admitted {
                events.insert(position.0, &*append.record)?;
            }
            let result = admitted.map_err(WriteFailure::Full);
            self.staged.results.push(result);
        }
        Ok(())
    }

    /// Receipts lie beside their events, so that both are on disk or neither is.
    fn write_receipts(&self, transaction: &WriteTransaction) -> Result<(), redb::Error> {
        let appended = self.appends.iter().zip(&self.staged.results);
        let mut receipts = appended
            .filter_map(|(append, result)| Some((append.receipt.as_ref()?, result.as_ref().ok()?)))
            .peekable();
        if receipts.peek().is_none() {
            return Ok(());
        }
        let mut table = transaction.open_table(Events::new(&self.log.tables.receipts))?;
        for (receipt, position) in receipts {
            table.insert(position.0, &*receipt.encode())?;
        }
        while table.len()? > RECEIPTS_MAX {
            table.pop_first()?;
        }
        Ok(())
    }

    /// Takes out what is too old or too much.
    fn trim(&mut self, events: &mut EventTable<'_>, limits: &LogLimits) -> Result<(), redb::Error> {
        let now_ms = clock::unix_time_ms();
        for _ in 0..TRIMMED_MAX {
            let Some(oldest) = disk::oldest(events)? else {
                return Ok(());
            };
            if !self.staged.state.is_excess(limits, &oldest, now_ms) {
                return Ok(());
            }
            events.remove(oldest.position.0)?;
            self.staged.state.on_removed(oldest.record_bytes);
            self.staged.removed.push(oldest.position);
        }
        Ok(())
    }

    /// Consumers that are opened, deleted, or have changed.
    fn write_consumers(&mut self, rows: &mut RowTable<'_>) -> Result<(), redb::Error> {
        let last = self.staged.state.last;
        let mut inner = self.log.lock();
        let inner = &mut *inner;
        for opening in &self.openings {
            let (id, is_changed) = inner.set.open(opening.settings.clone(), last);
            if is_changed {
                inner.unsynced.insert(id);
            }
            self.staged.opened.push(id);
        }
        for (name, _) in &self.deletions {
            let is_known = inner.set.iter().any(|(known, _)| known == name);
            if is_known {
                rows.remove(name.as_str())?;
            }
            self.staged.deleted.push(is_known);
        }
        inner.is_sync_requested = false;
        self.staged.waiting = std::mem::take(&mut inner.waiting);
        self.staged.synced = inner.unsynced.drain().collect();
        self.staged.freed = inner.set.take_freed();
        for id in &self.staged.synced {
            let Some(state) = inner.set.state(*id) else {
                continue;
            };
            let name = &state.settings().name;
            let is_deleted = self.deletions.iter().any(|(deleted, _)| deleted == name);
            if !is_deleted {
                rows.insert(name.as_str(), &*state.encode())?;
            }
        }
        Ok(())
    }

    /// Takes out what nobody wants any more.
    fn free(&mut self, events: &mut EventTable<'_>) -> Result<(), redb::Error> {
        for position in &self.staged.freed {
            if let Some(record) = events.remove(position.0)? {
                let n_bytes = record.value().len() as u64;
                self.staged.state.on_removed(n_bytes);
            }
        }
        Ok(())
    }

    /// It is on disk: shows it to the log's members, and answers.
    fn on_committed(self) {
        let Self {
            log,
            appends,
            openings,
            deletions,
            staged,
        } = self;
        let mut told = Vec::new();
        let mut inner = log.lock();
        inner.state = staged.state;
        inner.oldest = staged.oldest;
        let mut answers = Vec::with_capacity(appends.len());
        for (append, result) in appends.into_iter().zip(staged.results) {
            if let Ok(position) = result
                && let Ok(stored) = decode_event(position, Bytes::from(append.record))
            {
                let key = OrderKey::of(&stored.event);
                let topic = stored.event.topic.clone();
                inner
                    .set
                    .on_stored(position, &topic, key, |id| told.push(id));
                inner.recent.push(stored);
            }
            answers.push((append.done, result));
        }
        for position in &staged.removed {
            inner.set.on_removed(*position);
        }
        told.sort_unstable();
        told.dedup();
        let mut members: Vec<_> = told
            .iter()
            .filter_map(|id| inner.members.get(id).cloned())
            .collect();
        for ((name, _), is_known) in deletions.iter().zip(&staged.deleted) {
            if *is_known && let Some(id) = inner.set.remove(name) {
                members.extend(inner.members.remove(&id));
            }
        }
        let now_ms = clock::unix_time_ms();
        let is_excess = inner.is_excess(now_ms);
        drop(inner);
        if is_excess {
            log.store.disk.file.tell(Request::Trim(log.this()));
        }
        for members in members {
            members.tell_all();
        }
        // Whoever has gone away need not hear it.
        answers
            .into_iter()
            .for_each(|(done, result)| drop(done.send(result)));
        for (opening, id) in openings.into_iter().zip(staged.opened) {
            drop(opening.done.send(Ok(id)));
        }
        for ((_, done), is_known) in deletions.into_iter().zip(staged.deleted) {
            drop(done.send(Ok(is_known)));
        }
        for waiting in staged.waiting {
            drop(waiting.send(Ok(())));
        }
    }

    /// Nothing of it is on disk: consumers are written with the next commit.
    fn on_failed(self, error: &StoreError) {
        let mut inner = self.log.lock();
        inner.is_sync_requested = false;
        inner.unsynced.extend(self.staged.synced);
        inner.set.give_back_freed(self.staged.freed);
        let mut waiting = std::mem::take(&mut inner.waiting);
        drop(inner);
        waiting.extend(self.staged.waiting);
        let failed = || WriteFailure::Store(error.clone());
        for append in self.appends {
            drop(append.done.send(Err(failed())));
        }
        for opening in self.openings {
            drop(opening.done.send(Err(failed())));
        }
        for (_, done) in self.deletions {
            drop(done.send(Err(failed())));
        }
        for waiting in waiting {
            drop(waiting.send(Err(error.clone())));
        }
    }
}

/// Receipts of one log, the newest: more than all publishers have under way that were not answered.
const RECEIPTS_MAX: u64 = 100_000;
/// Events that one commit takes out on its own account; a lowered limit is met over several.
const TRIMMED_MAX: usize = 4096;
