//! Arguments of requests, and what is said of those that are none.

use std::borrow::Cow;

use super::{request::number, value::RespValue};

/// What is said instead of a result. Its first word is the kind of error, in capitals.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RespError(pub Cow<'static, str>);

impl RespError {
    pub const SYNTAX: Self = Self::fixed("ERR syntax error");
    pub const NOT_INTEGER: Self = Self::fixed("ERR value is not an integer or out of range");
    pub const WRONG_TYPE: Self =
        Self::fixed("WRONGTYPE Operation against a key holding the wrong kind of value");
    pub const INVALID_CURSOR: Self = Self::fixed("ERR invalid cursor");
    pub const INVALID_ID: Self =
        Self::fixed("ERR Invalid stream ID specified as stream command argument");
    pub const NO_AUTH: Self = Self::fixed("NOAUTH Authentication required.");
    pub const WRONG_PASS: Self =
        Self::fixed("WRONGPASS invalid username-password pair or user is disabled.");
    pub const BUSY_GROUP: Self = Self::fixed("BUSYGROUP Consumer Group name already exists");

    #[must_use]
    pub const fn fixed(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }

    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(Cow::Owned(text.into()))
    }

    #[must_use]
    pub fn invalid_expiry(command: &str) -> Self {
        Self::new(format!("ERR invalid expire time in '{command}' command"))
    }

    #[must_use]
    pub fn wrong_arity(command: &str) -> Self {
        Self::new(format!(
            "ERR wrong number of arguments for '{command}' command"
        ))
    }
}

impl From<RespError> for RespValue {
    fn from(error: RespError) -> Self {
        Self::Error(error.0)
    }
}

/// # Errors
/// `NOT_INTEGER`.
pub fn integer(octets: &[u8]) -> Result<i64, RespError> {
    number(octets).ok_or(RespError::NOT_INTEGER)
}

/// A count that is at least zero.
///
/// # Errors
/// `NOT_INTEGER`.
pub fn count(octets: &[u8]) -> Result<usize, RespError> {
    let number = integer(octets)?.max(0);
    usize::try_from(number).map_err(|_| RespError::NOT_INTEGER)
}

/// Whether an argument is this word, which is in capitals.
#[must_use]
pub fn is(argument: &[u8], word: &str) -> bool {
    argument.eq_ignore_ascii_case(word.as_bytes())
}

/// Octets as text for an error.
#[must_use]
pub fn shown(octets: &[u8]) -> Cow<'_, str> {
    let cut = octets.get(..SHOWN_BYTES_MAX).unwrap_or(octets);
    String::from_utf8_lossy(cut)
}

/// Of a stranger's text, shown back to it.
const SHOWN_BYTES_MAX: usize = 128;
