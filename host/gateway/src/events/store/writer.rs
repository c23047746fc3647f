//! The thread that writes: one commit after the other, each with all that waits, whichever log it is for.
//! It alone says where events lie, so they become visible in their order. What errors of the disk do is
//! in `postern_wasm`'s recovery; a commit that failed has changed nothing.

use std::{collections::HashMap, io, sync::Arc};

use postern_core::Text;
use postern_system::clock;
use postern_wasm::{OpenFile, StoreError, StoreRecovery};
use tokio::{runtime, sync::mpsc, time::timeout_at};

use super::{
    batch::LogBatch,
    disk::FailedRead,
    request::{AppendRequest, ConsumerRequest, Request},
};

pub(super) struct Writer {
    recovery: StoreRecovery,
    queue: mpsc::UnboundedReceiver<Request>,
    /// Waits for the queue and for the time of the next trial.
    clock: runtime::Runtime,
}

impl Writer {
    pub(super) fn new(
        recovery: StoreRecovery,
        queue: mpsc::UnboundedReceiver<Request>,
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
        let mut requests = Vec::with_capacity(BATCH_MAX);
        loop {
            let next = self.recovery.next_trial();
            let queue = &mut self.queue;
            let received = self.clock.block_on(async {
                let receiving = queue.recv_many(&mut requests, BATCH_MAX);
                match next {
                    None => Some(receiving.await),
                    Some(next) => timeout_at(next.into(), receiving).await.ok(),
                }
            });
            match received {
                Some(0) => break,
                Some(_) => {
                    if self.take(std::mem::take(&mut requests)) {
                        break;
                    }
                }
                None => self.recovery.try_again(),
            }
        }
    }

    /// Says whether it is to end.
    fn take(&mut self, requests: Vec<Request>) -> bool {
        let next = self.recovery.next_trial();
        if next.is_some_and(|next| next <= clock::now()) {
            self.recovery.try_again();
        }
        let mut is_closing = false;
        let mut logs = HashMap::<Text, LogBatch>::new();
        for request in requests {
            let log = match &request {
                Request::Append(AppendRequest { log, .. })
                | Request::Consumer(ConsumerRequest { log, .. })
                | Request::Delete { log, .. }
                | Request::Sync(log) => Arc::clone(log),
                Request::Trim(log) => match log.upgrade() {
                    Some(log) => log,
                    None => continue,
                },
                Request::ReadFailed(FailedRead {
                    fault,
                    reason,
                    opening,
                }) => {
                    let reason = Arc::clone(reason);
                    self.recovery.on_failed_read(*opening, *fault, reason);
                    continue;
                }
                Request::Close => {
                    is_closing = true;
                    continue;
                }
            };
            let batch = logs
                .entry(log.name.clone())
                .or_insert_with(|| LogBatch::new(log));
            batch.add(request);
        }
        if !logs.is_empty() {
            self.write(logs.into_values().collect());
        }
        is_closing
    }

    fn write(&mut self, mut batches: Vec<LogBatch>) {
        let Some(opened) = self.recovery.writable() else {
            return self.refuse(batches);
        };
        let committed = commit(&opened, &mut batches);
        drop(opened);
        match committed {
            Ok(()) => batches.into_iter().for_each(LogBatch::on_committed),
            Err(error) => {
                let n_bytes = batches.iter().map(LogBatch::n_bytes).sum();
                if self.recovery.on_failed_commit(&error, n_bytes).is_some() {
                    return self.refuse(batches);
                }
                let error = StoreError::Database(Arc::new(error));
                for batch in batches {
                    batch.on_failed(&error);
                }
            }
        }
    }

    fn refuse(&self, batches: Vec<LogBatch>) {
        let error = self.recovery.refusal();
        for batch in batches {
            batch.on_failed(&error);
        }
    }
}

fn commit(opened: &OpenFile, batches: &mut [LogBatch]) -> Result<(), redb::Error> {
    let transaction = opened.database.begin_write()?;
    for batch in batches {
        batch.write(&transaction)?;
    }
    transaction.commit()?;
    Ok(())
}

/// Requests in one commit.
const BATCH_MAX: usize = 1024;
