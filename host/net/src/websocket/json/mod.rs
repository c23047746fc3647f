//! Calls as JSON text messages, for browsers: the table of messages stands in host/docs/wire.md.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `message` | what a client says, read; what it is told, written |
//! | `inbox` | the messages of a call that come one by one |
//! | `session` | one connection: calls begin, replies and events leave |

mod inbox;
mod message;
mod session;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use http::HeaderMap;
use postern_core::{Body, Call, Error, Handler, Headers, Text, event::Outbox};

pub(crate) use self::session::serve;
use crate::ConnectionBytes;

/// What a session is given by its listener.
pub(crate) struct JsonDependencies {
    pub(crate) handler: Arc<dyn Handler>,
    pub(crate) form: Box<dyn CallForm>,
    pub(crate) bytes: ConnectionBytes,
    /// Of `WebSocketConfig`.
    pub(crate) queue_max: usize,
}

/// The head of a call as its message has it; what it does not say is as the request of the upgrade has
/// it.
#[derive(Debug, Default)]
pub(crate) struct MessageHead {
    pub(crate) service: Option<Text>,
    pub(crate) method: Option<Text>,
    /// In the place of those of the upgrade.
    pub(crate) headers: HeaderMap,
    pub(crate) id: Text,
}

/// How the listener makes calls, and reads replies.
pub(crate) trait CallForm: Send + 'static {
    /// A call of `head` with `body`; its events go to `outbox`.
    ///
    /// # Errors
    /// `invalid-argument` for a head that cannot be.
    fn call(&self, head: MessageHead, body: Body, outbox: &Outbox) -> Result<Call, Error>;

    /// The headers of a reply, or its trailers, as HTTP has them.
    fn headers(&self, headers: &Headers) -> HeaderMap;

    /// The bounds in force.
    fn limits(&self) -> JsonLimits;
}

/// Bounds of a session that may change while it lasts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JsonLimits {
    /// Calls in flight; beyond it the connection is not read.
    pub(crate) calls_max: usize,
    /// Largest message of a call or a reply.
    pub(crate) body_bytes_max: usize,
    /// A peer that takes nothing for this long, while there is something for it, is dropped.
    pub(crate) write_timeout: Duration,
}
