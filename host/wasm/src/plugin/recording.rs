//! Calls of a plugin recorded, and replayed by a version of it.
//!
//! ```text
//! call ─▶ taken by the filter? ─▶ a fresh instance under a journal ─▶ reply ─▶ record, once its body ended
//!           └─ no: as ever
//! record ─▶ a fresh instance of a replica, under a journal of the record ─▶ what it answers, what it asked
//! ```

use std::{collections::BTreeMap, mem, sync::Arc, time::Duration};

use postern_core::{Blame, Body, BoxFuture, Call, Error, Kind, Reply};
use postern_system::clock;
use tokio::sync::mpsc;

use super::Plugin;
use crate::{
    answering::Answering,
    capability::log,
    entry::{
        async_stream::HandleAsync,
        batch,
        handler::{self, Handle},
        role_call::call_one,
        stream::{self, HandleStream},
        text::HandleText,
    },
    generation::{Generation, Serving, WorkerShard},
    journal::{AskDifference, CALL_BYTES_MAX, Journal, JournalStart},
    lease::Lease,
    limits::time,
    recorded::{
        RecordedBody, RecordedCall, RecordedFailure, RecordedOutcome, RecordedReply,
        RecordedRequest,
    },
    recorder::{
        Recorded, RecordedGeneration, Recorder, RecorderSlot, RecordingFilter, RecordingPermit,
        SkippedCalls,
    },
    role::Role,
    tee::{CopiedBody, tee},
};

/// How long the replay of one call may take, whatever the limits of the plugin are.
const REPLAY_TIME_MAX: Duration = Duration::from_secs(60);

/// Records of calls as they are made. Dropped, it ends.
pub struct CallRecording {
    plugin: Arc<Plugin>,
    recorder: Arc<Recorder>,
    receiver: mpsc::Receiver<Recorded>,
    n_given: u64,
}

/// Replays records by one version of a plugin.
pub struct CallReplayer {
    serving: Serving,
    terms: ReplayTerms,
}

/// What the header of a recording says of all its calls.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplayTerms {
    /// The environment that the guest saw.
    pub env: BTreeMap<String, String>,
    /// Names of headers that the recording does not hold.
    pub left_out: Arc<[String]>,
    /// Whether callers were told what the guest said before it trapped.
    pub tells_callers: bool,
}

/// What came of a replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayedCall {
    /// The call as it would be recorded: its request, what the guest was told, its outcome. `None` where
    /// that is more than a record may hold.
    pub call: Option<RecordedCall>,
    pub outcome: RecordedOutcome,
    /// How what was asked differs from what was recorded.
    pub asked: Vec<AskDifference>,
}

impl Plugin {
    /// Begins to record calls.
    ///
    /// # Errors
    /// Why they cannot be recorded: no version in service, one that has state of its own or reaches what
    /// no record holds, another recording that is made.
    pub fn record(self: &Arc<Self>, filter: RecordingFilter) -> Result<CallRecording, String> {
        let serving = self.in_service.load_full();
        let serving = serving.ok_or_else(|| self.in_service.unavailable().message)?;
        if let Some(reason) = serving.generation.unrecordable() {
            return Err(format!(
                "plugin {} cannot be recorded: {reason}",
                self.name()
            ));
        }
        let begun = self.recorder.begin(filter);
        let taken = || format!("plugin {} is being recorded already", self.name());
        let (recorder, receiver) = begun.ok_or_else(taken)?;
        Ok(CallRecording {
            plugin: Arc::clone(self),
            recorder,
            receiver,
            n_given: 0,
        })
    }

    /// Replays records by the version in service, beside its calls and without any effect on them.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn replayer(&self, terms: ReplayTerms) -> Result<CallReplayer, String> {
        let serving = self.in_service.load_full();
        let serving = serving.ok_or_else(|| self.in_service.unavailable().message)?;
        if let Some(reason) = serving.generation.unrecordable() {
            let plugin = self.name();
            return Err(format!("plugin {plugin} cannot replay calls: {reason}"));
        }
        Ok(CallReplayer {
            serving: serving.generation.replica(terms.tells_callers),
            terms,
        })
    }
}

/// Answers a call while a recording is made.
pub(super) fn call(
    recorder: &RecorderSlot,
    shard: Arc<WorkerShard>,
    call: Call,
) -> BoxFuture<Result<Reply, Error>> {
    match recorder.admit(&call) {
        Some(permit) => Box::pin(record(permit, shard, Box::new(call))),
        None => call_one(shard, Box::new(call)),
    }
}

