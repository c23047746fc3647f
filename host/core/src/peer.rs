//! Who is at the other end: the peer of a session, and the principal that an authenticator makes of
//! what it shows.

use std::sync::Arc;

use crate::{
    origin::{CallerKey, Origin},
    text::Text,
    tls::TlsFacts,
    transport::Transport,
};

/// The other end of a session. One per session, shared by its calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    pub transport: Transport,
    pub origin: Origin,
    /// None where nothing is encrypted, or TLS ends before this gateway.
    pub tls: Option<Arc<TlsFacts>>,
    /// The session's 32 hex digits, a plugin's name; empty where the transport has no sessions.
    pub session: Text,
}

/// Who a caller is, as an authenticator established it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Principal {
    pub name: Text,
    pub roles: Vec<Text>,
    /// Further claims of the credentials, name and value; a value that is no text is JSON.
    pub claims: Vec<(Text, Text)>,
}

impl Peer {
    /// One without TLS and session.
    #[must_use]
    pub const fn new(transport: Transport, origin: Origin) -> Self {
        Self {
            transport,
            origin,
            tls: None,
            session: Text::from_static(""),
        }
    }

    #[must_use]
    pub fn with_session(self, session: impl Into<Text>) -> Self {
        Self {
            session: session.into(),
            ..self
        }
    }

    /// Who it counts as for whatever is kept of callers.
    #[must_use]
    pub fn caller_key(&self) -> CallerKey<'_> {
        self.origin.caller_key(&self.session)
    }
}

/// From nowhere in particular.
impl Default for Peer {
    fn default() -> Self {
        Self::new(Transport::Memory, Origin::Local)
    }
}
