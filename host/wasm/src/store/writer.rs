//! The thread that writes: one commit after the other, each with all that waits. After an error of
//! the disk redb answers nothing any more until its file has been opened again, so the writer does that.
//!
//! ```text
//! writing ──commit or read fails──▶ outage: opened again at once, so that reads go on;
//!    ▲                               writes are refused; a trial write after a pause that doubles
//!    └──────trial write succeeds───────┘
//! ```

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use redb::{Database, DatabaseError};
use tokio::{runtime, sync::mpsc, time::timeout_at};
use tracing::{error, info, warn};

use super::{
    BATCH_MAX, Change, Write, commit,
    failure::{StoreError, StoreFault, StoreHealth, fault},
};

/// What the writer is asked.
pub(super) enum Request {
    Write(Write),
    ReadFailed(ReadFailure),
}

/// A read met an error of the disk.
pub(super) struct ReadFailure {
    pub fault: StoreFault,
    pub reason: Arc<str>,
    /// Which opening of the file was read.
    pub opening: u64,
}

/// The file, open or about to be opened again.
pub(super) struct File {
    open: Box<dyn Fn() -> Result<Database, DatabaseError> + Send + Sync>,
    opened: ArcSwapOption<OpenFile>,
    n_openings: AtomicU64,
}

/// The file between one opening and the next.
pub(super) struct OpenFile {
    pub database: Database,
    /// Counts from 1.
    pub opening: u64,
}

pub(super) struct Writer {
    file: Arc<File>,
    queue: mpsc::Receiver<Request>,
    health: Arc<StoreHealth>,
    outage: Option<Outage>,
    /// Waits for the queue and for the time of the next trial.
    clock: runtime::Runtime,
}

/// The disk failed, and no trial has succeeded since.
struct Outage {
    fault: StoreFault,
    reason: Arc<str>,
    pause: Duration,
    next: Instant,
    /// A trial takes as much room as what failed.
    trial_bytes: usize,
}

impl File {
    pub(super) fn new(
        open: impl Fn() -> Result<Database, DatabaseError> + Send + Sync + 'static,
    ) -> Result<Self, DatabaseError> {
        let file = Self {
            open: Box::new(open),
            opened: ArcSwapOption::empty(),
            n_openings: AtomicU64::new(0),
        };
        file.open()?;
        Ok(file)
    }

    /// `None` between two openings.
    pub(super) fn opened(&self) -> Option<Arc<OpenFile>> {
        self.opened.load_full()
    }

    fn open(&self) -> Result<(), DatabaseError> {
        let database = (self.open)()?;
        let opening = self.n_openings.fetch_add(1, Relaxed) + 1;
        let opened = OpenFile { database, opening };
        self.opened.store(Some(Arc::new(opened)));
        Ok(())
    }

    /// Whether `opening` is the last one.
    fn is_latest(&self, opening: u64) -> bool {
        self.n_openings.load(Relaxed) == opening
    }

    /// Closes the file and opens it. redb repairs what a commit left half done.
    fn reopen(&self) -> Result<(), DatabaseError> {
        if let Some(before) = self.opened.swap(None) {
            // A file is open once at a time: reads under way end first.
            let waits = READS_MAX.as_millis() / READS_LOOK.as_millis();
            for _ in 0..waits {
                if Arc::strong_count(&before) == 1 {
                    break;
                }
                thread::sleep(READS_LOOK);
            }
        }
        self.open()
    }
}

impl Writer {
    pub(super) fn new(
        file: Arc<File>,
        queue: mpsc::Receiver<Request>,
        health: Arc<StoreHealth>,
    ) -> io::Result<Self> {
        let clock = runtime::Builder::new_current_thread()
            .enable_time()
            .build()?;
        Ok(Self {
            file,
            queue,
            health,
            outage: None,
            clock,
        })
    }