/// Answers calls that came together while a recording is made: those that it takes are no part of the
/// batch.
pub(super) fn call_batch(
    recorder: &RecorderSlot,
    shard: &Arc<WorkerShard>,
    calls: Vec<Call>,
) -> Vec<BoxFuture<Result<Reply, Error>>> {
    let (mut recorded, mut others) = (Vec::new(), Vec::with_capacity(calls.len()));
    for (index, call) in calls.into_iter().enumerate() {
        match recorder.admit(&call) {
            Some(permit) => {
                let answer = record(permit, Arc::clone(shard), Box::new(call));
                recorded.push((index, answer));
            }
            None => others.push(call),
        }
    }
    let single = |call| call_one(Arc::clone(shard), Box::new(call));
    let mut answers = batch::call(shard, others, single);
    for (index, answer) in recorded {
        // Those before it are in place, so there is such an index.
        answers.insert(index.min(answers.len()), Box::pin(answer));
    }
    answers
}

impl CallRecording {
    /// The next record, with the generation that answered; `None` once there are as many as were asked
    /// for.
    pub async fn next(&mut self) -> Option<(Arc<RecordedGeneration>, RecordedCall)> {
        if self.n_given >= self.recorder.filter.calls_max {
            return None;
        }
        let recorded = self.receiver.recv().await?;
        self.n_given += 1;
        Some(recorded)
    }

    /// The calls that are in the recording.
    #[must_use]
    pub fn n_recorded(&self) -> u64 {
        self.recorder.n_recorded()
    }

    /// The calls that were to be and are not.
    #[must_use]
    pub fn skipped(&self) -> SkippedCalls {
        self.recorder.skipped()
    }
}

impl Drop for CallRecording {
    fn drop(&mut self) {
        self.plugin.recorder.end();
    }
}

/// A call that is being recorded.
struct Recording {
    permit: RecordingPermit,
    generation: Arc<RecordedGeneration>,
    journal: Journal,
    request: RecordedRequest,
    /// The body of the request, as far as it was read.
    body: CopiedBody,
    deadline: Option<std::time::Instant>,
}

/// Answers `call` by a fresh instance and records it.
async fn record(
    permit: RecordingPermit,
    shard: Arc<WorkerShard>,
    mut call: Box<Call>,
) -> Result<Reply, Error> {
    let recorder = &permit.recorder;
    let number = shard.generation().number;
    let Some(generation) = recorder.generation(number, || facts_of(shard.generation())) else {
        permit.skip(|skipped| &mut skipped.unrecordable);
        return call_one(shard, call).await;
    };
    let left_out = Arc::clone(&recorder.filter.left_out);
    let spec = &shard.generation().guest.spec;
    let journal = Journal::recording(JournalStart {
        env: spec.grants.env.clone(),
        left_out: Arc::clone(&left_out),
        log_level: log::least_told(spec.log_level),
    });
    let Ok(lease) = Lease::journaled(Arc::clone(&shard), journal.clone()).await else {
        permit.skip(|skipped| &mut skipped.busy);
        return call_one(shard, call).await;
    };
    let request = RecordedRequest::of(&call, &left_out);
    journal.charge(octets_of(&call));
    let body = CopiedBody::new(request.body.clone().into());
    let flowing = mem::take(&mut call.body);
    call.body = tee(flowing, journal.clone(), Arc::clone(&body), Box::new(|| ()));
    let recording = Recording {
        permit,
        generation,
        journal: journal.clone(),
        request,
        body,
        deadline: call.context.deadline,
    };
    match enter(shard, call, lease).await {
        Ok(reply) => {
            let recorded = RecordedReply::of(&reply);
            journal.charge(recorded_octets(&recorded));
            let copied = CopiedBody::new(recorded.body.clone().into());
            let out = Arc::clone(&copied);
            let on_end = Box::new(move || {
                let body = out.lock().clone();
                recording.finish(RecordedOutcome::Reply(RecordedReply { body, ..recorded }));
            });
            let body = tee(reply.body, journal, copied, on_end);
            Ok(Reply { body, ..reply })
        }
        Err(error) => {
            let failure = RecordedFailure::of(&error);
            if error.blame == Blame::Gateway {
                // What the gateway did to it is chance.
                recording.permit.skip(|skipped| &mut skipped.unfinished);
            } else {
                recording.finish(RecordedOutcome::Failure(failure));
            }
            Err(error)
        }
    }
}

impl Recording {
    fn finish(self, outcome: RecordedOutcome) {
        let has_failed = match &outcome {
            RecordedOutcome::Reply(reply) => reply.body.failed.is_some(),
            RecordedOutcome::Failure(_) => true,
        };
        let is_late = |deadline| clock::now() >= deadline;
        if has_failed && self.deadline.is_some_and(is_late) {
            self.permit.skip(|skipped| &mut skipped.unfinished);
            return;
        }
        let Some(host) = self.journal.host() else {
            self.permit.skip(|skipped| &mut skipped.too_large);
            return;
        };
        let left_out = Arc::clone(&self.permit.recorder.filter.left_out);
        let body = self.body.lock().clone().without_headers(&left_out);
        let outcome = outcome.without_headers(&left_out);
        let call = RecordedCall {
            request: RecordedRequest {
                body,
                ..self.request
            },
            host,
            outcome,
        };
        self.permit.finish(self.generation, call);
    }
}

