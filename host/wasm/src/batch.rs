//! Role `batch-handler`: calls of one method that arrived together, answered in one entry.
//!
//! A batch is a shortcut and never more than that. It is entered on the inline path, where nothing has an effect
//! outside the store (`call_path.rs`), and unless it ends with an answer to each of its calls it is as if it
//! had never been: its instance is dropped, and the calls are made one by one.
//!
//! ```text
//! calls ─▶ handle-batch ─┬─ an answer to each: the end
//!                        └─ trap, bailout, deadline, too few, too much ─▶ handle, one by one
//! ```
//! So a call that traps costs its neighbours some time and nothing else, and whatever a call is told,
//! it is told by the rules of a single one.

use std::{
    future, mem,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use postern_core::{Body, BoxFuture, Call, Error, Reply};

use crate::{
    bindings::HandleResult,
    convert, executor,
    instance::InlineError,
    lease::Lease,
    placement::{IN_PLACE_MAX, Placement},
    reply_draft::{Draft, ReplyDraft},
    serving::WorkerShard,
    state::{AmbientCall, CallContext},
};

/// Octets of the bodies of one batch together. Of large ones the price of an entry is a small part.
const OCTETS_MAX: usize = 64 * 1024;
/// What a batch is to take at most, as calls have gone lately. Far below a tick of the epoch (10 ms),
/// which would undo it.
const TIME_MAX: Duration = Duration::from_micros(500);
/// After a batch that was undone, the calls of so many are made one by one: where calls keep failing,
/// one batch in 65 is tried.
const PAUSE: u32 = 64;

/// What a call comes to.
type Answer = Result<Reply, Error>;

/// Calls that are answered in one entry, as their store knows them.
#[derive(Default)]
pub(crate) struct Batch {
    n_calls: usize,
    /// All of them, until one has its turn.
    calls: Vec<Call>,
    /// All but the one that has its turn, from the first turn on.
    waiting: Vec<Option<Call>>,
    turn: usize,
    /// What is set of replies, each with the index of its call.
    replies: Vec<(usize, Box<ReplyDraft>)>,
    deadline: Option<Instant>,
}

/// How calls went lately, as far as one thread has seen.
#[derive(Debug, Default)]
pub(crate) struct BatchStatistics {
    /// Of a call, in nanoseconds: each one moves it by an eighth. 0 before the first.
    nanos: AtomicU64,
    /// Batches that are still to be made call by call.
    pause: AtomicU32,
}

/// Answers `calls`, each by the guest's `handle-batch` where it may be, else by `handle`.
pub(crate) fn call(shard: &Arc<WorkerShard>, mut calls: Vec<Call>) -> Vec<BoxFuture<Answer>> {
    let mut answering = Vec::with_capacity(calls.len());
    let n_calls_max = shard.batch_max();
    while !calls.is_empty() {
        let rest = calls.split_off(run_length(shard, &calls, n_calls_max));
        if let Err(calls) = enter(shard, mem::replace(&mut calls, rest), &mut answering) {
            answering.extend(calls.into_iter().map(|call| Arc::clone(shard).call(call)));
        }
    }
    answering
}

/// How many of `calls`, from the first on, can be made in one entry. At least one.
fn run_length(shard: &WorkerShard, calls: &[Call], n_calls_max: usize) -> usize {
    let Some(first) = calls.first() else { return 0 };
    let limit = shard.generation().guest.spec.limits.input_bytes_max;
    let mut octets = 0;
    let fits = |call: &&Call| {
        let length = match &call.body {
            Body::Empty => 0,
            Body::One(message) => message.len(),
            Body::Messages(_) | Body::Octets(_) => return false,
        };
        octets += length;
        let fit = length <= limit && octets <= OCTETS_MAX;
        fit && call.method == first.method && call.service == first.service
    };
    if shard.generation().streams(first) {
        return 1;
    }
    let n_calls = calls.iter().take(n_calls_max).take_while(fits).count();
    n_calls.max(1)
}

/// Makes all calls in one entry.
///
/// # Errors
/// The calls, when they are to be made one by one.
fn enter(
    shard: &Arc<WorkerShard>,
    mut calls: Vec<Call>,
    answering: &mut Vec<BoxFuture<Answer>>,
) -> Result<(), Vec<Call>> {
    let [first, _, ..] = calls.as_slice() else {
        return Err(calls);
    };
    let (service, method) = (first.service.clone(), first.method.clone());
    let placement = shard.generation().placements.of(&service, &method);
    let before = match placement {
        Placement::InPlace => None,
        Placement::Measured => Some(executor::thread_time()),
        Placement::Offloaded => return Err(calls),
    };
    let Ok(mut lease) = Arc::clone(shard).try_lease(shard.generation().path()) else {
        return Err(calls);
    };
    if lease.is_async() {
        lease.hand_back();
        return Err(calls);
    }
    let bodies: Vec<Bytes> = calls.iter_mut().map(take_message).collect();
    let (joined, lengths) = join(&bodies);
    let instance = lease.begin_batch(Box::new(Batch::new(calls)));
    let answered = instance.handle_batch_inline(&service, &method, &joined, &lengths);
    let batch = instance.end_batch();
    let limits = &lease.guest().spec.limits;
    let undone = match answered {
        Ok(answers) => match check(&answers, bodies.len(), limits.output_bytes_max) {
            Ok(()) => {
                let time = finish(lease, answers, batch, answering);
                if time > IN_PLACE_MAX || before.is_some() {
                    let n_calls = u32::try_from(bodies.len()).unwrap_or(u32::MAX).max(1);
                    let computed = before
                        .map(|before| executor::thread_time().saturating_sub(before) / n_calls);
                    let placements = &shard.generation().placements;
                    placements.on_in_place(&service, &method, time, computed);
                }
                return Ok(());
            }
            Err(reason) => reason,
        },
        Err(InlineError::Bailout(_)) => "it bailed out".to_owned(),
        Err(InlineError::Trapped(trapped)) => trapped.text,
    };
    let (plugin, n_calls) = (&lease.guest().plugin, bodies.len());
    tracing::debug!(%plugin, n_calls, reason = undone, "batch undone");
    // Before its calls need another instance.
    lease.undo();
    Err(batch.into_calls(bodies))
}

fn take_message(call: &mut Call) -> Bytes {
    match mem::take(&mut call.body) {
        Body::One(message) => message,
        Body::Empty | Body::Messages(_) | Body::Octets(_) => Bytes::new(),
    }
}

/// All octets, one body behind the other, and how many each has.
fn join(bodies: &[Bytes]) -> (Vec<u8>, Vec<u32>) {
    let length = |body: &Bytes| u32::try_from(body.len()).unwrap_or(u32::MAX);
    (bodies.concat(), bodies.iter().map(length).collect())
}

/// Whether there is an answer to each call, none over the limit.
fn check(answers: &[HandleResult], n_calls: usize, octets_max: usize) -> Result<(), String> {
    if answers.len() != n_calls {
        return Err(format!("{} results for {n_calls} calls", answers.len()));
    }
    let mut octets = answers.iter().flatten().map(Vec::len);
    match octets.find(|octets| *octets > octets_max) {
        Some(octets) => Err(format!("a result of {octets} octets")),
        None => Ok(()),
    }
}

/// Says what each call took.
fn finish(
    lease: Lease,
    answers: Vec<HandleResult>,
    mut batch: Batch,
    answering: &mut Vec<BoxFuture<Answer>>,
) -> Duration {
    let n_failed = answers.iter().filter(|answer| answer.is_err()).count();
    let time = lease.finish_batch(answers.len(), n_failed);
    let answers = answers.into_iter().enumerate();
    answering.extend(answers.map(|(index, answer)| -> BoxFuture<Answer> {
        let answer = match answer {
            Ok(octets) => Ok(ReplyDraft::into_reply(
                batch.take_draft(index),
                Body::One(Bytes::from(octets)),
            )),
            Err(failure) => Err(convert::to_error(failure)),
        };
        Box::pin(future::ready(answer))
    }));
    time
}

impl Batch {
    fn new(calls: Vec<Call>) -> Self {
        Self {
            deadline: calls.iter().filter_map(|call| call.context.deadline).min(),
            n_calls: calls.len(),
            calls,
            waiting: Vec::new(),
            turn: 0,
            replies: Vec::new(),
        }
    }

    pub(crate) const fn n_calls(&self) -> usize {
        self.n_calls
    }

    /// The earliest deadline of its calls.
    pub(crate) const fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Takes `before` back, which had its turn, and gives the call with the index `turn`, if there is
    /// one.
    pub(crate) fn turn(&mut self, turn: usize, before: Option<CallContext>) -> Option<CallContext> {
        if self.waiting.is_empty() {
            self.waiting = mem::take(&mut self.calls).into_iter().map(Some).collect();
        }
        self.put_back(before);
        let call = self.waiting.get_mut(turn)?.take()?;
        self.turn = turn;
        let mut ambient = CallContext::new(AmbientCall::Owned(Box::new(call)));
        let mut replies = self.replies.iter();
        if let Some(at) = replies.position(|(index, _)| *index == turn) {
            ambient.reply = Some(self.replies.swap_remove(at).1);
        }
        Some(ambient)
    }

    /// Takes the call back that had its turn.
    pub(crate) fn put_back(&mut self, ambient: Option<CallContext>) {
        let Some(CallContext { call, reply, .. }) = ambient else {
            return;
        };
        if let (AmbientCall::Owned(call), Some(place)) = (call, self.waiting.get_mut(self.turn)) {
            *place = Some(*call);
        }
        self.replies.extend(reply.map(|reply| (self.turn, reply)));
    }

    fn take_draft(&mut self, index: usize) -> Draft {
        let mut replies = self.replies.iter();
        let at = replies.position(|(of, _)| *of == index)?;
        Some(self.replies.swap_remove(at).1)
    }

    /// The calls as they came.
    fn into_calls(self, bodies: Vec<Bytes>) -> Vec<Call> {
        let calls = self.calls.into_iter();
        let calls = calls.chain(self.waiting.into_iter().flatten()).zip(bodies);
        let whole = |(call, body)| Call {
            body: Body::One(body),
            ..call
        };
        calls.map(whole).collect()
    }
}

impl BatchStatistics {
    /// A call has ended by itself.
    pub(crate) fn on_call(&self, time: Duration) {
        let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let before = self.nanos.load(Relaxed);
        let now = match before {
            0 => time,
            before => before - before / 8 + time / 8,
        };
        // Of two at once one is lost, which does no harm.
        self.nanos.store(now, Relaxed);
    }

    /// A batch was undone.
    pub(crate) fn on_undone(&self) {
        self.pause.store(PAUSE, Relaxed);
    }

    /// How many of the calls that have come together may be made in one entry.
    pub(crate) fn batch_max(&self) -> usize {
        let pause = self.pause.load(Relaxed);
        if pause > 0 {
            self.pause.store(pause - 1, Relaxed);
            return 1;
        }
        let nanos = self.nanos.load(Relaxed).max(1);
        usize::try_from(TIME_MAX.as_nanos() / u128::from(nanos)).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(method: &str) -> Call {
        Call::unary("s", method, "body")
    }

    fn method(ambient: &Option<CallContext>) -> Option<&str> {
        let call = &ambient.as_ref()?.call;
        Some(call.method().as_str())
    }

    #[test]
    fn each_call_has_its_turn_and_keeps_its_headers() {
        let mut batch = Batch::new(vec![call("a"), call("b"), call("c")]);
        let mut ambient = None;
        for (turn, expected) in [(1, "b"), (1, "b"), (0, "a"), (1, "b"), (2, "c")] {
            ambient = batch.turn(turn, ambient);
            assert_eq!(method(&ambient), Some(expected));
            let reply = &mut ambient.as_mut().unwrap().reply;
            let reply = reply.get_or_insert_default();
            reply.push_header(expected, expected).unwrap();
        }
        batch.put_back(ambient);
        let n_headers = [0, 1, 2].map(|index| {
            let reply = ReplyDraft::into_reply(batch.take_draft(index), Body::Empty);
            reply.headers.iter().count()
        });
        assert_eq!(n_headers, [1, 3, 1]);
        let calls = batch.into_calls(vec![Bytes::from_static(b"x"); 3]);
        let methods: Vec<&str> = calls.iter().map(|call| call.method.as_str()).collect();
        assert_eq!(methods, ["a", "b", "c"]);
    }

    #[test]
    fn there_is_no_turn_beyond_the_last_call() {
        let mut batch = Batch::new(vec![call("a"), call("b")]);
        let first = batch.turn(0, None);
        assert!(batch.turn(2, first).is_none());
        assert_eq!(batch.into_calls(vec![Bytes::new(); 2]).len(), 2);
    }

    #[test]
    fn the_first_deadline_is_the_deadline_of_all() {
        let now = Instant::now();
        let until = |seconds: Option<u64>| {
            let mut call = call("a");
            call.context.deadline = seconds.map(|seconds| now + Duration::from_secs(seconds));
            call
        };
        let batch = Batch::new(vec![until(None), until(Some(9)), until(Some(3))]);
        assert_eq!(batch.deadline(), Some(now + Duration::from_secs(3)));
        assert_eq!(Batch::new(vec![until(None)]).deadline(), None);
    }

    #[test]
    fn what_is_slow_goes_in_small_batches_or_alone() {
        let statistics = BatchStatistics::default();
        assert!(statistics.batch_max() > 100_000, "nothing is known yet");
        statistics.on_call(Duration::from_micros(10));
        assert_eq!(statistics.batch_max(), 50);
        for _ in 0..100 {
            statistics.on_call(Duration::from_millis(1));
        }
        assert_eq!(statistics.batch_max(), 0);
        for _ in 0..100 {
            statistics.on_call(Duration::from_micros(1));
        }
        assert!(
            (400..=500).contains(&statistics.batch_max()),
            "{statistics:?}"
        );
    }

    #[test]
    fn after_one_that_was_undone_calls_go_alone_for_a_while() {
        let statistics = BatchStatistics::default();
        statistics.on_undone();
        for _ in 0..PAUSE {
            assert_eq!(statistics.batch_max(), 1);
        }
        assert!(statistics.batch_max() > 1);
    }

    #[test]
    fn an_answer_to_each_call_within_the_limit() {
        let ok = |length: usize| Ok(vec![0; length]);
        assert_eq!(check(&[ok(1), ok(2)], 2, 2), Ok(()));
        assert!(check(&[ok(1)], 2, 2).unwrap_err().contains("1 results"));
        assert!(
            check(&[ok(1), ok(3)], 2, 2)
                .unwrap_err()
                .contains("3 octets")
        );
    }
}