    /// Writes until the store is dropped and its queue is empty.
    pub(super) fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        loop {
            let next = self.outage.as_ref().map(|outage| outage.next);
            let queue = &mut self.queue;
            let received = self.clock.block_on(async {
                let receiving = queue.recv_many(&mut batch, BATCH_MAX);
                match next {
                    None => Some(receiving.await),
                    Some(next) => timeout_at(next.into(), receiving).await.ok(),
                }
            });
            match received {
                Some(0) => break,
                Some(_) => self.take(batch.drain(..)),
                None => self.try_again(),
            }
        }
    }

    fn take(&mut self, requests: impl Iterator<Item = Request>) {
        if self
            .outage
            .as_ref()
            .is_some_and(|outage| outage.next <= Instant::now())
        {
            self.try_again();
        }
        let mut writes = Vec::new();
        for request in requests {
            match request {
                Request::Write(write) => writes.push(write),
                Request::ReadFailed(failure) => self.on_failed_read(failure),
            }
        }
        if !writes.is_empty() {
            self.write(writes);
        }
    }

    /// What an opening before the last one met says nothing about the file as it is open.
    fn on_failed_read(&mut self, failure: ReadFailure) {
        if self.outage.is_none() && self.file.is_latest(failure.opening) {
            self.begin_outage(failure.fault, failure.reason, 0);
        }
    }

    fn write(&mut self, writes: Vec<Write>) {
        let (Some(opened), None) = (self.file.opened(), &self.outage) else {
            return self.refuse(writes);
        };
        let batch = writes.iter().map(|write| (&*write.table, &write.change));
        let result = commit(&opened.database, batch);
        drop(opened);
        match result {
            Ok(changed) => {
                for (write, changed) in writes.into_iter().zip(changed) {
                    // A caller that has gone away does not need to hear it.
                    drop(write.done.send(Ok(changed)));
                }
            }
            Err(error) => match fault(&error) {
                Some(fault) => {
                    let n_bytes = writes.iter().map(|write| write.change.n_bytes()).sum();
                    self.begin_outage(fault, error.to_string().into(), n_bytes);
                    self.refuse(writes);
                }
                None => {
                    let error = StoreError::Database(Arc::new(error));
                    for write in writes {
                        drop(write.done.send(Err(error.clone())));
                    }
                }
            },
        }
    }

    fn refuse(&self, writes: Vec<Write>) {
        let error = match &self.outage {
            Some(outage) => StoreError::failed(outage.fault, Arc::clone(&outage.reason)),
            None => StoreError::Closed,
        };
        for write in writes {
            drop(write.done.send(Err(error.clone())));
        }
    }

    fn begin_outage(&mut self, fault: StoreFault, reason: Arc<str>, n_bytes: usize) {
        error!(%reason, "the store failed, writes are refused until it has recovered");
        self.health.on_failure(&reason);
        self.outage = Some(Outage {
            fault,
            reason,
            pause: PAUSE_MIN,
            next: Instant::now() + PAUSE_MIN,
            trial_bytes: n_bytes.clamp(1, TRIAL_BYTES_MAX),
        });
        self.reopen();
    }

    /// Whether the file is open again.
    fn reopen(&self) -> bool {
        match self.file.reopen() {
            Ok(()) => {
                self.health.on_reopened();
                true
            }
            Err(error) => {
                warn!(%error, "the store cannot be opened again yet");
                false
            }
        }
    }

    fn try_again(&mut self) {
        let Some(outage) = &mut self.outage else {
            return;
        };
        outage.pause = (outage.pause * 2).min(PAUSE_MAX);
        let n_bytes = outage.trial_bytes;
        let tried = match self.file.opened() {
            Some(opened) => trial(&opened.database, n_bytes),
            None if self.reopen() => match self.file.opened() {
                Some(opened) => trial(&opened.database, n_bytes),
                None => return self.postpone(),
            },
            None => return self.postpone(),
        };
        match tried {
            Ok(()) => {
                self.outage = None;
                self.health.on_recovery();
                info!("the store is written again");
            }
            Err(error) => {
                if let (Some(outage), Some(fault)) = (&mut self.outage, fault(&error)) {
                    outage.fault = fault;
                    outage.reason = error.to_string().into();
                    self.health.on_failure(&outage.reason);
                }
                self.reopen();
                self.postpone();
            }
        }
    }

    fn postpone(&mut self) {
        if let Some(outage) = &mut self.outage {
            outage.next = Instant::now() + outage.pause;
        }
    }
}

/// Takes room and gives it back, each durably.
fn trial(database: &Database, n_bytes: usize) -> Result<(), redb::Error> {
    let key = || "trial".to_owned();
    let value = vec![0; n_bytes];
    for change in [
        Change::Set { key: key(), value },
        Change::Delete { key: key() },
    ] {
        commit(database, std::iter::once((TRIAL_TABLE, &change)))?;
    }
    Ok(())
}

/// A name that neither a plugin nor a part of the gateway has.
const TRIAL_TABLE: &str = "gateway/store/trial";
const TRIAL_BYTES_MAX: usize = 1024 * 1024;

/// Before the first trial after a failure; each one that fails doubles the pause, up to `PAUSE_MAX`.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(4);

/// How long reads under way may hold an opening up. One that takes longer is waited for by the next
/// trial.
const READS_MAX: Duration = Duration::from_secs(1);
const READS_LOOK: Duration = Duration::from_millis(10);
