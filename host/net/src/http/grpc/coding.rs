//! Codings of messages: each message that is flagged is coded by itself, as `grpc-encoding` of the head
//! says. `grpc/doc/compression.md`.
//!
//! ```text
//! in:   grpc-encoding ─▶ coding of the flagged ─▶ Unpacking, bounded in length and ratio ─▶ message
//! out:  grpc-accept-encoding ─▶ AcceptedCodings ─▶ reply_coding ─▶ Packing ─▶ flagged message
//! ```
//! Long messages are coded in several polls (compression/coded.rs), so that they keep nobody waiting.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue};
use http_body::Body as _;
use http_body_util::Full;
use postern_core::{Blame, Error, Kind};

use crate::{
    ByteBudgetError, ConnectionBytes, HeldBytes,
    http::compression::{Coded, CodedError, Coding, Expansion, decoder_bytes, encoder_bytes},
};

/// What `grpc-accept-encoding` says of us, in the order in which we like them.
pub(crate) const ACCEPTED: &str = "identity,gzip,zstd,deflate";

/// Codings that messages are taken in.
const CODINGS: [Coding; 3] = [Coding::Gzip, Coding::Zstd, Coding::Deflate];

/// A coding that is not known here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("messages in encoding {name:?} are not accepted; send one of {ACCEPTED}")]
pub(crate) struct UnknownCoding {
    name: String,
}

/// Codings in which a peer takes messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct AcceptedCodings {
    is_accepted: [bool; CODINGS.len()],
}

/// What a message may become when it is unpacked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UnpackLimits {
    pub(crate) message_bytes_max: usize,
    /// How many times its length it may become, beyond `FREE_BYTES`.
    pub(crate) ratio_max: u64,
    /// Of the configuration, for `message_bytes_max`.
    pub(crate) key: &'static str,
    /// Whoever sent it.
    pub(crate) blame: Blame,
}

/// A message while it is unpacked.
pub(crate) struct Unpacking {
    coded: Coded<Full<Bytes>>,
    joined: Joined,
    limits: UnpackLimits,
    /// What has come of it.
    held: HeldBytes,
}

/// A message while it is packed.
pub(crate) struct Packing {
    coded: Coded<Full<Bytes>>,
    joined: Joined,
}

/// Pieces of one message. One alone is not copied.
#[derive(Default)]
struct Joined {
    first: Bytes,
    more: BytesMut,
}

/// The coding of the flagged messages of a body whose head says `value`.
///
/// # Errors
/// One that is not known.
pub(crate) fn coding_of(value: Option<&HeaderValue>) -> Result<Option<Coding>, UnknownCoding> {
    let Some(value) = value else { return Ok(None) };
    let name = value.to_str().map(str::trim).unwrap_or_default();
    if name.eq_ignore_ascii_case("identity") {
        return Ok(None);
    }
    let known = Coding::from_name(name).filter(|coding| CODINGS.contains(coding));
    known.map(Some).ok_or_else(|| UnknownCoding {
        name: String::from_utf8_lossy(value.as_bytes())
            .chars()
            .take(SHOWN_CHARS_MAX)
            .collect(),
    })
}

/// The coding in which the messages of a reply are sent: `wanted` by whoever answers; else that of the
/// request, as it is the one that the peer likes; else the first of `offered`. None that the peer does
/// not take.
pub(crate) fn reply_coding(
    wanted: Option<Option<Coding>>,
    of_request: Option<Coding>,
    offered: &[Coding],
    accepted: AcceptedCodings,
) -> Option<Coding> {
    let is_accepted = |coding: &Coding| accepted.contains(*coding);
    match wanted {
        Some(wanted) => wanted.filter(is_accepted),
        None => of_request
            .filter(is_accepted)
            .or_else(|| offered.iter().copied().find(is_accepted)),
    }
}

impl AcceptedCodings {
    /// As the fields called `name` of `headers` list them.
    pub(crate) fn of(headers: &HeaderMap, name: &str) -> Self {
        let mut accepted = Self::default();
        let values = headers.get_all(name).iter();
        let names = values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .take(ITEMS_MAX);
        for coding in names.filter_map(|name| Coding::from_name(name.trim())) {
            let known = CODINGS.iter().zip(&mut accepted.is_accepted);
            for (_, is_accepted) in known.filter(|(known, _)| **known == coding) {
                *is_accepted = true;
            }
        }
        accepted
    }

    pub(crate) fn contains(self, coding: Coding) -> bool {
        let mut known = CODINGS.iter().zip(self.is_accepted);
        known.any(|(known, is_accepted)| *known == coding && is_accepted)
    }
}

