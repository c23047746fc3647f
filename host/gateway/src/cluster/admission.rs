//! The bulkhead of one service at work: calls enter, wait, or are refused. The decisions are those
//! of `core::resilience::bulkhead`; here are its lock, its clock and who is woken.

use std::{
    collections::HashMap,
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use postern_core::resilience::{
    Bulkhead, BulkheadAdmission, BulkheadConfig, BulkheadOutcome,
    bulkhead::{BulkheadReady, BulkheadRefused, ShedReason},
};
use postern_system::clock::now;
use tokio::sync::oneshot;

#[derive(Debug)]
pub(super) struct Admission {
    pub(super) config: BulkheadConfig,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    bulkhead: Bulkhead,
    next_id: u64,
    waiting: HashMap<u64, oneshot::Sender<Result<(), Shed>>>,
}

/// A call was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shed {
    pub(super) retry_after: Duration,
    pub(super) reason: ShedReason,
}

/// Leave to be under way, or a place in the queue for it. Dropped, it counts as cancelled.
#[derive(Debug)]
#[must_use = "what is admitted must be finished"]
pub(super) struct AdmissionPermit {
    admission: Arc<Admission>,
    id: u64,
    is_ended: bool,
}

/// What became of a call that asked for admission.
pub(super) enum AdmissionOutcome {
    Go(AdmissionPermit),
    /// It is admitted when the receiver says so.
    Wait(AdmissionPermit, oneshot::Receiver<Result<(), Shed>>),
    Shed(Shed),
}

impl Admission {
    /// `None` when the configuration makes no bulkhead; it is checked when it is read.
    pub(super) fn new(config: BulkheadConfig, now: Instant) -> Option<Self> {
        let inner = Inner {
            bulkhead: Bulkhead::new(config, now).ok()?,
            next_id: 0,
            waiting: HashMap::new(),
        };
        Some(Self {
            config,
            inner: Mutex::new(inner),
        })
    }

    pub(super) fn enter(
        self: &Arc<Self>,
        priority: u8,
        deadline: Option<Instant>,
    ) -> AdmissionOutcome {
        let mut inner = self.inner.lock();
        let id = inner.next_id;
        inner.next_id += 1;
        let now = now();
        let admission = inner.bulkhead.admit(now, priority, deadline, id);
        let permit = || AdmissionPermit {
            admission: Arc::clone(self),
            id,
            is_ended: false,
        };
        let entry = match admission {
            BulkheadAdmission::Go => AdmissionOutcome::Go(permit()),
            BulkheadAdmission::Shed {
                retry_after,
                reason,
            } => AdmissionOutcome::Shed(Shed {
                retry_after,
                reason,
            }),
            BulkheadAdmission::Wait { displaced } => {
                let (sender, receiver) = oneshot::channel();
                inner.waiting.insert(id, sender);
                if let Some(refused) = displaced {
                    inner.refuse(refused);
                }
                AdmissionOutcome::Wait(permit(), receiver)
            }
        };
        inner.refuse_late(now);
        entry
    }

    /// Calls that may be under way, that are, and that wait.
    pub(super) fn figures(&self) -> (u32, u32, usize) {
        let inner = self.inner.lock();
        let bulkhead = &inner.bulkhead;
        (bulkhead.limit(), bulkhead.in_flight(), bulkhead.n_waiting())
    }

    fn leave(&self, id: u64, outcome: Option<BulkheadOutcome>) {
        let mut inner = self.inner.lock();
        let now = now();
        inner.waiting.remove(&id);
        let ready = match outcome {
            Some(outcome) => inner.bulkhead.on_finish(now, id, outcome),
            None => inner.bulkhead.on_cancel(now, id),
        };
        inner.let_in(ready);
        inner.refuse_late(now);
    }
}

impl Inner {
    fn let_in(&mut self, ready: BulkheadReady) {
        for id in ready {
            if let Some(sender) = self.waiting.remove(&id) {
                // One that went away meanwhile gives its permit back when that is dropped.
                let _ = sender.send(Ok(()));
            }
        }
    }

    fn refuse(&mut self, refused: BulkheadRefused) {
        if let Some(sender) = self.waiting.remove(&refused.id) {
            let BulkheadRefused {
                retry_after,
                reason,
                ..
            } = refused;
            let _ = sender.send(Err(Shed {
                retry_after,
                reason,
            }));
        }
    }

    fn refuse_late(&mut self, now: Instant) {
        while let Some(refused) = self.bulkhead.poll(now) {
            self.refuse(refused);
        }
    }
}

impl AdmissionPermit {
    /// Waits to be admitted, no longer than the bulkhead lets anybody wait.
    ///
    /// # Errors
    /// When the call is refused after all.
    pub(super) async fn wait(
        self,
        mut receiver: oneshot::Receiver<Result<(), Shed>>,
        deadline: Option<Instant>,
    ) -> Result<Self, Shed> {
        let admission = Arc::clone(&self.admission);
        let latest = now() + admission.config.wait_max;
        let mut until = deadline.map_or(latest, |deadline| deadline.min(latest));
        loop {
            let due = std::pin::pin!(tokio::time::sleep_until(until.into()));
            match first(&mut receiver, due).await {
                Some(Ok(Ok(()))) => return Ok(self),
                Some(Ok(Err(shed))) => return Err(shed),
                // The sender is kept until it has spoken.
                Some(Err(_)) => return Err(EXPIRED),
                None => {
                    let now = now();
                    let mut inner = admission.inner.lock();
                    inner.refuse_late(now);
                    let next = inner.bulkhead.poll_timeout().map(|(at, _)| at);
                    until = next.unwrap_or(now).max(now + TICK);
                }
            }
        }
    }

    pub(super) fn finish(mut self, outcome: BulkheadOutcome) {
        self.is_ended = true;
        self.admission.leave(self.id, Some(outcome));
    }
}

impl Drop for AdmissionPermit {
    fn drop(&mut self) {
        if !self.is_ended {
            self.admission.leave(self.id, None);
        }
    }
}

/// What `answer` says, or `None` when `due` comes first.
async fn first<T>(answer: impl Future<Output = T>, due: impl Future<Output = ()>) -> Option<T> {
    tokio::select! {
        biased;
        answer = answer => Some(answer),
        () = due => None,
    }
}

const EXPIRED: Shed = Shed {
    retry_after: Duration::from_secs(1),
    reason: ShedReason::Expired,
};
/// The timer's own step: nobody looks more often.
const TICK: Duration = Duration::from_millis(1);
