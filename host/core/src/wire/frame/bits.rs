//! Octets 3 and 4 of a frame: its type and its flags. Format: wire/mod.rs, table "Frame".

use std::fmt;

/// What a frame is for; octet 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum FrameType {
    Hello = 1,
    Welcome = 2,
    Data = 3,
    Ping = 4,
    Pong = 5,
    Bye = 6,
    Ack = 7,
    Err = 8,
}

bitflags::bitflags! {
    /// Octet 4. Only the four defined bits can be set.
    #[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
    pub struct Flags: u8 {
        /// The sender wants an ACK.
        const REQ_ACK = 0x01;
        /// None: the crc is always there and always checked.
        const CRC = 0x02;
        /// The payload is one part of a message.
        const FRAG = 0x10;
        /// The payload is compressed, see header `encoding`.
        const COMP = 0x20;
    }
}

impl FrameType {
    /// Every type, in the order of its code.
    pub const ALL: [Self; 8] = [
        Self::Hello,
        Self::Welcome,
        Self::Data,
        Self::Ping,
        Self::Pong,
        Self::Bye,
        Self::Ack,
        Self::Err,
    ];

    /// The type of that code (1 to 8).
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Hello,
            2 => Self::Welcome,
            3 => Self::Data,
            4 => Self::Ping,
            5 => Self::Pong,
            6 => Self::Bye,
            7 => Self::Ack,
            8 => Self::Err,
            _ => return None,
        })
    }

    /// The name as the documents spell it: `HELLO`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hello => "HELLO",
            Self::Welcome => "WELCOME",
            Self::Data => "DATA",
            Self::Ping => "PING",
            Self::Pong => "PONG",
            Self::Bye => "BYE",
            Self::Ack => "ACK",
            Self::Err => "ERR",
        }
    }
}

impl fmt::Display for FrameType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Flags {
    /// `REQ_ACK|FRAG`; a dash when none is set.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (name, _) in self.iter_names() {
            write!(f, "{separator}{name}")?;
            separator = "|";
        }
        if separator.is_empty() {
            f.write_str("-")
        } else {
            Ok(())
        }
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flags({self})")
    }
}
