//! A file of redb with one writer: requests that wait while a commit is on its way are committed together,
//! so that sixteen writers cost one sync, not sixteen. What is kept in the file, and what a request is, is
//! its user's (`CommitBatch`). What errors of the disk do is in `recovery`.
//!
//! ```text
//! ask ─▶ queue, bounded by units of room ─▶ thread: one commit for all that waits ─▶ each is told
//! read, on a thread that may wait ──meets an error of the disk──▶ queue: the file is opened again
//! ```

use std::{
    io,
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
};

use parking_lot::Mutex;
use postern_system::clock;
use redb::{Database, DatabaseError, ReadTransaction, ReadableDatabase};
use tokio::{
    runtime,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::timeout_at,
};

use super::{
    CommitBatch,
    failure::{StoreError, StoreFault, StoreHealth, fault},
    recovery::{OpenFile, StoreFile, StoreRecovery},
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

/// What the writer is asked, with the room that this takes.
struct Queued<R> {
    request: WriterRequest<R>,
    permit: Option<OwnedSemaphorePermit>,
}

enum WriterRequest<R> {
    Commit(R),
    /// A read of the file as it was opened for the `opening`th time met an error of the disk.
    ReadFailed {
        fault: StoreFault,
        reason: Arc<str>,
        opening: u64,
    },
    Close,
}

/// The thread that writes: one commit after the other, each with all that waits.
struct Writer<B: CommitBatch> {
    recovery: StoreRecovery,
    queue: mpsc::UnboundedReceiver<Queued<B::Request>>,
    /// Waits for the queue and for the time of the next trial.
    clock: runtime::Runtime,
}

impl<R: Send + 'static> GroupCommit<R> {
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
}

impl<R> GroupCommit<R> {
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

impl<B: CommitBatch> Writer<B> {
    fn new(
        recovery: StoreRecovery,
        queue: mpsc::UnboundedReceiver<Queued<B::Request>>,
    ) -> io::Result<Self> {
        let clock = runtime::Builder::new_current_thread()
            .enable_time()
            .build()?;
        Ok(Self {
            recovery,
            queue,
            clock,
        })
    }

    /// Writes until it is told to close.
    fn run(mut self) {
        let mut requests = Vec::with_capacity(B::REQUESTS_MAX);
        loop {
            let next = self.recovery.next_trial();
            let queue = &mut self.queue;
            let received = self.clock.block_on(async {
                let receiving = queue.recv_many(&mut requests, B::REQUESTS_MAX);
                match next {
                    None => Some(receiving.await),
                    Some(next) => timeout_at(next.into(), receiving).await.ok(),
                }
            });
            match received {
                Some(0) => break,
                Some(_) => {
                    if self.take(requests.drain(..)) {
                        break;
                    }
                }
                None => self.recovery.try_again(),
            }
        }
    }

    /// Says whether it is to end.
    fn take(&mut self, requests: impl Iterator<Item = Queued<B::Request>>) -> bool {
        let next = self.recovery.next_trial();
        if next.is_some_and(|next| next <= clock::now()) {
            self.recovery.try_again();
        }
        let mut is_closing = false;
        let mut batch = B::default();
        let mut held: Option<OwnedSemaphorePermit> = None;
        for Queued { request, permit } in requests {
            if let Some(permit) = permit {
                match &mut held {
                    Some(held) => held.merge(permit),
                    None => held = Some(permit),
                }
            }
            match request {
                WriterRequest::Commit(request) => batch.add(request),
                WriterRequest::ReadFailed {
                    fault,
                    reason,
                    opening,
                } => self.recovery.on_failed_read(opening, fault, reason),
                WriterRequest::Close => is_closing = true,
            }
        }
        if !batch.is_empty() {
            self.write(batch);
        }
        is_closing
    }

    fn write(&mut self, mut batch: B) {
        let Some(opened) = self.recovery.writable() else {
            return batch.on_failed(&self.recovery.refusal());
        };
        let committed = commit(&opened, &mut batch);
        drop(opened);
        match committed {
            Ok(()) => batch.on_committed(),
            Err(error) => {
                let fault = self.recovery.on_failed_commit(&error, batch.n_bytes());
                let error = match fault {
                    Some(_) => self.recovery.refusal(),
                    None => StoreError::Database(Arc::new(error)),
                };
                batch.on_failed(&error);
            }
        }
    }
}

fn commit(opened: &OpenFile, batch: &mut impl CommitBatch) -> Result<(), redb::Error> {
    let transaction = opened.database.begin_write()?;
    batch.write(&transaction)?;
    transaction.commit()?;
    Ok(())
}