impl Unpacking {
    /// # Errors
    /// Where `bytes` has no room for the decoder.
    pub(crate) fn new(
        message: Bytes,
        coding: Coding,
        limits: UnpackLimits,
        bytes: &ConnectionBytes,
    ) -> Result<Self, ByteBudgetError> {
        let held = bytes.hold(decoder_bytes(coding))?;
        let expansion = Expansion {
            ratio_max: limits.ratio_max,
            free_bytes: FREE_BYTES,
        };
        Ok(Self {
            coded: Coded::expand(Full::new(message), coding, expansion, held),
            joined: Joined::default(),
            limits,
            held: bytes.hold(0)?,
        })
    }

    /// The message as it was before.
    ///
    /// # Errors
    /// `internal` where it is not in its coding (`grpc/doc/compression.md`), `resource-exhausted` where
    /// it becomes too long; and where there is no room for it.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Error>> {
        let UnpackLimits {
            message_bytes_max,
            key,
            blame,
            ..
        } = self.limits;
        while let Some(piece) = ready!(poll_piece(&mut self.coded, cx)) {
            let piece = match piece {
                Ok(piece) => piece,
                Err(error) => return Poll::Ready(Err(unpack_error(&error, blame))),
            };
            let length = self.joined.len() + piece.len();
            if length > message_bytes_max {
                let error = Error::too_long(length, message_bytes_max, key, blame);
                return Poll::Ready(Err(error));
            }
            self.held.grow(piece.len())?;
            self.joined.push(piece);
        }
        Poll::Ready(Ok(self.joined.take()))
    }

    /// Octets that have come of it so far.
    pub(crate) fn n_unpacked(&self) -> usize {
        self.joined.len()
    }
}

impl Packing {
    /// # Errors
    /// Where `bytes` has no room for the encoder: the message may go as it is.
    pub(crate) fn new(
        message: Bytes,
        coding: Coding,
        bytes: &ConnectionBytes,
    ) -> Result<Self, ByteBudgetError> {
        let held = bytes.hold(encoder_bytes(coding))?;
        Ok(Self {
            coded: Coded::compress(Full::new(message), coding, held),
            joined: Joined::default(),
        })
    }

    /// The message in its coding.
    ///
    /// # Errors
    /// `internal`, where the encoder fails.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Error>> {
        while let Some(piece) = ready!(poll_piece(&mut self.coded, cx)) {
            match piece {
                Ok(piece) => self.joined.push(piece),
                Err(error) => return Poll::Ready(Err(error.into_reply_error())),
            }
        }
        Poll::Ready(Ok(self.joined.take()))
    }
}

