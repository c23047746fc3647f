//! Address validation: what an address is sent before it has shown that it receives what is sent
//! there. Source addresses of datagrams can be forged, so a server that answers more than it was
//! asked would multiply an attack on a third party (RFC 9000 section 8).
//!
//! ```text
//!              session-id comes back, or the ACK of a message sent there
//! unvalidated ─────────────────────────────────────────────────────────▶ validated
//!   │ at most three octets out per octet in, nothing repeated
//!   │ greeted with feature `echo`: nothing handed on either, WELCOME in answer
//! ```

use crate::{
    headers::Headers,
    wire::{
        frame::{Frame, FrameType},
        session::{Role, SessionId},
    },
};

/// Octets out per octet in (RFC 9000 section 8.1).
pub(super) const FACTOR: usize = 3;
/// After so many ACKs of no message that was sent, an address is not validated by an ACK any more.
/// Numbers of messages have 55 random bits and 256 of them are awaited at most, so eight guesses hit
/// with a probability of 2^-44, and whoever is forgotten and begins again gains nothing by it.
const WRONG_ACKS_MAX: u8 = 8;
/// Header that sends the number of WELCOME back.
pub(super) const SESSION_KEY: &str = "session-id";

/// What one address has sent and was sent.
#[derive(Debug)]
pub(super) struct Validation {
    is_validated: bool,
    received: usize,
    sent: usize,
    n_wrong_acks: u8,
}

impl Validation {
    /// A client has chosen its server's address itself.
    pub(super) const fn new(role: Role) -> Self {
        Self {
            is_validated: matches!(role, Role::Client),
            received: 0,
            sent: 0,
            n_wrong_acks: 0,
        }
    }

    pub(super) const fn is_validated(&self) -> bool {
        self.is_validated
    }

    pub(super) const fn validate(&mut self) {
        self.is_validated = true;
    }

    pub(super) const fn on_received(&mut self, octets: usize) {
        self.received = self.received.saturating_add(octets);
    }

    pub(super) const fn on_sent(&mut self, octets: usize) {
        self.sent = self.sent.saturating_add(octets);
    }

    /// Octets that may still be sent.
    pub(super) const fn left(&self) -> usize {
        if self.is_validated {
            return usize::MAX;
        }
        self.received
            .saturating_mul(FACTOR)
            .saturating_sub(self.sent)
    }

    pub(super) const fn n_wrong_acks(&self) -> u8 {
        self.n_wrong_acks
    }

    /// The address has guessed as often before this session.
    pub(super) const fn add_wrong_acks(&mut self, n: u8) {
        self.n_wrong_acks = self.n_wrong_acks.saturating_add(n);
    }

    /// An ACK came; whether it proves anything.
    pub(super) const fn on_ack(&mut self, is_expected: bool) -> bool {
        if !is_expected {
            self.n_wrong_acks = self.n_wrong_acks.saturating_add(1);
        }
        is_expected && self.n_wrong_acks < WRONG_ACKS_MAX
    }
}

/// Whether `headers` send back the number of session `id`.
pub(super) fn names_session(headers: &Headers, id: SessionId) -> bool {
    headers
        .get_str(SESSION_KEY)
        .and_then(|text| SessionId::parse(&text))
        == Some(id)
}

/// Whether `frame` is nothing but the number of a session sent back.
pub(super) fn is_echo(frame: &Frame) -> bool {
    frame.kind == FrameType::Ping && frame.headers.get(SESSION_KEY.as_bytes()).is_some()
}
