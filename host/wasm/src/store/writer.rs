//! The thread that writes: one commit after the other, each with all that waits. What errors of the disk
//! do is in `recovery`; a commit that failed has changed nothing.

use std::{io, sync::Arc};

use postern_system::clock;
use redb::WriteTransaction;
use tokio::{
    runtime,
    sync::{OwnedSemaphorePermit, mpsc},
    time::timeout_at,
};

use super::{
    failure::{StoreError, StoreFault},
    recovery::{OpenFile, StoreRecovery},
};

/// Requests that are written by one commit, and what each is told: how one kind of store uses its file.
pub trait CommitBatch: Default + 'static {
    type Request: Send + 'static;

    /// The name of the thread that writes.
    const THREAD: &'static str;
    /// Requests in one commit.
    const REQUESTS_MAX: usize;
    /// Units of room that requests may hold until they are answered; whoever asks for more waits.
    const UNITS_MAX: usize;

    fn add(&mut self, request: Self::Request);

    /// Whether there is nothing to commit.
    fn is_empty(&self) -> bool;

    /// Octets that it writes, about.
    fn n_bytes(&self) -> usize;

    /// # Errors
    /// What redb says; nothing is committed then.
    fn write(&mut self, transaction: &WriteTransaction) -> Result<(), redb::Error>;

    /// It is on disk.
    fn on_committed(self);

    /// Nothing of it is on disk.
    fn on_failed(self, error: &StoreError);
}

/// What the writer is asked, with the room that this takes.
pub(super) struct Queued<R> {
    pub request: WriterRequest<R>,
    pub permit: Option<OwnedSemaphorePermit>,
}

pub(super) enum WriterRequest<R> {
    Commit(R),
    /// A read of the file as it was opened for the `opening`th time met an error of the disk.
    ReadFailed {
        fault: StoreFault,
        reason: Arc<str>,
        opening: u64,
    },
    Close,
}

pub(super) struct Writer<B: CommitBatch> {
    recovery: StoreRecovery,
    queue: mpsc::UnboundedReceiver<Queued<B::Request>>,
    /// Waits for the queue and for the time of the next trial.
    clock: runtime::Runtime,
}

impl<B: CommitBatch> Writer<B> {
    pub(super) fn new(
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
    pub(super) fn run(mut self) {
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
