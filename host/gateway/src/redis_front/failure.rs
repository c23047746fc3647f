//! Failures as clients of Redis are told of them.
//!
//! | kind | first word |
//! | --- | --- |
//! | `unauthenticated` | `NOAUTH` |
//! | `permission-denied` | `NOPERM` |
//! | every other, as `not-found` | its name in capitals, as `NOT_FOUND` |

use postern_core::{
    Error, Kind,
    resp::{RespError, RespValue, sanitized},
};

/// What is said of `error`.
#[must_use]
pub(super) fn told(error: &Error) -> RespValue {
    let word = match error.kind {
        Kind::Unauthenticated => "NOAUTH".to_owned(),
        Kind::PermissionDenied => "NOPERM".to_owned(),
        Kind::Cancelled
        | Kind::Unknown
        | Kind::InvalidArgument
        | Kind::DeadlineExceeded
        | Kind::NotFound
        | Kind::AlreadyExists
        | Kind::ResourceExhausted
        | Kind::FailedPrecondition
        | Kind::Aborted
        | Kind::OutOfRange
        | Kind::Unimplemented
        | Kind::Internal
        | Kind::Unavailable
        | Kind::DataLoss => error.kind.name().to_ascii_uppercase().replace('-', "_"),
    };
    RespValue::error(format!("{word} {}", sanitized(&error.message)))
}

/// Why a command of the gateway's own ends without a result.
#[derive(Debug)]
pub(super) enum Refusal {
    /// As Redis says it.
    Said(RespError),
    /// A part of the gateway failed.
    Failed(Error),
}

impl From<RespError> for Refusal {
    fn from(error: RespError) -> Self {
        Self::Said(error)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Refusal> for RespValue {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Said(error) => error.into(),
            Refusal::Failed(error) => told(&error),
        }
    }
}

/// A result, or what is said instead.
#[must_use]
pub(super) fn settled(result: Result<RespValue, Refusal>) -> RespValue {
    result.unwrap_or_else(RespValue::from)
}

#[cfg(test)]
mod tests {
    use postern_core::Blame;

    use super::*;

    #[test]
    fn the_first_word_is_the_kind_and_the_rest_is_one_line() {
        let text = |kind| {
            let RespValue::Error(text) = told(&Error::new(kind, Blame::Client, "a\r\n+OK")) else {
                panic!("{kind:?} is told as an error");
            };
            text.into_owned()
        };
        assert_eq!(text(Kind::NotFound), "NOT_FOUND a  +OK");
        assert_eq!(text(Kind::PermissionDenied), "NOPERM a  +OK");
        assert_eq!(text(Kind::Unauthenticated), "NOAUTH a  +OK");
        for kind in Kind::ALL {
            let text = text(kind);
            let (word, _) = text.split_once(' ').expect("two words");
            assert!(
                word.bytes()
                    .all(|octet| octet == b'_' || octet.is_ascii_uppercase())
            );
        }
    }
}