fn poll_piece(
    coded: &mut Coded<Full<Bytes>>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Bytes, CodedError>>> {
    loop {
        match ready!(Pin::new(&mut *coded).poll_frame(cx)) {
            Some(Ok(frame)) => {
                // A message has no trailers.
                if let Ok(piece) = frame.into_data() {
                    return Poll::Ready(Some(Ok(piece)));
                }
            }
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            None => return Poll::Ready(None),
        }
    }
}

fn unpack_error(error: &CodedError, blame: Blame) -> Error {
    let message = error.to_string();
    match error {
        CodedError::Expands { .. } => {
            Error::new(Kind::ResourceExhausted, blame, message).with_too_large()
        }
        CodedError::Source(_) | CodedError::Malformed { .. } => {
            Error::new(Kind::Internal, blame, message)
        }
    }
}

impl Joined {
    fn len(&self) -> usize {
        self.first.len() + self.more.len()
    }

    fn push(&mut self, piece: Bytes) {
        if self.len() == 0 {
            self.first = piece;
            return;
        }
        if self.more.is_empty() {
            let first = std::mem::take(&mut self.first);
            self.more.extend_from_slice(&first);
        }
        self.more.extend_from_slice(&piece);
    }

    fn take(&mut self) -> Bytes {
        match self.more.is_empty() {
            true => std::mem::take(&mut self.first),
            false => self.more.split().freeze(),
        }
    }
}

/// Length that every message may become, whatever came in: gRPC's usual limit of a message, so that
/// those of zeros pass, of which gzip makes a thousandth.
const FREE_BYTES: u64 = 4 * 1024 * 1024;
/// Items of a list of codings that are looked at; clients send up to five.
const ITEMS_MAX: usize = 32;
const SHOWN_CHARS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, sync::Arc};

    use super::*;
    use crate::ByteBudget;

    const LIMITS: UnpackLimits = UnpackLimits {
        message_bytes_max: 16 * 1024 * 1024,
        ratio_max: 100,
        key: "key",
        blame: Blame::Client,
    };

    fn bytes() -> ConnectionBytes {
        Arc::new(ByteBudget::unlimited()).connection(usize::MAX)
    }

    async fn packed(message: Bytes, coding: Coding) -> Bytes {
        let mut packing = Packing::new(message, coding, &bytes()).expect("room");
        poll_fn(|cx| packing.poll(cx)).await.expect("packed")
    }

    async fn unpacked(message: Bytes, limits: UnpackLimits) -> Result<Bytes, Error> {
        unpacked_of(message, Coding::Gzip, limits).await
    }

    async fn unpacked_of(
        message: Bytes,
        coding: Coding,
        limits: UnpackLimits,
    ) -> Result<Bytes, Error> {
        let mut unpacking = Unpacking::new(message, coding, limits, &bytes()).expect("room");
        poll_fn(|cx| unpacking.poll(cx)).await
    }

    #[tokio::test]
    async fn every_coding_gives_back_what_it_was_given() {
        for coding in CODINGS {
            for length in [0, 1, 1000, 300_000] {
                let message: Bytes = (0_u32..length).flat_map(u32::to_be_bytes).collect();
                let packed = packed(message.clone(), coding).await;
                let unpacked = unpacked_of(packed, coding, LIMITS).await;
                assert_eq!(unpacked.expect("whole"), message, "{coding:?} {length}");
            }
        }
    }

    #[tokio::test]
    async fn the_limit_is_that_of_the_unpacked_message() {
        let packed = packed(vec![0; 1001].into(), Coding::Gzip).await;
        let limits = |message_bytes_max| UnpackLimits {
            message_bytes_max,
            ..LIMITS
        };
        assert!(unpacked(packed.clone(), limits(1001)).await.is_ok());
        let error = unpacked(packed, limits(1000)).await.expect_err("too long");
        assert_eq!(
            (error.kind, error.is_too_large),
            (Kind::ResourceExhausted, true)
        );
        let told = "message of 1001 octets exceeds the limit of 1000 (key)";
        assert_eq!(error.message, told);
    }

    #[tokio::test]
    async fn zeros_pass_up_to_the_usual_limit_and_no_further() {
        let usual = usize::try_from(FREE_BYTES).expect("small");
        let at_limit = packed(vec![0; usual].into(), Coding::Gzip).await;
        assert!(unpacked(at_limit, LIMITS).await.is_ok());
        let bomb = packed(vec![0; 3 * usual].into(), Coding::Gzip).await;
        let error = unpacked(bomb, LIMITS).await.expect_err("a bomb");
        assert_eq!(error.kind, Kind::ResourceExhausted);
    }

    #[tokio::test]
    async fn what_is_not_in_its_coding_is_internal() {
        let whole = packed(vec![7; 1000].into(), Coding::Gzip).await;
        let cut = whole.slice(..whole.len() - 1);
        let longer = Bytes::from([&whole[..], b"x"].concat());
        for message in [Bytes::from_static(b"no gzip"), cut, longer] {
            let error = unpacked(message, LIMITS).await.expect_err("malformed");
            assert_eq!((error.kind, error.blame), (Kind::Internal, Blame::Client));
        }
    }

    #[test]
    fn codings_are_known_by_their_names() {
        let of = |name| coding_of(Some(&HeaderValue::from_static(name)));
        assert_eq!(coding_of(None), Ok(None));
        assert_eq!(of("identity"), Ok(None));
        assert_eq!(of("gzip"), Ok(Some(Coding::Gzip)));
        for name in ["br", "snappy", "", "gzip,zstd"] {
            assert!(of(name).is_err(), "{name}");
        }
        for coding in CODINGS {
            assert!(ACCEPTED.split(',').any(|name| name == coding.name()));
        }
    }

    #[test]
    fn a_reply_has_a_coding_that_its_peer_takes() {
        let accepted = |list| {
            let mut headers = HeaderMap::new();
            headers.insert("a", HeaderValue::from_static(list));
            AcceptedCodings::of(&headers, "a")
        };
        let (gzip, zstd) = (Some(Coding::Gzip), Some(Coding::Zstd));
        let both = accepted("identity, gzip,zstd");
        assert_eq!(reply_coding(None, None, &[], both), None);
        assert_eq!(reply_coding(None, zstd, &[Coding::Gzip], both), zstd);
        assert_eq!(reply_coding(None, None, &[Coding::Gzip], both), gzip);
        assert_eq!(reply_coding(Some(zstd), gzip, &[], both), zstd);
        assert_eq!(reply_coding(Some(None), gzip, &[Coding::Gzip], both), None);
        let only_gzip = accepted("gzip");
        let offered = [Coding::Zstd, Coding::Gzip];
        assert_eq!(reply_coding(None, zstd, &offered, only_gzip), gzip);
        assert_eq!(reply_coding(Some(zstd), None, &offered, only_gzip), None);
        assert_eq!(reply_coding(None, gzip, &offered, accepted("")), None);
    }
}
