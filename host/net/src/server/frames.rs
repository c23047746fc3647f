//! What an extension sees of a server's DATA frames: those of a peer before they are read, replies
//! before they are written. Whole messages, put together and not yet taken apart.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use postern_core::{
    Error,
    extension::{FrameDirection, FrameExtension, FrameHead, FrameVerdict},
    wire::Frame,
};

/// The extension of a server, if it has one.
#[derive(Clone, Default)]
pub struct Frames(Option<Shown>);

/// An extension, and whether it has anything to see at present.
#[derive(Clone)]
struct Shown {
    extension: Arc<dyn FrameExtension>,
    is_used: Arc<AtomicBool>,
}

impl Frames {
    /// `extension` sees frames while `is_used`; until then a frame costs a look at that.
    #[must_use]
    pub const fn new(extension: Arc<dyn FrameExtension>, is_used: Arc<AtomicBool>) -> Self {
        Self(Some(Shown { extension, is_used }))
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
    let Some(extension) = handles(frames, &frame, FrameDirection::Inbound) else {
        return Seen::Pass(frame);
    };
    // Headers and payload are shared, not copied.
    let sent = frame.clone();
    match extension.handle(FrameDirection::Inbound, frame) {
        FrameVerdict::Pass(frame) => Seen::Pass(frame),
        FrameVerdict::Drop => Seen::Dropped,
        FrameVerdict::Refuse(error) | FrameVerdict::Broken(_, error) => Seen::Refused(sent, error),
    }
}

/// Shows a reply; `None` when it is not to be sent.
///
/// # Errors
/// What the caller is to be told in the reply's stead. That is not shown again.
pub(super) fn outbound(frames: &Frames, frame: Frame) -> Result<Option<Frame>, Error> {
    let Some(extension) = handles(frames, &frame, FrameDirection::Outbound) else {
        return Ok(Some(frame));
    };
    match extension.handle(FrameDirection::Outbound, frame) {
        FrameVerdict::Pass(frame) => Ok(Some(frame)),
        FrameVerdict::Drop => Ok(None),
        FrameVerdict::Refuse(error) | FrameVerdict::Broken(_, error) => Err(error),
    }
}

/// The extension, if it is to see this frame. One that cannot say so sees it, and decides there what
/// its own fault means.
fn handles<'a>(
    frames: &'a Frames,
    frame: &Frame,
    direction: FrameDirection,
) -> Option<&'a Arc<dyn FrameExtension>> {
    let shown = frames.0.as_ref()?;
    if !shown.is_used.load(Relaxed) {
        return None;
    }
    let extension = &shown.extension;
    let head = FrameHead::of(frame, direction);
    extension
        .should_handle(&head)
        .unwrap_or(true)
        .then_some(extension)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use postern_core::Headers;

    use super::*;

    /// Drops every frame, and counts how often it is asked.
    #[derive(Default)]
    struct Dropper(AtomicUsize);

    impl FrameExtension for Dropper {
        fn should_handle(&self, _: &FrameHead) -> Result<bool, Error> {
            self.0.fetch_add(1, Relaxed);
            Ok(true)
        }

        fn handle(&self, _: FrameDirection, _: Frame) -> FrameVerdict {
            FrameVerdict::Drop
        }
    }

    #[test]
    fn an_extension_that_is_not_used_is_not_asked() {
        let (dropper, is_used) = (Arc::<Dropper>::default(), Arc::<AtomicBool>::default());
        let frames = Frames::new(Arc::clone(&dropper) as _, Arc::clone(&is_used));
        let frame = || Frame::data(Headers::new(), "1");
        for n_asked in [0, 2] {
            let is_passed = n_asked == 0;
            let seen = inbound(&frames, frame());
            assert_eq!(matches!(seen, Seen::Pass(_)), is_passed);
            let sent = outbound(&frames, frame()).expect("not refused");
            assert_eq!(sent.is_some(), is_passed);
            assert_eq!(dropper.0.load(Relaxed), n_asked);
            is_used.store(true, Relaxed);
        }
    }
}
