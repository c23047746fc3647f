//! The messages of a call that come one by one, from the session to the handler.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use postern_core::{Blame, BodyStream, Error, Kind};

/// The session's end. Dropped before its end, it breaks the stream off.
pub(super) struct Inbox(Arc<Shared>);

/// The handler's end.
struct Items(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Waits for the handler to take something.
    session: Arc<AtomicWaker>,
}

#[derive(Default)]
struct State {
    items: VecDeque<Bytes>,
    end: Option<InboxEnd>,
    /// Nobody reads any more.
    is_abandoned: bool,
    handler: Option<Waker>,
}

enum InboxEnd {
    Whole,
    Broken,
}

/// Both ends. `session` is woken when something was taken.
pub(super) fn inbox(session: &Arc<AtomicWaker>) -> (Inbox, BodyStream) {
    let shared = Arc::new(Shared {
        state: Mutex::default(),
        session: Arc::clone(session),
    });
    let items = Items(Arc::clone(&shared));
    (Inbox(shared), BodyStream::new(items))
}

impl Inbox {
    pub(super) fn push(&self, item: Bytes) {
        self.change(|state| {
            if !state.is_abandoned {
                state.items.push_back(item);
            }
        });
    }

    pub(super) fn end(self) {
        self.change(|state| state.end = Some(InboxEnd::Whole));
    }

    /// Messages that wait for the handler.
    pub(super) fn len(&self) -> usize {
        self.0.state.lock().items.len()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.0.state.lock();
        change(&mut state);
        let handler = state.handler.take();
        drop(state);
        if let Some(handler) = handler {
            handler.wake();
        }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.change(|state| {
            state.end.get_or_insert(InboxEnd::Broken);
        });
    }
}

impl Stream for Items {
    type Item = Result<Bytes, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut state = self.0.state.lock();
        if let Some(item) = state.items.pop_front() {
            drop(state);
            self.0.session.wake();
            return Poll::Ready(Some(Ok(item)));
        }
        match state.end {
            Some(InboxEnd::Whole) => Poll::Ready(None),
            Some(InboxEnd::Broken) => {
                state.end = Some(InboxEnd::Whole);
                let message = "the caller has gone before the end of what it sends";
                let error = Error::new(Kind::Cancelled, Blame::Client, message);
                Poll::Ready(Some(Err(error)))
            }
            None => {
                state.handler = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Items {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.is_abandoned = true;
        state.items.clear();
        drop(state);
        self.0.session.wake();
    }
}
