//! What a client tells its driver, and what it is told.

use postern_core::{BodyKind, BodyStream, Call, Error, Reply, vsp::Payload};
use tokio::sync::oneshot;

/// What a client tells its driver.
pub(super) enum Command {
    Call(Box<Request>),
    Stream(Box<StreamRequest>),
    /// Nobody waits for this call any more.
    Cancel(u64),
    /// Say PING with this number; tell when it comes back.
    Ping(u64, Option<oneshot::Sender<()>>),
    /// End the session at once, for this reason.
    Cut(String),
    /// End the session in order; tell when that is done.
    Close(oneshot::Sender<()>),
}

/// A call on its way to the driver.
pub(super) struct Request {
    pub(super) id: u64,
    pub(super) call: Call,
    pub(super) payload: Payload,
    pub(super) reply: oneshot::Sender<Result<Answered, Error>>,
}

/// A streaming call on its way to the driver.
pub(super) struct StreamRequest {
    pub(super) id: u64,
    pub(super) call: Call,
    pub(super) kind: BodyKind,
    pub(super) body: BodyStream,
    pub(super) reply: oneshot::Sender<Result<Answered, Error>>,
}

/// A reply on its way from the driver.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) reply: Reply,
    /// Its stream holds one message, for whoever made the call to collect.
    pub(super) is_one: bool,
}

impl From<Reply> for Answered {
    fn from(reply: Reply) -> Self {
        Self {
            reply,
            is_one: false,
        }
    }
}
