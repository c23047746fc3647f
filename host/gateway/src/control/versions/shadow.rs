//! Copies of calls for a version that is not to answer them: its answers are compared with those that callers
//! get, and go to nobody. No caller waits for a copy, and there are so many at one time at most.
//!
//! What is not compared is counted by its reason: streams, large messages, copies beyond the bound, calls that
//! were given up, and copies that wanted an effect (`postern_core::shadow`).

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use parking_lot::Mutex;
use postern_core::{
    Body, BoxFuture, Call, Error, Handler, Reply, Text,
    compare::ComparedAnswer,
    event::Outbox,
    shadow::{CopiedState, ShadowMark},
};
use postern_system::clock;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    task::JoinHandle,
};
use tracing::info;

use super::meter::{Arm, Meter};

/// What a copy that is made at this moment works on, in the place of the plugin's store.
pub(super) type StateForCopy = Box<dyn Fn() -> Option<CopiedState> + Send + Sync>;

/// What copies of calls come to.
pub(crate) struct Shadow {
    numbers: Arc<ShadowNumbers>,
    names: Arc<[Text]>,
    state: StateForCopy,
    permits: Arc<Semaphore>,
    jobs: mpsc::Sender<ShadowJob>,
    worker: JoinHandle<()>,
}

/// Counts of copies.
#[derive(Debug, Default)]
pub(crate) struct ShadowNumbers {
    counts: [AtomicU64; ShadowOutcome::ALL.len()],
    /// The latest differences, at most `SHOWN_MAX`.
    shown: Mutex<VecDeque<String>>,
}

/// What became of a call that was to be copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShadowOutcome {
    Same,
    Different,
    /// It wanted an effect, so that its answer says nothing.
    WantedEffect,
    Stream,
    /// A message of more than `BODY_BYTES_MAX`.
    TooLarge,
    /// As many copies as may be were under way.
    Full,
    /// The call was given up, or ended otherwise than by an answer.
    GivenUp,
}

/// A copy on its way.
struct ShadowJob {
    call: Call,
    expected: oneshot::Receiver<ComparedAnswer>,
    _permit: OwnedSemaphorePermit,
}

/// Where the copy learns what its call was answered with.
pub(crate) struct Copied {
    answer: oneshot::Sender<ComparedAnswer>,
    names: Arc<[Text]>,
}

/// The answer of a call that was copied.
struct Told {
    inner: BoxFuture<Result<Reply, Error>>,
    copied: Option<Copied>,
}

impl Shadow {
    /// # Panics
    /// Outside of a tokio runtime.
    pub(super) fn new(
        (canary, state): (Arc<dyn Handler>, StateForCopy),
        meter: Arc<Meter>,
        names: Vec<Text>,
        calls_max: usize,
        label: &str,
    ) -> Self {
        let (jobs, received) = mpsc::channel(calls_max);
        let numbers = Arc::<ShadowNumbers>::default();
        let names: Arc<[Text]> = names.into();
        let worker = Worker {
            canary,
            meter,
            numbers: Arc::clone(&numbers),
            names: Arc::clone(&names),
            label: label.to_owned(),
        };
        Self {
            numbers,
            names,
            state,
            permits: Arc::new(Semaphore::new(calls_max)),
            jobs,
            worker: tokio::spawn(worker.run(received)),
        }
    }

    pub(crate) fn numbers(&self) -> &ShadowNumbers {
        &self.numbers
    }

    /// Sends a copy of `call` on its way, if it can be copied.
    pub(super) fn copy(&self, call: &Call) -> Option<Copied> {
        let refused = |outcome| {
            self.numbers.count(outcome);
            None
        };
        if let Body::One(body) = &call.body
            && body.len() > BODY_BYTES_MAX
        {
            return refused(ShadowOutcome::TooLarge);
        }
        let Some(mut copy) = call.try_clone() else {
            return refused(ShadowOutcome::Stream);
        };
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            return refused(ShadowOutcome::Full);
        };
        // Before the call itself begins, so that the copy sees nothing of what that writes.
        copy.context.shadow = Some(Arc::new(ShadowMark::over((self.state)())));
        // What it has to say beside its answer is for the caller.
        copy.context.outbox = Outbox::closed();
        let (answer, expected) = oneshot::channel();
        let job = ShadowJob {
            call: copy,
            expected,
            _permit: permit,
        };
        match self.jobs.try_send(job) {
            Ok(()) => Some(Copied {
                answer,
                names: Arc::clone(&self.names),
            }),
            Err(_) => refused(ShadowOutcome::Full),
        }
    }
}

impl Drop for Shadow {
    fn drop(&mut self) {
        self.worker.abort();
    }
}

impl Copied {
    /// Tells the copy what `answering` becomes.
    pub(super) fn watch(
        self,
        answering: BoxFuture<Result<Reply, Error>>,
    ) -> BoxFuture<Result<Reply, Error>> {
        Box::pin(Told {
            inner: answering,
            copied: Some(self),
        })
    }
}

