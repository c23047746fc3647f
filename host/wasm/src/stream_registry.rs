//! The streams of one generation: how many may hold an instance at one time, and which of them stand
//! still.
//!
//! A guest that answers a stream runs inside the reply's body, which nobody polls while the caller
//! takes nothing. So whether it stands still is seen from outside, about every second, and it is ended
//! from there: its instance is free at once, and the caller finds the error when it reads on.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use postern_core::{Blame, BoxFuture, Error, Kind, Retry};
use postern_system::{clock, wait};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};

use crate::{
    limits::time, progress::Progress, reply_draft::Drafted, spec::Instances, state::Guest,
};

/// For how long a guest may go on that was told that its caller has left: enough to give back what it holds,
/// while it holds one of the instances for streams.
const LEAVE_MAX: Duration = Duration::from_millis(500);

/// The streams of one generation.
pub(crate) struct StreamRegistry {
    /// One for each instance that a stream may hold.
    permits: Arc<Semaphore>,
    permits_max: usize,
    /// Streams that wait for a permit.
    n_waiting: AtomicUsize,
    running: Mutex<BTreeMap<u64, Watched>>,
    numbers: AtomicU64,
    /// Guests whose callers have left, each for `LEAVE_MAX` at most. They hold permits, so that there are no
    /// more than may answer at one time.
    leaving: Mutex<JoinSet<()>>,
}

/// A guest that answers a stream.
pub(crate) struct Running {
    /// `None` once it has ended.
    guest: Mutex<Option<BoxFuture<Result<Drafted, Error>>>>,
    /// Why it was ended from outside.
    ended: Mutex<Option<Error>>,
    /// Whoever polls it.
    reader: AtomicWaker,
    progress: Arc<Progress>,
}

/// A stream as it was seen last.
struct Watched {
    running: Weak<Running>,
    n_messages: u64,
    waits: bool,
    /// Since when it has been so.
    since: Instant,
}

/// A stream in the registry, for as long as its guest runs.
pub(crate) struct RegisteredStream {
    registry: Arc<StreamRegistry>,
    number: u64,
}

impl StreamRegistry {
    pub(crate) fn new(instances: &Instances) -> Self {
        let permits_max = instances.streams_max();
        Self {
            permits: Arc::new(Semaphore::new(permits_max.min(Semaphore::MAX_PERMITS))),
            permits_max,
            n_waiting: AtomicUsize::new(0),
            running: Mutex::default(),
            numbers: AtomicU64::new(0),
            leaving: Mutex::default(),
        }
    }

    /// A permit to hold an instance, in the order of arrival; waits as long as a call waits for an instance.
    ///
    /// # Errors
    /// `resource-exhausted` when none came in time, or too many wait.
    pub(crate) async fn permit(
        &self,
        guest: &Guest,
        deadline: Option<Instant>,
    ) -> Result<OwnedSemaphorePermit, Error> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Ok(permit);
        }
        let instances = &guest.spec.instances;
        let (plugin, max) = (&guest.plugin, self.permits_max);
        let refuse = |message: String| {
            guest.stats.on_refused();
            let error = Error::new(Kind::ResourceExhausted, Blame::Gateway, message);
            error.with_retry(Retry::Elsewhere)
        };
        let waiting = Waiting::new(&self.n_waiting);
        let queue_max = instances.queue_max;
        if self.n_waiting.load(Relaxed) > queue_max {
            let message = format!("{queue_max} streams already wait for plugin {plugin}");
            return Err(refuse(message));
        }
        let start = clock::now();
        let permit = wait::before(deadline, Arc::clone(&self.permits).acquire_owned());
        let permit = tokio::time::timeout(instances.queue_time_max, permit).await;
        drop(waiting);
        let waited = clock::since(start);
        guest.stats.on_queue_wait(waited);
        // It is never closed.
        let permit = permit.ok().flatten().and_then(|(permit, _)| permit.ok());
        permit.ok_or_else(|| {
            let message = format!(
                "the {max} streams that plugin {plugin} may answer at one time were busy for {}",
                time(waited)
            );
            refuse(message)
        })
    }

    fn add(&self, running: &Arc<Running>) -> u64 {
        let number = self.numbers.fetch_add(1, Relaxed);
        let watched = Watched {
            running: Arc::downgrade(running),
            n_messages: 0,
            waits: false,
            since: clock::now(),
        };
        self.running.lock().insert(number, watched);
        number
    }

    /// Ends the streams whose callers have neither sent nor read for too long.
    pub(crate) fn end_stalled(&self, guest: &Guest, now: Instant) {
        let idle_max = guest.spec.instances.stream_idle_max;
        // What does not wait for its caller works, which has a limit of its own, unless nobody polls it.
        let work_max = idle_max.saturating_add(guest.spec.limits.time_max);
        // Let go of after the lock: whoever lets go last drops a guest, which asks for it.
        let mut looked_at = Vec::new();
        let stalled: Vec<_> = {
            let mut all = self.running.lock();
            let stalled = all.values_mut().filter_map(|watched| {
                let running = watched.running.upgrade()?;
                looked_at.push(Arc::clone(&running));
                let limit = match watched.look(&running.progress, now) {
                    true => idle_max,
                    false => work_max,
                };
                (now.saturating_duration_since(watched.since) >= limit).then_some(running)
            });
            stalled.collect()
        };
        for running in stalled {
            let (plugin, limit) = (&guest.plugin, time(idle_max));
            let message = format!(
                "the caller of plugin {plugin} has neither sent nor read for its stream-idle-timeout of {limit}"
            );
            running.end(Error::deadline_exceeded(Blame::Client, message));
        }
    }

    /// Ends all streams of a generation whose calls are cut off.
    pub(crate) fn end_all(&self, guest: &Guest) {
        let running = self.running.lock();
        let all: Vec<_> = running
            .values()
            .filter_map(|watched| watched.running.upgrade())
            .collect();
        drop(running);
        for running in all {
            running.end(guest.drain.error(&guest.plugin));
        }
    }
}

