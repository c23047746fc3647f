//! What a session is told when it begins. Shared by all sessions of a listener or a client.

use std::{fmt, time::Duration};

use crate::{limits::Limits, text::Text};

/// Settings of a session.
#[derive(Debug, Clone)]
pub struct SessionConfig {
    /// Client: say HELLO first and wait for WELCOME. Default true. With false, or when nothing
    /// answers, the session speaks the base dialect. Servers answer HELLO in any case.
    pub hello: bool,
    /// How long a client waits for WELCOME. Default 1 s.
    pub hello_timeout: Duration,
    /// What HELLO names as `agent`. Default `postern/VERSION`.
    pub agent: Text,
    /// What this end can do; the session uses what both can. Default none.
    pub features: Features,
    /// A PING is sent when nothing came for this long; never to a peer of the base dialect, which
    /// would not answer. Default 30 s, `None` never.
    pub keep_alive: Option<Duration>,
    /// The session closes when nothing came for this long and no call is in flight. Default 300 s,
    /// `None` never. The published crate has no such bound.
    pub idle_timeout: Option<Duration>,
    /// How long what is in flight may take after BYE. Default 30 s.
    pub drain_timeout: Duration,
    pub limits: Limits,
    pub link: Link,
}

/// What carries the frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Link {
    /// Octets arrive once and in order. A violation is answered by ERR and ends the session.
    #[default]
    Stream,
    /// Frames may be lost, repeated, reordered and forged. A violation is answered by silence, and
    /// acknowledgements belong to the endpoint below the session.
    Datagram,
}

/// Which end of a session this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Client,
    Server,
}

/// 128 random bits that name a session. Shown as 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u128);

/// What both ends must know to use it. Unknown names in a peer's list are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Features(u8);

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            hello: true,
            hello_timeout: Duration::from_secs(1),
            agent: Text::from_static(concat!("postern/", env!("CARGO_PKG_VERSION"))),
            features: Features::NONE,
            keep_alive: Some(Duration::from_secs(30)),
            idle_timeout: Some(Duration::from_secs(300)),
            drain_timeout: Duration::from_secs(30),
            limits: Limits::default(),
            link: Link::Stream,
        }
    }
}

impl SessionId {
    /// The id that `text` spells in exactly 32 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 32 || !text.bytes().all(|octet| octet.is_ascii_hexdigit()) {
            return None;
        }
        u128::from_str_radix(text, 16).ok().map(Self)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Features {
    pub const NONE: Self = Self(0);
    /// Streams within a session: headers `stream` and `credit`.
    pub const MUX: Self = Self(1);
    /// Fragment numbers up to 2^32 on datagram links.
    pub const WIDE: Self = Self(2);

    /// On datagram links the client sends the session's number back, and is served when it has: its
    /// address is not forged.
    pub const ECHO: Self = Self(4);

    const NAMES: [(Self, &'static str); 3] = [
        (Self::MUX, "mux"),
        (Self::WIDE, "wide"),
        (Self::ECHO, "echo"),
    ];

    /// Reads a comma list; blanks around names do not matter.
    #[must_use]
    pub fn parse(list: &str) -> Self {
        let known = |name: &str| {
            let found = Self::NAMES.into_iter().find(|(_, known)| *known == name);
            found.map_or(Self::NONE, |(feature, _)| feature)
        };
        list.split(',')
            .fold(Self::NONE, |all, name| all.with(known(name.trim())))
    }

    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What both have.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl fmt::Display for Features {
    /// The comma list: `mux,wide`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Self::NAMES
            .into_iter()
            .filter(|(feature, _)| self.contains(*feature));
        for (name_idx, (_, name)) in names.enumerate() {
            let separator = if name_idx == 0 { "" } else { "," };
            write!(f, "{separator}{name}")?;
        }
        Ok(())
    }
}