impl Future for Told {
    type Output = Result<Reply, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = ready!(self.inner.as_mut().poll(cx));
        if let Some(Copied { answer, names }) = self.copied.take()
            && let Some(told) = ComparedAnswer::of(&result, &names)
        {
            // A copy that is gone needs no answer.
            let _ = answer.send(told);
        }
        Poll::Ready(result)
    }
}

/// Makes the copies' calls.
struct Worker {
    canary: Arc<dyn Handler>,
    meter: Arc<Meter>,
    numbers: Arc<ShadowNumbers>,
    names: Arc<[Text]>,
    label: String,
}

impl Worker {
    async fn run(self, mut jobs: mpsc::Receiver<ShadowJob>) {
        let mut under_way = FuturesUnordered::new();
        loop {
            tokio::select! {
                job = jobs.recv() => match job {
                    Some(job) => under_way.push(self.compare(job)),
                    None => return,
                },
                Some(()) = under_way.next() => {}
            }
        }
    }

    async fn compare(&self, job: ShadowJob) {
        let ShadowJob {
            call,
            expected,
            _permit,
        } = job;
        let mark = call.context.shadow.clone().unwrap_or_default();
        let target = format!("{}/{}", call.service, call.method);
        let end = call.context.deadline;
        let end = end.unwrap_or_else(|| clock::now() + COPY_TIME_MAX);
        let metered = self.meter.begin(Arm::Canary, Some(end));
        let answering = metered.watch(self.canary.call(call));
        let both = async { tokio::join!(answering, expected) };
        let outcome = match tokio::time::timeout_at(end.into(), both).await {
            Ok((got, Ok(expected))) => self.judge(&target, &mark, &expected, &got),
            Ok((_, Err(_))) | Err(_) => ShadowOutcome::GivenUp,
        };
        mark.end();
        self.numbers.count(outcome);
    }

    fn judge(
        &self,
        target: &str,
        mark: &ShadowMark,
        expected: &ComparedAnswer,
        got: &Result<Reply, Error>,
    ) -> ShadowOutcome {
        if mark.has_wanted_effect() {
            return ShadowOutcome::WantedEffect;
        }
        let Some(got) = ComparedAnswer::of(got, &self.names) else {
            return ShadowOutcome::Stream;
        };
        if is_too_large(expected) || is_too_large(&got) {
            return ShadowOutcome::TooLarge;
        }
        let differences = expected.differences(&got);
        if differences.is_empty() {
            return ShadowOutcome::Same;
        }
        let told: Vec<_> = differences.iter().map(ToString::to_string).collect();
        let told = format!("{target}: {}", told.join("; "));
        if self.numbers.show(&told) {
            info!(
                version = self.label,
                difference = told,
                "a copy was answered otherwise"
            );
        }
        ShadowOutcome::Different
    }
}

impl ShadowNumbers {
    pub(crate) fn with(&self, outcome: ShadowOutcome) -> u64 {
        let count = self.counts.get(outcome as usize);
        count.map_or(0, |count| count.load(Relaxed))
    }

    /// The latest differences.
    pub(crate) fn shown(&self) -> Vec<String> {
        self.shown.lock().iter().cloned().collect()
    }

    fn count(&self, outcome: ShadowOutcome) {
        if let Some(count) = self.counts.get(outcome as usize) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// Keeps a difference; says whether it is one of the first, which are logged.
    fn show(&self, told: &str) -> bool {
        let mut text = told.to_owned();
        text.truncate(text.floor_char_boundary(SHOWN_BYTES_MAX));
        let mut shown = self.shown.lock();
        if shown.len() == SHOWN_MAX {
            shown.pop_front();
        }
        shown.push_back(text);
        self.with(ShadowOutcome::Different) < LOGGED_MAX
    }
}

impl ShadowOutcome {
    pub(crate) const ALL: [Self; 7] = [
        Self::Same,
        Self::Different,
        Self::WantedEffect,
        Self::Stream,
        Self::TooLarge,
        Self::Full,
        Self::GivenUp,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Different => "different",
            Self::WantedEffect => "wanted-effect",
            Self::Stream => "stream",
            Self::TooLarge => "too-large",
            Self::Full => "full",
            Self::GivenUp => "given-up",
        }
    }
}

fn is_too_large(answer: &ComparedAnswer) -> bool {
    match answer {
        ComparedAnswer::Reply { body, .. } => body.len() > BODY_BYTES_MAX,
        ComparedAnswer::Failure { .. } => false,
    }
}

/// Of a message that is copied or compared: copies hold both their call's answer and their own.
const BODY_BYTES_MAX: usize = 1 << 20;
/// For a copy of a call without deadline.
const COPY_TIME_MAX: Duration = Duration::from_secs(30);
/// Differences that are shown, and of each so much.
const SHOWN_MAX: usize = 8;
const SHOWN_BYTES_MAX: usize = 512;
/// Differences that are logged. All are counted.
const LOGGED_MAX: u64 = 8;
