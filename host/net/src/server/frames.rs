//! What an extension sees of a server's DATA frames: those of a peer before they are read, replies
//! before they are written. Whole messages, put together and not yet taken apart.

use std::{fmt, sync::Arc};

use postern_core::{
    Error,
    extension::{Direction, FrameExtension, FrameHead, Verdict},
    wire::Frame,
};

/// The extension of a server, if it has one.
#[derive(Clone, Default)]
pub struct Frames(Option<Arc<dyn FrameExtension>>);

impl Frames {
    #[must_use]
    pub const fn new(extension: Arc<dyn FrameExtension>) -> Self {
        Self(Some(extension))
    }
}

impl fmt::Debug for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Frames").field(&self.0.is_some()).finish()
    }
}

/// What becomes of a peer's frame.
pub(super) enum Seen {
    Pass(Frame),
    Dropped,
    /// The frame as the peer sent it, and what to tell the peer.
    Refused(Frame, Error),
}

/// Shows a peer's frame.
pub(super) fn inbound(frames: &Frames, frame: Frame) -> Seen {
    let Some(extension) = handles(frames, &frame, Direction::Inbound) else {
        return Seen::Pass(frame);
    };
    // Headers and payload are shared, not copied.
    let sent = frame.clone();
    match extension.handle(Direction::Inbound, frame) {
        Verdict::Pass(frame) => Seen::Pass(frame),
        Verdict::Drop => Seen::Dropped,
        Verdict::Refuse(error) | Verdict::Broken(_, error) => Seen::Refused(sent, error),
    }
}

/// Shows a reply; `None` when it is not to be sent.
///
/// # Errors
/// What the caller is to be told in the reply's stead. That is not shown again.
pub(super) fn outbound(frames: &Frames, frame: Frame) -> Result<Option<Frame>, Error> {
    let Some(extension) = handles(frames, &frame, Direction::Outbound) else {
        return Ok(Some(frame));
    };
    match extension.handle(Direction::Outbound, frame) {
        Verdict::Pass(frame) => Ok(Some(frame)),
        Verdict::Drop => Ok(None),
        Verdict::Refuse(error) | Verdict::Broken(_, error) => Err(error),
    }
}

/// The extension, if it is to see this frame. One that cannot say so sees it, and decides there what
/// its own fault means.
fn handles<'a>(
    frames: &'a Frames,
    frame: &Frame,
    direction: Direction,
) -> Option<&'a Arc<dyn FrameExtension>> {
    let extension = frames.0.as_ref()?;
    let head = FrameHead::of(frame, direction);
    extension
        .should_handle(&head)
        .unwrap_or(true)
        .then_some(extension)
}
