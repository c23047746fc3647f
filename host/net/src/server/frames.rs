//! What an extension sees of a server's DATA frames: those of a peer before they are read, those for
//! it before they are written. Whole messages, put together and not yet taken apart.

use std::sync::Arc;

use postern_core::{
    Error,
    extension::{Direction, FrameExtension, FrameHead, Verdict},
    wire::Frame,
};

/// The extension of a server, if it has one.
pub(super) type Frames = Option<Arc<dyn FrameExtension>>;

/// What becomes of a peer's frame.
pub(super) enum Inbound {
    Pass(Frame),
    Dropped,
    /// The frame as the peer sent it, and what to tell the peer.
    Refused(Frame, Error),
}

/// Shows a peer's frame.
pub(super) fn inbound(frames: &Frames, frame: Frame) -> Inbound {
    let Some(extension) = handles(frames, &frame, Direction::Inbound) else {
        return Inbound::Pass(frame);
    };
    // Headers and payload are shared, not copied.
    let sent = frame.clone();
    match extension.handle(Direction::Inbound, frame) {
        Verdict::Pass(frame) => Inbound::Pass(frame),
        Verdict::Drop => Inbound::Dropped,
        Verdict::Refuse(error) | Verdict::Broken(_, error) => Inbound::Refused(sent, error),
    }
}

/// Shows a frame for a peer; `None` when it is not to be sent. One that is refused on its way out
/// is not sent either: nobody there could be told why.
pub(super) fn outbound(frames: &Frames, frame: Frame) -> Option<Frame> {
    let Some(extension) = handles(frames, &frame, Direction::Outbound) else {
        return Some(frame);
    };
    match extension.handle(Direction::Outbound, frame) {
        Verdict::Pass(frame) => Some(frame),
        Verdict::Drop => None,
        Verdict::Refuse(error) | Verdict::Broken(_, error) => {
            tracing::debug!(%error, "frame refused on its way out");
            None
        }
    }
}

/// The extension, if it is to see this frame. One that cannot say so sees it, and decides there what
/// its own fault means.
fn handles<'a>(
    frames: &'a Frames,
    frame: &Frame,
    direction: Direction,
) -> Option<&'a Arc<dyn FrameExtension>> {
    let extension = frames.as_ref()?;
    let head = FrameHead::of(frame, direction);
    extension
        .should_handle(&head)
        .unwrap_or(true)
        .then_some(extension)
}
