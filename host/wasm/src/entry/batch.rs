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
//! So a call that traps costs the others some time and nothing else, and whatever a call is told,
//! it is told by the rules of a single one.

use std::{future, mem, sync::Arc, time::Duration};

use bytes::Bytes;
use postern_core::{Body, BoxFuture, Call, Error, Reply, message_codec::MessageForm};
use wasmtime::{AsContext, component::Func};

use crate::{
    bindings::{HandleBatchFunc, HandleBatchParams, HandleResult},
    call_path::CallPath,
    capability::batch::Batch,
    convert, executor,
    exports::{self, Export, Functions},
    generation::WorkerShard,
    instance::InlineError,
    lease::Lease,
    placement::{IN_PLACE_MAX, Placement},
    processor_time,
    reply_draft::ReplyDraft,
    role::Role,
};

/// `batch-handler.handle-batch`.
pub(crate) struct HandleBatch(HandleBatchFunc);

impl Functions for HandleBatch {
    const ROLE: Role = Role::BatchHandler;
    const EXPORTS: &'static [Export] = &[Export::new::<
        HandleBatchParams<'static>,
        (Vec<HandleResult>,),
    >("handle-batch")];

    fn find(funcs: &[Func], store: impl AsContext) -> wasmtime::Result<Self> {
        let [handle] = exports::functions(funcs)?;
        Ok(Self(HandleBatchFunc::new(handle, store)?))
    }
}

/// Octets of the bodies of one batch together. Of large ones the price of an entry is a small part.
const OCTETS_MAX: usize = 64 * 1024;
/// What a call comes to.
type Answer = Result<Reply, Error>;

/// Answers `calls`, each by the guest's `handle-batch` where it may be, else by `single`.
pub(crate) fn call(
    shard: &Arc<WorkerShard>,
    mut calls: Vec<Call>,
    single: impl Fn(Call) -> BoxFuture<Answer>,
) -> Vec<BoxFuture<Answer>> {
    let mut answering = Vec::with_capacity(calls.len());
    let n_calls_max = shard.batch_max();
    while !calls.is_empty() {
        let rest = calls.split_off(run_length(shard, &calls, n_calls_max));
        if let Err(calls) = enter(shard, mem::replace(&mut calls, rest), &mut answering) {
            answering.extend(calls.into_iter().map(&single));
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
    let generation = shard.generation();
    if generation.streams(first) || generation.takes_as_request(first) {
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
    let placement = shard.generation().guest.placements.of(&service, &method);
    let before = match placement {
        Placement::InPlace => None,
        Placement::Measured => Some(executor::thread_time()),
        Placement::Offloaded => return Err(calls),
    };
    let Ok(mut lease) = Lease::try_new(Arc::clone(shard), CallPath::Inline) else {
        return Err(calls);
    };
    let bodies: Vec<Bytes> = calls.iter_mut().map(take_message).collect();
    let (joined, lengths) = join(&bodies);
    let instance = lease.begin_batch(calls.len());
    Batch::new(calls).begin(instance.state());
    let answered = instance.enter_inline::<HandleBatch, _>(|store, HandleBatch(handle)| {
        let params = (&*service, &*method, &*joined, &*lengths);
        let (answers,) = handle.typed().call(store, params)?;
        Ok(answers)
    });
    let batch = Batch::end(instance.state());
    let limits = &lease.guest().spec.limits;
    let undone = match answered {
        Ok(answers) => match check(&answers, bodies.len(), limits.output_bytes_max) {
            Ok(()) => {
                let form = lease.guest().spec.form_of(&service);
                let time = finish(lease, answers, (batch, form), answering);
                if time > IN_PLACE_MAX || before.is_some() {
                    let n_calls = u32::try_from(bodies.len()).unwrap_or(u32::MAX).max(1);
                    let computed = before
                        .map(|before| executor::thread_time().saturating_sub(before) / n_calls);
                    let guest = &shard.generation().guest;
                    guest
                        .placements
                        .on_in_place(&service, &method, time, computed);
                    let excess = time.saturating_sub(processor_time::of(time, computed));
                    guest.stats.on_excess(excess.saturating_mul(n_calls));
                }
                return Ok(());
            }
            Err(reason) => reason,
        },
        Err(InlineError::Bailout(bailout)) => {
            lease.guest().stats.on_bailout(bailout);
            bailout.to_string()
        }
        Err(InlineError::Trapped(trapped)) => trapped.text,
    };
    let computed = before.map(|before| executor::thread_time().saturating_sub(before));
    let counted = processor_time::of(lease.time(), computed);
    lease.guest().stats.on_computed(counted);
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

/// Says what each call took. Messages of the service have `form`.
fn finish(
    lease: Lease,
    answers: Vec<HandleResult>,
    (mut batch, form): (Batch, MessageForm),
    answering: &mut Vec<BoxFuture<Answer>>,
) -> Duration {
    let n_failed = answers.iter().filter(|answer| answer.is_err()).count();
    let time = lease.finish_batch(answers.len(), n_failed);
    let answers = answers.into_iter().enumerate();
    answering.extend(answers.map(|(index, answer)| -> BoxFuture<Answer> {
        let answer = match answer {
            Ok(octets) => Ok(ReplyDraft::into_unary(
                batch.take_draft(index),
                Bytes::from(octets),
                form,
            )),
            Err(failure) => Err(convert::to_failed(failure, batch.take_draft(index))),
        };
        Box::pin(future::ready(answer))
    }));
    time
}

#[cfg(test)]
mod tests {
    use super::*;

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
