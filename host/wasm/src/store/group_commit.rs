//! A file of redb with one writer: requests that wait while a commit is on its way are committed together,
//! so that sixteen writers cost one sync, not sixteen. What is kept in the file, and what a request is, is
//! its user's (`CommitBatch`).
//!
//! ```text
//! ask ─▶ queue, bounded by units of room ─▶ thread: one commit for all that waits ─▶ each is told
//! read, on a thread that may wait ──meets an error of the disk──▶ queue: the file is opened again
//! ```

use std::{
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
};

use parking_lot::Mutex;
use redb::{Database, DatabaseError, ReadTransaction, ReadableDatabase};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::{
    failure::{StoreError, StoreHealth, fault},
    recovery::{OpenFile, StoreFile, StoreRecovery},
    writer::{CommitBatch, Queued, Writer, WriterRequest},
};

/// Pages kept in memory, in octets. redb's own default of 1 GiB is for a process of its own.
pub const CACHE_BYTES: usize = 64 * 1024 * 1024;

/// An open file with the thread that writes it, which is asked `R`. Dropped, it writes what waits first.
pub struct GroupCommit<R> {
    file: Arc<StoreFile>,
    health: Arc<StoreHealth>,
    queue: Arc<WriterQueue<R>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// Where the writer is asked.
pub(crate) struct WriterQueue<R> {
    requests: mpsc::UnboundedSender<Queued<R>>,
    /// Whoever waits for the writer has a part of it.
    room: Arc<Semaphore>,
}

impl<R> GroupCommit<R> {
    /// Opens or creates the file; `health` is told when it fails and when that is over.
    ///
    /// # Errors
    /// If it cannot be opened, or there is no thread.
    pub fn open<B: CommitBatch<Request = R>>(
        path: &Path,
        health: &Arc<StoreHealth>,
    ) -> Result<Self, StoreError> {
        let owned = path.to_owned();
        Self::open_with::<B>(path, health, move || {
            Database::builder()
                .set_cache_size(CACHE_BYTES)
                .create(&owned)
        })
    }

    /// Opens what `open` gives, at first and after each error of the disk.
    ///
    /// # Errors
    /// As `open`.
    pub fn open_with<B: CommitBatch<Request = R>>(
        path: &Path,
        health: &Arc<StoreHealth>,
        open: impl Fn() -> Result<Database, DatabaseError> + Send + Sync + 'static,
    ) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Open {
            path: path.to_owned(),
            source: Arc::new(source),
        };
        let thread = |error| StoreError::Thread(Arc::new(error));
        let file = Arc::new(StoreFile::new(open).map_err(failed)?);
        let (requests, queue) = mpsc::unbounded_channel();
        let recovery = StoreRecovery::new(Arc::clone(&file), Arc::clone(health));
        let writer = Writer::<B>::new(recovery, queue).map_err(thread)?;
        let writer = thread::Builder::new()
            .name(B::THREAD.to_owned())
            .spawn(move || writer.run())
            .map_err(thread)?;
        let room = Arc::new(Semaphore::new(B::UNITS_MAX));
        Ok(Self {
            file,
            health: Arc::clone(health),
            queue: Arc::new(WriterQueue { requests, room }),
            writer: Mutex::new(Some(writer)),
        })
    }

    /// The file as it is open.
    ///
    /// # Errors
    /// While it is opened again.
    pub fn opened(&self) -> Result<Arc<OpenFile>, StoreError> {
        self.file.opened().ok_or_else(|| self.health.refusal())
    }

    pub(crate) const fn queue(&self) -> &Arc<WriterQueue<R>> {
        &self.queue
    }

    /// Asks the writer, who answers once; waits until there are `n_units` of room.
    ///
    /// # Errors
    /// What the writer says; that the store is closed.
    pub async fn ask<T, E: From<StoreError>>(
        &self,
        n_units: u32,
        request: impl FnOnce(oneshot::Sender<Result<T, E>>) -> R,
    ) -> Result<T, E> {
        let closed = || E::from(StoreError::Closed);
        let permit = match n_units {
            0 => None,
            _ => {
                let permit = Arc::clone(&self.queue.room).acquire_many_owned(n_units);
                Some(permit.await.map_err(|_| closed())?)
            }
        };
        let (done, result) = oneshot::channel();
        let request = WriterRequest::Commit(request(done));
        let sent = self.queue.requests.send(Queued { request, permit });
        sent.map_err(|_| closed())?;
        result.await.map_err(|_| closed())?
    }

    /// Asks the writer for what nobody waits for, without room: whoever does so bounds it. A store that is
    /// closed drops it.
    pub fn tell(&self, request: R) {
        let request = WriterRequest::Commit(request);
        let permit = None;
        drop(self.queue.requests.send(Queued { request, permit }));
    }

    /// What `read` makes of the file, on a thread that may wait for the disk.
    ///
    /// # Errors
    /// What redb says; while the file is opened again.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        let opened = self.opened()?;
        let opening = opened.opening;
        let task = tokio::task::spawn_blocking(move || {
            let transaction = opened.database.begin_read()?;
            read(&transaction)
        });
        let result = task.await.map_err(|_| StoreError::Closed)?;
        result.map_err(|error| self.queue.on_failed_read(opening, error))
    }

    /// Writes what waits and closes the file. It waits for the disk.
    pub fn close(&self) {
        self.stop();
        self.file.close();
    }

    /// What is queued has been committed when the thread ends; a panic of it has been printed.
    fn stop(&self) {
        let (request, permit) = (WriterRequest::Close, None);
        drop(self.queue.requests.send(Queued { request, permit }));
        let writer = self.writer.lock().take();
        if let Some(writer) = writer {
            drop(writer.join());
        }
    }
}

impl<R> Drop for GroupCommit<R> {
    fn drop(&mut self) {
        self.stop();
    }
}

impl<R> WriterQueue<R> {
    /// Has the file opened again where that may help. Says what the read of `opening` is told.
    pub(crate) fn on_failed_read(&self, opening: u64, error: redb::Error) -> StoreError {
        let Some(fault) = fault(&error) else {
            return StoreError::Database(Arc::new(error));
        };
        let reason: Arc<str> = error.to_string().into();
        // Where there is no room, the writes that have it meet the same error.
        if let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() {
            let request = WriterRequest::ReadFailed {
                fault,
                reason: Arc::clone(&reason),
                opening,
            };
            let permit = Some(permit);
            drop(self.requests.send(Queued { request, permit }));
        }
        StoreError::failed(fault, reason)
    }
}
