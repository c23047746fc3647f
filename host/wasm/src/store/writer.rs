//! The thread that writes: one commit after the other, each with all that waits. What errors of the disk
//! do is in `recovery`.

use std::{io, sync::Arc};

use postern_system::clock;
use tokio::{runtime, sync::mpsc, time::timeout_at};

use super::{
    BATCH_MAX, Write, commit,
    failure::{StoreError, StoreFault},
    recovery::StoreRecovery,
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

pub(super) struct Writer {
    recovery: StoreRecovery,
    queue: mpsc::Receiver<Request>,
    /// Waits for the queue and for the time of the next trial.
    clock: runtime::Runtime,
}

impl Writer {
    pub(super) fn new(recovery: StoreRecovery, queue: mpsc::Receiver<Request>) -> io::Result<Self> {
        let clock = runtime::Builder::new_current_thread()
            .enable_time()
            .build()?;
        Ok(Self {
            recovery,
            queue,
            clock,
        })
    }

    /// Writes until the store is dropped and its queue is empty.
    pub(super) fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        loop {
            let next = self.recovery.next_trial();
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
                None => self.recovery.try_again(),
            }
        }
    }

    fn take(&mut self, requests: impl Iterator<Item = Request>) {
        let next = self.recovery.next_trial();
        if next.is_some_and(|next| next <= clock::now()) {
            self.recovery.try_again();
        }
        let mut writes = Vec::new();
        for request in requests {
            match request {
                Request::Write(write) => writes.push(write),
                Request::ReadFailed(ReadFailure {
                    fault,
                    reason,
                    opening,
                }) => self.recovery.on_failed_read(opening, fault, reason),
            }
        }
        if !writes.is_empty() {
            self.write(writes);
        }
    }

    fn write(&mut self, writes: Vec<Write>) {
        let Some(opened) = self.recovery.writable() else {
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
            Err(error) => {
                let n_bytes = writes.iter().map(|write| write.change.n_bytes()).sum();
                if self.recovery.on_failed_commit(&error, n_bytes).is_some() {
                    return self.refuse(writes);
                }
                let error = StoreError::Database(Arc::new(error));
                for write in writes {
                    drop(write.done.send(Err(error.clone())));
                }
            }
        }
    }

    fn refuse(&self, writes: Vec<Write>) {
        let error = self.recovery.refusal();
        for write in writes {
            drop(write.done.send(Err(error.clone())));
        }
    }
}
