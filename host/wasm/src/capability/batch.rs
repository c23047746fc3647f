//! Import `call`, what calls that are answered together need of it: `turn`.

use std::{mem, time::Instant};

use bytes::Bytes;
use postern_core::{Body, Call};
use wasmtime::{StoreContextMut, component::Linker};

use crate::{
    bindings,
    reply_draft::{Drafted, ReplyDraft},
    state::{AmbientCall, CallContext, StoreState},
    trap::Stop,
};

type Store<'a> = StoreContextMut<'a, StoreState>;

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
    /// The earliest of its calls.
    deadline: Option<Instant>,
}

pub(crate) fn link(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    let mut interface = linker.instance(bindings::CALL)?;
    interface.func_wrap("turn", |mut store: Store<'_>, (index,): (u32,)| {
        Ok(turn(store.data_mut(), index)?)
    })
}

/// Makes the call with this index of the batch the ambient one. The deadline stays that of all.
///
/// # Errors
/// `Stop::Turn` without such a call.
fn turn(state: &mut StoreState, index: u32) -> Result<(), Stop> {
    let Some(batch) = state.slots.get_mut::<Batch>() else {
        return Err(Stop::Turn { index, n_calls: 0 });
    };
    let n_calls = batch.n_calls();
    state.ambient = batch.turn(index as usize, state.ambient.take());
    match state.ambient {
        Some(_) => Ok(()),
        None => Err(Stop::Turn { index, n_calls }),
    }
}

impl Batch {
    pub(crate) fn new(calls: Vec<Call>) -> Self {
        Self {
            deadline: calls.iter().filter_map(|call| call.context.deadline).min(),
            n_calls: calls.len(),
            calls,
            waiting: Vec::new(),
            turn: 0,
            replies: Vec::new(),
        }
    }

    /// Puts it into a store. The deadline of the entry is the earliest of all.
    pub(crate) fn begin(self, state: &mut StoreState) {
        state.deadline = self.deadline;
        state.slots.put(self);
    }

    /// Takes it out of a store.
    pub(crate) fn end(state: &mut StoreState) -> Self {
        let mut batch: Self = state.slots.take().unwrap_or_default();
        batch.put_back(state.ambient.take());
        batch
    }

    const fn n_calls(&self) -> usize {
        self.n_calls
    }

    /// Takes `before` back, which had its turn, and gives the call with the index `turn`, if there is
    /// one.
    fn turn(&mut self, turn: usize, before: Option<CallContext>) -> Option<CallContext> {
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
    fn put_back(&mut self, ambient: Option<CallContext>) {
        let Some(CallContext { call, reply, .. }) = ambient else {
            return;
        };
        if let (AmbientCall::Owned(call), Some(place)) = (call, self.waiting.get_mut(self.turn)) {
            *place = Some(*call);
        }
        self.replies.extend(reply.map(|reply| (self.turn, reply)));
    }

    pub(crate) fn take_draft(&mut self, index: usize) -> Drafted {
        let mut replies = self.replies.iter();
        let at = replies.position(|(of, _)| *of == index)?;
        Some(self.replies.swap_remove(at).1)
    }

    /// The calls as they came.
    pub(crate) fn into_calls(self, bodies: Vec<Bytes>) -> Vec<Call> {
        let calls = self.calls.into_iter();
        let calls = calls.chain(self.waiting.into_iter().flatten()).zip(bodies);
        let whole = |(call, body)| Call {
            body: Body::One(body),
            ..call
        };
        calls.map(whole).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use postern_system::clock;

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
            reply.push_header(expected, expected.as_bytes()).unwrap();
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
        let now = clock::now();
        let until = |seconds: Option<u64>| {
            let mut call = call("a");
            call.context.deadline = seconds.map(|seconds| now + Duration::from_secs(seconds));
            call
        };
        let batch = Batch::new(vec![until(None), until(Some(9)), until(Some(3))]);
        assert_eq!(batch.deadline, Some(now + Duration::from_secs(3)));
        assert_eq!(Batch::new(vec![until(None)]).deadline, None);
    }
}