impl CallReplayer {
    /// The digest of the component that answers.
    #[must_use]
    pub fn component(&self) -> crate::Digest {
        self.serving.generation.digest
    }

    /// Answers the recorded call once more, in a fresh instance that is told what is recorded. Nobody
    /// else is asked and nothing is changed.
    ///
    /// # Errors
    /// What of the record cannot be, in words.
    pub async fn replay(&self, recorded: &RecordedCall) -> Result<ReplayedCall, String> {
        let start = JournalStart {
            env: self.terms.env.clone(),
            left_out: Arc::clone(&self.terms.left_out),
            log_level: 0,
        };
        let journal = Journal::replaying(start, &recorded.host)?;
        let call = Box::new(recorded.request.to_call()?);
        let shard = self.serving.shard();
        let run = async {
            let lease = Lease::journaled(Arc::clone(&shard), journal.clone()).await?;
            let reply = enter(shard, call, lease).await?;
            Ok::<_, Error>(drain(reply, journal.clone()).await)
        };
        let outcome = match tokio::time::timeout(REPLAY_TIME_MAX, Box::pin(run)).await {
            Ok(Ok(reply)) => RecordedOutcome::Reply(reply),
            Ok(Err(error)) => RecordedOutcome::Failure(RecordedFailure::of(&error)),
            Err(_) => {
                let message = format!("the replay did not end within {}", time(REPLAY_TIME_MAX));
                let failure = RecordedFailure::new(Kind::DeadlineExceeded, message);
                RecordedOutcome::Failure(failure)
            }
        };
        let outcome = outcome.without_headers(&self.terms.left_out);
        let call = journal.host().map(|host| RecordedCall {
            request: recorded.request.clone(),
            host,
            outcome: outcome.clone(),
        });
        Ok(ReplayedCall {
            call,
            outcome,
            asked: journal.differences(),
        })
    }
}

/// Reads a reply to its end.
async fn drain(reply: Reply, journal: Journal) -> RecordedReply {
    let recorded = RecordedReply::of(&reply);
    let copied = CopiedBody::new(recorded.body.clone().into());
    let body = tee(reply.body, journal, Arc::clone(&copied), Box::new(|| ()));
    if let Ok(mut stream) = body.try_into_stream() {
        let mut n_octets = 0;
        while let Some(Ok(message)) = stream.next().await {
            n_octets += message.len();
            if n_octets > CALL_BYTES_MAX {
                let message = format!("the reply exceeds {CALL_BYTES_MAX} octets");
                let failed = RecordedFailure::new(Kind::ResourceExhausted, message);
                copied.lock().failed = Some(failed);
                break;
            }
        }
    }
    let body: RecordedBody = copied.lock().clone();
    RecordedReply { body, ..recorded }
}

/// Enters the instance of `lease` in the role that `call` is for.
fn enter(
    shard: Arc<WorkerShard>,
    call: Box<Call>,
    lease: Lease,
) -> BoxFuture<Result<Reply, Error>> {
    let generation = shard.generation();
    if generation.streams(&call) {
        if generation.has(Role::AsyncStreamHandler) {
            Box::pin(stream::call_by::<HandleAsync>(shard, call, Some(lease)))
        } else {
            Box::pin(stream::call_by::<HandleStream>(shard, call, Some(lease)))
        }
    } else if generation.has(Role::Handler) {
        Box::pin(message::<Handle>(call, lease))
    } else {
        Box::pin(message::<HandleText>(call, lease))
    }
}

/// Answers a call of one message.
async fn message<F: Answering>(mut call: Box<Call>, lease: Lease) -> Result<Reply, Error> {
    if call.body.is_stream() {
        let limit = lease.guest().spec.limits.input_bytes_max;
        match mem::take(&mut call.body).into_one(limit).await {
            Ok(message) => call.body = Body::One(message),
            Err(error) => {
                lease.hand_back();
                return Err(error);
            }
        }
    }
    let placement = lease.guest().placements.of(&call.service, &call.method);
    handler::begin::<F>(lease, call, placement).await
}

/// What a recording says of a generation; `None` where its calls cannot be recorded.
fn facts_of(generation: &Generation) -> Option<RecordedGeneration> {
    if generation.unrecordable().is_some() {
        return None;
    }
    Some(RecordedGeneration {
        number: generation.number,
        component: generation.digest,
        env: generation.guest.spec.grants.env.clone(),
        tells_callers: generation.guest.tells_callers,
    })
}

/// Octets of what of `call` is at hand.
fn octets_of(call: &Call) -> usize {
    let body = match &call.body {
        Body::One(message) => message.len(),
        Body::Empty | Body::Messages(_) | Body::Octets(_) => 0,
    };
    body + call.headers.section().len()
}

fn recorded_octets(reply: &RecordedReply) -> usize {
    let messages = reply.body.messages.iter().map(|message| message.0.len());
    let headers = reply.headers.list.iter();
    let headers = headers.map(|(name, value)| name.0.len() + value.0.len());
    messages.chain(headers).sum()
}
