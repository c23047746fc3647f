//! Why the head of a request is not taken.

use http::StatusCode;
use postern_core::{Blame, Error, Kind};

use super::{
    super::host::HostError,
    limits::{FIELDS_MAX, HEAD_BYTES_MAX, TARGET_BYTES_MAX},
};

/// Why a request head is not taken. The connection is closed after the answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::http) enum HeadError {
    #[error("request head is not HTTP/1: {0}")]
    Syntax(httparse::Error),
    /// Is not answered: whoever sent it reads no answer of HTTP/1.
    #[error("first line names no version of HTTP")]
    OtherProtocol,
    #[error("request head exceeds the limit of {HEAD_BYTES_MAX} octets")]
    TooLong,
    #[error("request head has more than {FIELDS_MAX} header fields")]
    TooManyFields,
    #[error("request target exceeds the limit of {TARGET_BYTES_MAX} octets")]
    TargetTooLong,
    #[error("request target is not a uri")]
    Target,
    #[error(transparent)]
    Host(#[from] HostError),
    #[error("content-length is not one number")]
    Length,
    #[error("request has a content-length and a transfer coding")]
    LengthAndCoding,
    #[error("transfer codings do not end in one chunked")]
    Coding,
    #[error("transfer coding other than chunked is not served")]
    OtherCoding,
    #[error("request head did not arrive within {0} ms")]
    TooLate(u128),
}

impl HeadError {
    pub(in crate::http) fn status(&self) -> StatusCode {
        match self {
            Self::Syntax(_)
            | Self::OtherProtocol
            | Self::Target
            | Self::Host(_)
            | Self::Length
            | Self::LengthAndCoding
            | Self::Coding => StatusCode::BAD_REQUEST,
            Self::TooLong | Self::TooManyFields => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::OtherCoding => StatusCode::NOT_IMPLEMENTED,
            Self::TooLate(_) => StatusCode::REQUEST_TIMEOUT,
        }
    }

    pub(in crate::http) fn to_error(&self) -> Error {
        let kind = match self {
            Self::OtherCoding => Kind::Unimplemented,
            Self::TooLate(_) => Kind::DeadlineExceeded,
            Self::Syntax(_)
            | Self::OtherProtocol
            | Self::TooLong
            | Self::TooManyFields
            | Self::TargetTooLong
            | Self::Target
            | Self::Host(_)
            | Self::Length
            | Self::LengthAndCoding
            | Self::Coding => Kind::InvalidArgument,
        };
        Error::new(kind, Blame::Client, self.to_string())
    }
}
