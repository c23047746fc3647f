//! How long messages may be: as those of gRPC on the same listener.

use bytes::Bytes;
use postern_core::{Blame, Body, Error, Headers, Kind};

use crate::http::{
    HttpConfig,
    config::{MESSAGE_BYTES_KEY, REPLY_BYTES_KEY},
    grpc::coding::UnpackLimits,
};

/// The longest message in one direction.
#[derive(Debug, Clone, Copy)]
pub(super) struct MessageLimits {
    /// In octets, before it is compressed.
    message_bytes_max: usize,
    /// Of the configuration.
    key: &'static str,
    /// Whoever sends it.
    blame: Blame,
}

impl MessageLimits {
    pub(super) fn of_requests(config: &HttpConfig) -> Self {
        Self {
            message_bytes_max: config.grpc.message_bytes_max,
            key: MESSAGE_BYTES_KEY,
            blame: Blame::Client,
        }
    }

    pub(super) fn of_replies(config: &HttpConfig) -> Self {
        Self {
            message_bytes_max: config.grpc.reply_bytes_max,
            key: REPLY_BYTES_KEY,
            blame: Blame::Upstream,
        }
    }

    /// # Errors
    /// `resource-exhausted` for a message of `length` octets that is too long.
    pub(super) fn check(self, length: usize) -> Result<(), Error> {
        let limit = self.message_bytes_max;
        match length <= limit {
            true => Ok(()),
            false => Err(Error::too_long(length, limit, self.key, self.blame)),
        }
    }

    /// A body as one message, and what follows it.
    ///
    /// # Errors
    /// As `check`, and whatever ends the body early.
    pub(super) async fn collect(self, body: Body) -> Result<(Bytes, Option<Headers>), Error> {
        let collected = body.collect(self.message_bytes_max).await;
        collected.map_err(|error| match error.is_too_large {
            true => Error {
                kind: Kind::ResourceExhausted,
                blame: self.blame,
                message: format!("{} ({})", error.message, self.key).into(),
                ..error
            },
            false => error,
        })
    }

    /// The same for a message that comes compressed.
    pub(super) fn of_unpacked(self, config: &HttpConfig) -> UnpackLimits {
        UnpackLimits {
            message_bytes_max: self.message_bytes_max,
            ratio_max: config.compression.ratio_max,
            key: self.key,
            blame: self.blame,
        }
    }
}
