//! The frame extensions of one listener, as its servers see them: one after the other, the first in
//! the chain next to the wire.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use postern_core::{
    Error, Text,
    extension::{FrameDirection, FrameExtension, FrameHead, FrameVerdict},
    wire::Frame,
};

use super::chain::{Chain, ChainLink, Extensions};

/// Every frame extension of the chain that covers a listener.
pub(crate) struct ListenerFrames {
    extensions: Arc<Extensions>,
    listener: Text,
}

impl ListenerFrames {
    #[must_use]
    pub(crate) fn new(extensions: Arc<Extensions>, listener: &str) -> Self {
        Self {
            extensions,
            listener: listener.into(),
        }
    }

    /// The links that see frames of the listener, in the order of `direction`.
    fn links<'c>(
        &self,
        chain: &'c Chain,
        direction: FrameDirection,
    ) -> impl Iterator<Item = &'c ChainLink> {
        let links = chain.links();
        let in_order = (0..links.len()).map(move |place| match direction {
            FrameDirection::Inbound => place,
            FrameDirection::Outbound => links.len() - 1 - place,
        });
        in_order.filter_map(|idx| links.get(idx)).filter(|link| {
            link.part.frames().is_some() && link.settings.covers_listener(Some(&self.listener))
        })
    }
}

impl FrameExtension for ListenerFrames {
    fn should_handle(&self, head: &FrameHead) -> Result<bool, Error> {
        let chain = self.extensions.load();
        let mut links = self.links(&chain, head.direction);
        Ok(links.any(|link| wants(link, head)))
    }

    fn handle(&self, direction: FrameDirection, mut frame: Frame) -> FrameVerdict {
        let chain = self.extensions.chain();
        for link in self.links(&chain, direction) {
            let head = FrameHead::of(&frame, direction);
            frame = match handle(link, &head, frame) {
                FrameVerdict::Pass(frame) => frame,
                verdict @ (FrameVerdict::Drop
                | FrameVerdict::Refuse(_)
                | FrameVerdict::Broken(..)) => {
                    return verdict;
                }
            };
        }
        FrameVerdict::Pass(frame)
    }
}

/// Whether the link is to see the frame; a broken one is, so that what its fault means is decided.
fn wants(link: &ChainLink, head: &FrameHead) -> bool {
    let frames = link.part.frames();
    frames.is_some_and(|frames| frames.should_handle(head).unwrap_or(true))
}

fn handle(link: &ChainLink, head: &FrameHead, frame: Frame) -> FrameVerdict {
    let Some(frames) = link.part.frames() else {
        return FrameVerdict::Pass(frame);
    };
    let (frame, fault) = match frames.should_handle(head) {
        Ok(false) => return FrameVerdict::Pass(frame),
        Ok(true) => {
            link.counts.seen.count();
            match frames.handle(head.direction, frame) {
                FrameVerdict::Broken(frame, error) => (frame, error),
                FrameVerdict::Refuse(error) => {
                    link.counts.refused.fetch_add(1, Relaxed);
                    return FrameVerdict::Refuse(error);
                }
                verdict @ (FrameVerdict::Pass(_) | FrameVerdict::Drop) => return verdict,
            }
        }
        Err(error) => (frame, error),
    };
    match link.fail(&fault.message) {
        Ok(()) => FrameVerdict::Pass(frame),
        Err(error) => FrameVerdict::Refuse(error),
    }
}
