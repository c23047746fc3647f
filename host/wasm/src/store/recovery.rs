//! A file of redb that opens again by itself. After an error of the disk redb answers nothing any more
//! until its file has been opened again, so whoever writes it has it opened here.
//!
//! ```text
//! writing ──commit or read fails──▶ outage: opened again at once, so that reads go on;
//!    ▲                               writes are refused; a trial write after a pause that doubles
//!    └──────trial write succeeds───────┘
//! ```

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use postern_system::clock;
use redb::{Database, DatabaseError, TableDefinition};
use tracing::{error, info, warn};

use super::failure::{StoreError, StoreFault, StoreHealth, fault};

/// The file, open or about to be opened again.
pub(super) struct StoreFile {
    open: Box<dyn Fn() -> Result<Database, DatabaseError> + Send + Sync>,
    opened: ArcSwapOption<OpenFile>,
    n_openings: AtomicU64,
}

/// The file between one opening and the next.
pub struct OpenFile {
    pub database: Database,
    /// Counts from 1.
    pub opening: u64,
}

/// What whoever writes a file does about errors of its disk.
pub(super) struct StoreRecovery {
    file: Arc<StoreFile>,
    health: Arc<StoreHealth>,
    outage: Option<Outage>,
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

impl StoreFile {
    /// Opens it by `open`.
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
        self.close();
        self.open()
    }

    /// Closes the file; reads under way end first, if they do so soon.
    pub(super) fn close(&self) {
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
    }
}

impl StoreRecovery {
    /// `health` is told when the disk fails and when that is over.
    pub(super) const fn new(file: Arc<StoreFile>, health: Arc<StoreHealth>) -> Self {
        Self {
            file,
            health,
            outage: None,
        }
    }

    /// The file, while it is written.
    pub(super) fn writable(&self) -> Option<Arc<OpenFile>> {
        match &self.outage {
            Some(_) => None,
            None => self.file.opened(),
        }
    }

    /// When `try_again` is due; none while the file is written.
    pub(super) fn next_trial(&self) -> Option<Instant> {
        self.outage.as_ref().map(|outage| outage.next)
    }

    /// What a write is told while the file is not written.
    pub(super) fn refusal(&self) -> StoreError {
        match &self.outage {
            Some(outage) => StoreError::failed(outage.fault, Arc::clone(&outage.reason)),
            None => StoreError::Closed,
        }
    }

    /// A commit of about `n_bytes` failed. None where the database is well and the change was at fault.
    pub(super) fn on_failed_commit(
        &mut self,
        error: &redb::Error,
        n_bytes: usize,
    ) -> Option<StoreFault> {
        let fault = fault(error)?;
        self.begin(fault, error.to_string().into(), n_bytes);
        Some(fault)
    }

    /// A read of `opening` met an error of the disk. What an opening before the last one met says nothing
    /// about the file as it is open.
    pub(super) fn on_failed_read(&mut self, opening: u64, fault: StoreFault, reason: Arc<str>) {
        if self.outage.is_none() && self.file.is_latest(opening) {
            self.begin(fault, reason, 0);
        }
    }

    fn begin(&mut self, fault: StoreFault, reason: Arc<str>, n_bytes: usize) {
        error!(%reason, "the store failed, writes are refused until it has recovered");
        self.health.on_failure(&reason);
        self.outage = Some(Outage {
            fault,
            reason,
            pause: PAUSE_MIN,
            next: clock::now() + PAUSE_MIN,
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

    /// Writes for a trial, and opens the file again where that does not help.
    pub(super) fn try_again(&mut self) {
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
            outage.next = clock::now() + outage.pause;
        }
    }
}

/// Takes room and gives it back, each durably.
fn trial(database: &Database, n_bytes: usize) -> Result<(), redb::Error> {
    let value = vec![0; n_bytes];
    for value in [Some(value), None] {
        let transaction = database.begin_write()?;
        {
            let mut table = transaction.open_table(TRIAL_TABLE)?;
            match value {
                Some(value) => drop(table.insert("trial", &*value)?),
                None => drop(table.remove("trial")?),
            }
        }
        transaction.commit()?;
    }
    Ok(())
}

/// A name that neither a plugin nor a part of the gateway has.
const TRIAL_TABLE: TableDefinition<'static, &'static str, &'static [u8]> =
    TableDefinition::new("gateway/store/trial");
const TRIAL_BYTES_MAX: usize = 1024 * 1024;

/// Before the first trial after a failure; each one that fails doubles the pause, up to `PAUSE_MAX`.
const PAUSE_MIN: Duration = Duration::from_millis(250);
pub(super) const PAUSE_MAX: Duration = Duration::from_secs(4);

/// How long reads under way may hold an opening up. One that takes longer is waited for by the next
/// trial.
const READS_MAX: Duration = Duration::from_secs(1);
const READS_LOOK: Duration = Duration::from_millis(10);
