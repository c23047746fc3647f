//! What stands beside handlers: things that see calls and frames pass, say who callers are and what
//! they may do, and take events. Components and native parts implement these; the gateway calls.
//!
//! Two faults are kept apart everywhere. What an extension *refuses* is the caller's answer. An
//! extension that is *broken* (it trapped, ran out of its budget, or is not there) has decided
//! nothing: what it was given comes back untouched, and the chain's `fail = open | closed` decides.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    boxed::BoxFuture,
    call::{Call, Context, Reply},
    error::Error,
    event::Event,
    headers::Headers,
    http::HttpFacts,
    peer::Principal,
    text::Text,
    wire::frame::{Flags, Frame, FrameType},
};

/// An answer that is there at once, or one that must be waited for. Nothing is boxed for the first.
pub enum Step<T> {
    Done(T),
    Later(BoxFuture<T>),
}

/// Sees calls on their way in. A call passes by pointer: a chain hands the same one from link to link,
/// and each puts it where its component works on it.
pub trait RequestInterceptor: Send + Sync {
    /// Looks at `call`, and may change it, answer it or refuse it.
    fn on_request(&self, call: Box<Call>) -> Step<Flow>;
}

/// Sees what became of calls, on their way out.
pub trait ResponseInterceptor: Send + Sync {
    /// Looks at the outcome of the call that `asked` tells of, and may put another in its place.
    fn on_response(&self, asked: &Arc<Asked>, outcome: CallOutcome) -> Step<SeenOutcome>;
}

/// What a call came to.
pub type CallOutcome = Result<Reply, Error>;

/// What becomes of a call after an interceptor has seen it. Small, as it passes through many hands.
#[derive(Debug)]
pub enum Flow {
    /// It goes on.
    Proceed(Box<Call>),
    /// It is answered, and goes no further.
    Answer(Box<Reply>),
    /// It is refused.
    Refuse(Box<Error>),
    /// The interceptor is broken; this is the call as it was given.
    Broken(Box<Call>, Box<Error>),
}

/// What becomes of an outcome after an interceptor has seen it.
#[derive(Debug)]
pub struct SeenOutcome {
    /// As the interceptor wants it; as it was given when the interceptor is broken.
    pub outcome: CallOutcome,
    /// Why the interceptor is broken, if it is.
    pub broken: Option<Box<Error>>,
}

/// What is kept of a call for those who see its outcome. Made once per call and shared.
#[derive(Debug)]
pub struct Asked {
    pub service: Text,
    pub method: Text,
    pub headers: Headers,
    pub context: Context,
    pub http: Option<Box<HttpFacts>>,
    /// When the call came in.
    pub start: Instant,
}

/// Sees VSTP frames below the calls. Synchronous: the driver of a connection waits for it.
pub trait FrameExtension: Send + Sync {
    /// Whether `handle` is to see this frame.
    ///
    /// # Errors
    /// Why the extension is broken.
    fn should_handle(&self, head: &FrameHead) -> Result<bool, Error>;

    /// Looks at a frame, and may change it.
    fn handle(&self, direction: FrameDirection, frame: Frame) -> FrameVerdict;
}

/// A frame without its headers and payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHead {
    pub kind: FrameType,
    pub flags: Flags,
    pub direction: FrameDirection,
    /// Octets of the header section.
    pub header_bytes: usize,
    /// Octets of the payload.
    pub payload_bytes: usize,
}

/// Which way a frame goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FrameDirection {
    /// From a peer to the gateway.
    Inbound,
    /// From the gateway to a peer.
    Outbound,
}

/// What becomes of a frame after an extension has seen it.
#[derive(Debug)]
pub enum FrameVerdict {
    /// It goes on.
    Pass(Frame),
    /// It is forgotten.
    Drop,
    /// It is refused; a peer that sent it is told by ERR.
    Refuse(Error),
    /// The extension is broken; this is the frame as it was given.
    Broken(Frame, Error),
}

