//! Both ends of an asynchronous call for a test: octets as they cross in a component.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker},
};

use crate::{
    async_stream::{AsyncReply, AsyncRequest, AsyncStreamHandler, LENGTH_BYTES, framed},
    body::Octets,
    call::BodyKind,
    failure::Failure,
    fake::{Host, state},
    stream,
};

/// What was not read of the message that was begun.
#[derive(Default)]
pub(crate) struct Reader(Vec<u8>);

/// What was written of a message that has not ended.
#[derive(Default)]
pub(crate) struct Writer(Vec<u8>);

impl Reader {
    #[expect(clippy::unused_async, reason = "a component waits here")]
    pub(crate) async fn read(&mut self, mut room: Vec<u8>) -> (Vec<u8>, bool) {
        if self.0.is_empty() {
            let next = state::with(|state| {
                let message = state.incoming.pop_front()?;
                Some((message, state.request_kind))
            });
            let message = match next {
                None => return (room, true),
                Some((Ok(message), BodyKind::Octets)) => Ok(message),
                Some((message, _)) => message.and_then(|message| framed(&message)),
            };
            match message {
                Ok(message) => self.0 = message,
                Err(failure) => {
                    state::with(|state| state.request_failure = Some(failure));
                    return (room, true);
                }
            }
        }
        let n_read = self.0.len().min(room.capacity() - room.len());
        room.extend(self.0.drain(..n_read));
        (room, false)
    }
}

impl Writer {
    #[expect(clippy::unused_async, reason = "a component waits here")]
    pub(crate) async fn write_all(&mut self, octets: Vec<u8>) -> bool {
        let has_left = |state: &mut state::State| {
            let limit = state.leaves_after;
            limit.is_some_and(|limit| state.outgoing.len() >= limit)
        };
        if state::with(has_left) {
            return false;
        }
        if stream::replies_octets() {
            state::with(|state| state.outgoing.push(Octets(octets)));
            return true;
        }
        self.0.extend(octets);
        while let Some((length, rest)) = self.0.split_first_chunk::<LENGTH_BYTES>() {
            let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
            let Some(message) = rest.get(..length) else {
                break;
            };
            state::with(|state| state.outgoing.push(Octets::from(message)));
            self.0.drain(..LENGTH_BYTES + length);
        }
        true
    }
}

pub(crate) fn request_failure() -> Option<Failure> {
    state::with(|state| state.request_failure.take())
}

impl Host {
    /// Lets the caller of an asynchronous stream leave after so many messages: what is sent then fails with
    /// `cancelled`.
    pub fn leave_after(&self, n_messages: usize) -> &Self {
        state::with(|state| state.leaves_after = Some(n_messages));
        self
    }

    /// Calls a handler of asynchronous streams with the messages given to [`Host::incoming`]; returns what it
    /// sent.
    ///
    /// # Errors
    /// What the handler fails with, or `internal` when it waits for something that nothing completes; what
    /// it sent before stays in [`Host::outgoing`].
    pub fn call_async_stream(
        &self,
        plugin: &mut impl AsyncStreamHandler,
        service: &str,
        method: &str,
    ) -> Result<Vec<Octets>, Failure> {
        state::with(|state| state.is_streaming = true);
        let mut request = AsyncRequest::new(Reader::default());
        let mut reply = AsyncReply::new(Writer::default());
        let called = run(plugin.handle(service, method, &mut request, &mut reply));
        state::with(|state| state.is_streaming = false);
        called?;
        Ok(self.outgoing())
    }
}

/// Whether something has asked for another poll.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

/// Polls until it is done; what is not and has not asked for more never is.
fn run(handling: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let woken = Arc::new(Woken(AtomicBool::new(true)));
    let waker = Waker::from(Arc::clone(&woken));
    let mut handling = pin!(handling);
    while woken.0.swap(false, Relaxed) {
        if let Poll::Ready(result) = handling.as_mut().poll(&mut Context::from_waker(&waker)) {
            return result;
        }
    }
    Err(Failure::internal(
        "the handler waits for something that nothing completes",
    ))
}