impl Watched {
    /// Notes what has changed; says whether the guest waits for the other end.
    fn look(&mut self, progress: &Progress, now: Instant) -> bool {
        let n_messages = progress.n_messages.load(Relaxed);
        let waits = progress.waits.load(Relaxed);
        if (n_messages, waits) != (self.n_messages, self.waits) {
            (self.n_messages, self.waits, self.since) = (n_messages, waits, now);
        }
        waits
    }
}

impl Running {
    /// A stream in `registry`.
    pub(crate) fn register(
        registry: &Arc<StreamRegistry>,
        guest: BoxFuture<Result<Drafted, Error>>,
        progress: Arc<Progress>,
    ) -> (Arc<Self>, RegisteredStream) {
        let running = Arc::new(Self {
            guest: Mutex::new(Some(guest)),
            ended: Mutex::default(),
            reader: AtomicWaker::new(),
            progress,
        });
        let number = registry.add(&running);
        let registry = Arc::clone(registry);
        (running, RegisteredStream { registry, number })
    }

    /// Runs the guest as far as it goes; ready when it has ended.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Result<Drafted, Error>> {
        self.reader.register(cx.waker());
        let mut guest = self.guest.lock();
        let Some(running) = &mut *guest else {
            let ended = self.ended.lock().take();
            return Poll::Ready(ended.map_or_else(|| Ok(Drafted::default()), Err));
        };
        let polled = running.as_mut().poll(cx);
        if polled.is_ready() {
            *guest = None;
        }
        polled
    }

    /// The caller has taken a message.
    pub(crate) fn on_read(&self) {
        self.progress.on_message();
    }

    /// The caller has left. A guest that waits for it finds that out, and has `LEAVE_MAX` to end; any other is
    /// dropped where it stands, with the last one that knows it.
    pub(crate) fn leave(this: &Arc<Self>, registered: RegisteredStream) {
        let waits = this.progress.waits.load(Relaxed);
        this.progress.leave();
        let Some(runtime) = Handle::try_current().ok().filter(|_| waits) else {
            return;
        };
        let running = Arc::clone(this);
        let registry = Arc::clone(&registered.registry);
        let ending = async move {
            let ended = std::future::poll_fn(|cx| running.poll(cx));
            // Nobody is told what it ends with.
            drop(tokio::time::timeout(LEAVE_MAX, ended).await);
            drop(registered);
        };
        let mut leaving = registry.leaving.lock();
        while leaving.try_join_next().is_some() {}
        leaving.spawn_on(ending, &runtime);
    }

    /// Ends the guest unless it is being polled, which is no standstill.
    fn end(&self, error: Error) {
        let Some(mut guest) = self.guest.try_lock() else {
            return;
        };
        let Some(running) = guest.take() else { return };
        *self.ended.lock() = Some(error);
        drop(guest);
        // On the thread that gives all guests their time: it goes on. The message has been printed.
        drop(catch_unwind(AssertUnwindSafe(|| drop(running))));
        self.reader.wake();
    }
}

impl Drop for RegisteredStream {
    fn drop(&mut self) {
        self.registry.running.lock().remove(&self.number);
    }
}

/// Counts one that waits for as long as it lives.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_stream_stands_still_while_nothing_changes() {
        let start = clock::now();
        let second = Duration::from_secs(1);
        let progress = Progress::default();
        let mut watched = Watched {
            running: Weak::new(),
            n_messages: 0,
            waits: false,
            since: start,
        };
        assert!(!watched.look(&progress, start + second));
        assert_eq!(watched.since, start);
        let waiting = progress.begin_wait();
        assert!(watched.look(&progress, start + second * 2));
        assert!(watched.look(&progress, start + second * 3));
        assert_eq!(watched.since, start + second * 2);
        // A message came and the next is waited for: as before, but for the count.
        drop(waiting);
        let _waiting = progress.begin_wait();
        assert!(watched.look(&progress, start + second * 4));
        assert_eq!(watched.since, start + second * 4);
    }
}