/// Why an extension that decides yes or no did not say yes.
#[derive(Debug)]
pub enum AuthFault {
    /// It said no; the error is the caller's.
    Refused(Error),
    /// It is broken and said nothing.
    Broken(Error),
}

/// Says who a caller is.
pub trait Authenticator: Send + Sync {
    /// Of what would answer at present. What another generation said of credentials counts no more.
    fn generation(&self) -> u64;

    /// `None` when these credentials are not this authenticator's to judge.
    fn authenticate(
        &self,
        asked: &Arc<Asked>,
        credentials: &Credentials,
    ) -> Step<Result<Option<Identity>, AuthFault>>;
}

/// What a caller shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// In lower case: `bearer`, `basic`, `api-key`.
    pub scheme: Text,
    /// What follows the scheme. Secret: it is neither logged nor stored.
    pub token: Text,
}

/// Who a caller is, and for how long that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub principal: Principal,
    /// How long the same credentials need not be judged again; `None`: not beyond this call.
    pub valid: Option<Duration>,
}

/// Says what a caller may do.
pub trait Authorizer: Send + Sync {
    /// Whether the principal of `asked` may make that call.
    fn authorize(&self, asked: &Arc<Asked>) -> Step<Result<(), AuthFault>>;
}

/// Takes events.
pub trait EventHandler: Send + Sync {
    /// Tells of one event, at most once.
    fn on_event(&self, event: Event) -> BoxFuture<Result<(), Error>>;
}

impl<T> Step<T> {
    /// What there is, waited for if need be.
    pub async fn finish(self) -> T {
        match self {
            Self::Done(value) => value,
            Self::Later(future) => future.await,
        }
    }
}

impl Asked {
    /// What is kept of `call`, which came in at `start`.
    #[must_use]
    pub fn of(call: &Call, start: Instant) -> Arc<Self> {
        Arc::new(Self {
            service: call.service.clone(),
            method: call.method.clone(),
            headers: call.headers.clone(),
            context: call.context.clone(),
            http: call.http.clone(),
            start,
        })
    }
}

impl FrameHead {
    #[must_use]
    pub fn of(frame: &Frame, direction: FrameDirection) -> Self {
        Self {
            kind: frame.kind,
            flags: frame.flags,
            direction,
            header_bytes: frame.headers.section().len(),
            payload_bytes: frame.payload.len(),
        }
    }
}

impl From<CallOutcome> for SeenOutcome {
    fn from(outcome: CallOutcome) -> Self {
        Self {
            outcome,
            broken: None,
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("scheme", &self.scheme)
            .finish_non_exhaustive()
    }
}

impl<T: fmt::Debug> fmt::Debug for Step<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done(value) => f.debug_tuple("Done").field(value).finish(),
            Self::Later(_) => f.write_str("Later"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::epoch;

    #[test]
    fn credentials_do_not_show_their_token() {
        let credentials = Credentials {
            scheme: "bearer".into(),
            token: "s3cret".into(),
        };
        let text = format!("{credentials:?}");
        assert!(
            text.contains("bearer") && !text.contains("s3cret"),
            "{text}"
        );
    }

    #[test]
    fn a_head_tells_the_lengths_of_its_frame() {
        let mut headers = Headers::new();
        headers.push("k", "vv").expect("it fits");
        let frame = Frame::data(headers, "abc");
        let head = FrameHead::of(&frame, FrameDirection::Inbound);
        assert_eq!((head.header_bytes, head.payload_bytes), (5, 3));
        assert_eq!((head.kind, head.flags), (FrameType::Data, Flags::empty()));
    }

    #[test]
    fn what_is_kept_of_a_call_shares_its_octets() {
        let call = Call::unary("users", "find", "7");
        let asked = Asked::of(&call, epoch());
        assert_eq!(
            asked.service.as_bytes().as_ptr(),
            call.service.as_bytes().as_ptr()
        );
    }
}
