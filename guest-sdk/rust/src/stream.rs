//! The two directions of a streaming call.

use std::{cell::Cell, fmt, marker::PhantomData};

use crate::{
    body::{Decode, Encode},
    failure::Failure,
    host,
};

/// The messages of the request. Waiting for one blocks only this instance.
pub struct Incoming<T> {
    ended: bool,
    message: PhantomData<fn() -> T>,
}

/// The messages of the reply. Sending blocks only this instance, while the caller reads slowly.
pub struct Outgoing<T> {
    message: PhantomData<fn(T)>,
}

impl<T: Decode> Incoming<T> {
    /// The next message; `None` after the last.
    ///
    /// # Errors
    /// `invalid-argument` when the message is not a `T`, and whatever ended the stream.
    pub fn receive(&mut self) -> Result<Option<T>, Failure> {
        if self.ended {
            return Ok(None);
        }
        let message = next_octets();
        self.ended = !matches!(message, Ok(Some(_)));
        message?.map(T::decode).transpose()
    }
}

/// Ends after the first failure of the stream itself; an unreadable message does not end it.
impl<T: Decode> Iterator for Incoming<T> {
    type Item = Result<T, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        self.receive().transpose()
    }
}

impl<T: Encode> Outgoing<T> {
    /// Sends one message.
    ///
    /// # Errors
    /// `internal` when the value has no form in JSON, `cancelled` when the caller has gone.
    pub fn send(&mut self, message: T) -> Result<(), Failure> {
        send_octets(&message.encode()?)
    }
}

impl<T> Incoming<T> {
    /// The current call's request. One per call.
    #[doc(hidden)]
    #[must_use]
    pub fn of_call() -> Self {
        Self {
            ended: false,
            message: PhantomData,
        }
    }
}

impl<T> Outgoing<T> {
    /// The current call's reply. One per call.
    #[doc(hidden)]
    #[must_use]
    pub fn of_call() -> Self {
        Self {
            message: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Incoming<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("ended", &self.ended)
            .finish()
    }
}

impl<T> fmt::Debug for Outgoing<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Outgoing")
    }
}

thread_local! {
    /// Whether what the call sends are pieces of one body. Asked by streams of octets alone, which say when a
    /// call begins.
    static REPLIES_OCTETS: Cell<bool> = const { Cell::new(false) };
}

pub(crate) fn set_replies_octets(is_octets: bool) {
    REPLIES_OCTETS.set(is_octets);
}

#[cfg(any(not(target_arch = "wasm32"), feature = "async-streams"))]
pub(crate) fn replies_octets() -> bool {
    REPLIES_OCTETS.get()
}

pub(crate) fn next_octets() -> Result<Option<Vec<u8>>, Failure> {
    host::next()
}

pub(crate) fn send_octets(message: &[u8]) -> Result<(), Failure> {
    host::send(message)
}
