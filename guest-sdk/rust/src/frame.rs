//! Role `frame-extension`: sees VSTP frames below the calls, in both directions.
//!
//! ```
//! use postern_guest::{Frame, FrameExtension, FrameHead, FrameKind, Result, Verdict};
//!
//! #[derive(Default)]
//! struct NoPings;
//!
//! impl FrameExtension for NoPings {
//!     fn should_handle(&mut self, head: &FrameHead) -> bool {
//!         head.kind == FrameKind::Ping
//!     }
//!     fn handle_frame(&mut self, _: &mut Frame) -> Result<Verdict> {
//!         Ok(Verdict::Drop)
//!     }
//! }
//!
//! postern_guest::export!(NoPings: FrameExtension);
//! ```

use crate::{body::Octets, failure::Failure, host, plugin::Plugin};

/// Sees frames. Entered directly, within the manifest's `budgets.frame-extension`.
pub trait FrameExtension: Plugin {
    /// Whether `handle_frame` is to see this frame. One that is not handled is neither copied nor
    /// looked at.
    fn should_handle(&mut self, head: &FrameHead) -> bool;

    /// Looks at a frame, and may change it.
    ///
    /// # Errors
    /// A failure refuses the frame: the peer is told by ERR.
    fn handle_frame(&mut self, frame: &mut Frame) -> Result<Verdict, Failure>;
}

/// What a frame is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FrameKind {
    Hello,
    Welcome,
    Data,
    Ping,
    Pong,
    Bye,
    Ack,
    Err,
}

/// Which way a frame goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From a peer to the gateway.
    Inbound,
    /// From the gateway to a peer.
    Outbound,
}

/// A frame without its headers and payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHead {
    pub kind: FrameKind,
    pub direction: Direction,
    /// `0x01` wants an ACK, `0x10` one part of a message, `0x20` compressed payload.
    pub flag_bits: u8,
    /// Octets of the header section.
    pub header_bytes: u32,
    /// Octets of the payload.
    pub payload_bytes: u32,
}

/// What happens to a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on, with what was changed.
    Pass,
    /// It is forgotten.
    Drop,
}

/// The frame in hand.
#[derive(Debug)]
pub struct Frame(());

impl Frame {
    /// One per entry.
    pub(crate) const fn in_hand() -> Self {
        Self(())
    }

    /// The first value of a header; absent also when it is not UTF-8.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        host::frame::header(name)
    }

    /// All headers in order, duplicates included.
    #[must_use]
    pub fn headers(&self) -> Vec<(String, Vec<u8>)> {
        host::frame::headers()
    }

    /// Puts a header in the place of all of that name.
    ///
    /// # Errors
    /// `invalid-argument` when the name is not 1 to 255 octets, or when all headers together pass
    /// 65,535.
    pub fn set_header(&mut self, name: &str, value: &str) -> Result<(), Failure> {
        host::frame::set_header(name, value)
    }

    /// Adds a header beside those of that name.
    ///
    /// # Errors
    /// As [`Frame::set_header`].
    pub fn add_header(&mut self, name: &str, value: &str) -> Result<(), Failure> {
        host::frame::add_header(name, value)
    }

    /// Takes all headers of that name away.
    ///
    /// # Errors
    /// `failed-precondition` where no frame is handled.
    pub fn remove_header(&mut self, name: &str) -> Result<(), Failure> {
        host::frame::remove_header(name)
    }

    /// The payload. Only here does it cross into the component.
    #[must_use]
    pub fn payload(&self) -> Octets {
        Octets(host::frame::payload())
    }

    /// Puts another payload in place.
    ///
    /// # Errors
    /// `resource-exhausted` beyond what the plugin may give out.
    pub fn set_payload(&mut self, payload: &[u8]) -> Result<(), Failure> {
        host::frame::set_payload(payload)
    }
}
