//! A body while it is coded.
//!
//! **Invariant:** one poll takes no more than `RUN_BYTES` of the body, so that a long body does not keep
//! the others of its thread waiting; and no more is unpacked than somebody has room for.

use std::{
    error::Error as StdError,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use async_compression::{
    Level,
    brotli::EncoderParams,
    tokio::bufread::{
        BrotliDecoder, BrotliEncoder, GzipDecoder, GzipEncoder, ZlibDecoder, ZlibEncoder,
        ZstdDecoder, ZstdEncoder,
    },
    zstd::{CParameter, DParameter},
};
use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use http::HeaderMap;
use http_body::{Body, Frame};
use postern_core::Error;
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::io::{StreamReader, poll_read_buf};

use super::Coding;
use crate::HeldBytes;

/// A body in another coding. Trailers pass.
pub(in crate::http) struct Coded<B> {
    coder: Coder<Reader<B>>,
    coding: Coding,
    output: BytesMut,
    n_out: u64,
    /// `None` for what is compressed.
    expansion: Option<Expansion>,
    has_ended: bool,
    /// What the coder takes.
    _held: HeldBytes,
}

/// How much may come of what is compressed.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct Expansion {
    /// Octets that may come of one.
    pub(in crate::http) ratio_max: u64,
    /// Octets that may come of any beyond that.
    pub(in crate::http) free_bytes: u64,
}

/// Why a body cannot be coded.
#[derive(Debug, thiserror::Error)]
pub(in crate::http) enum CodedError {
    #[error("{0}")]
    Source(Box<dyn StdError + Send + Sync>),
    #[error("the content is not {}: {reason}", coding.name())]
    Malformed { coding: Coding, reason: io::Error },
    #[error(
        "{n_in} octets of {} become more than {limit} times as many", coding.name()
    )]
    Expands {
        coding: Coding,
        n_in: u64,
        limit: u64,
    },
}

impl Expansion {
    /// Of the body of a request.
    pub(in crate::http) const fn of_request(ratio_max: u64) -> Self {
        Self {
            ratio_max,
            free_bytes: REQUEST_FREE_BYTES,
        }
    }
}

impl CodedError {
    /// The error of a reply that is compressed, which is that of its source.
    pub(in crate::http) fn into_reply_error(self) -> Error {
        match self {
            Self::Source(error) => match error.downcast::<Error>() {
                Ok(error) => *error,
                Err(error) => Error::internal(error.to_string()),
            },
            other @ (Self::Malformed { .. } | Self::Expands { .. }) => {
                Error::internal(other.to_string())
            }
        }
    }
}

type Reader<B> = StreamReader<Source<B>, Bytes>;

/// What is read of the body, in small pieces.
struct Source<B> {
    body: B,
    rest: Bytes,
    trailers: Option<HeaderMap>,
    error: Option<Box<dyn StdError + Send + Sync>>,
    n_octets: u64,
    /// Octets since the task had its last rest.
    n_run: usize,
}

enum Coder<R> {
    GzipEncoder(GzipEncoder<R>),
    ZlibEncoder(ZlibEncoder<R>),
    BrotliEncoder(Box<BrotliEncoder<R>>),
    ZstdEncoder(ZstdEncoder<R>),
    GzipDecoder(GzipDecoder<R>),
    ZlibDecoder(ZlibDecoder<R>),
    BrotliDecoder(Box<BrotliDecoder<R>>),
    ZstdDecoder(ZstdDecoder<R>),
}

/// The same of whichever coder it is.
macro_rules! each {
    ($coder:expr, $each:ident => $work:expr) => {
        match $coder {
            Coder::GzipEncoder($each) => $work,
            Coder::ZlibEncoder($each) => $work,
            Coder::BrotliEncoder($each) => $work,
            Coder::ZstdEncoder($each) => $work,
            Coder::GzipDecoder($each) => $work,
            Coder::ZlibDecoder($each) => $work,
            Coder::BrotliDecoder($each) => $work,
            Coder::ZstdDecoder($each) => $work,
        }
    };
}

impl<B> Coded<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    /// Compresses `body`. `held` counts what that takes, `encoder_bytes`.
    pub(in crate::http) fn compress(body: B, coding: Coding, held: HeldBytes) -> Self {
        let body = Source::read(body);
        let coder = match coding {
            Coding::Gzip => Coder::GzipEncoder(GzipEncoder::with_quality(body, GZIP_LEVEL)),
            Coding::Deflate => Coder::ZlibEncoder(ZlibEncoder::with_quality(body, GZIP_LEVEL)),
            Coding::Brotli => {
                let params = EncoderParams::default()
                    .quality(BROTLI_LEVEL)
                    .window_size(WINDOW_LOG);
                Coder::BrotliEncoder(Box::new(BrotliEncoder::with_params(body, params)))
            }
            Coding::Zstd => {
                let params = [CParameter::window_log(WINDOW_LOG.unsigned_abs())];
                let encoder = ZstdEncoder::with_quality_and_params(body, ZSTD_LEVEL, &params);
                Coder::ZstdEncoder(encoder)
            }
        };
        Self::new(coder, coding, None, held)
    }

    /// Undoes `coding`; what becomes longer than `expansion` says is refused. `held` counts what that
    /// takes, `decoder_bytes`.
    pub(in crate::http) fn expand(
        body: B,
        coding: Coding,
        expansion: Expansion,
        held: HeldBytes,
    ) -> Self {
        let body = Source::read(body);
        let coder = match coding {
            Coding::Gzip => {
                let mut decoder = GzipDecoder::new(body);
                decoder.multiple_members(true);
                Coder::GzipDecoder(decoder)
            }
            Coding::Deflate => Coder::ZlibDecoder(ZlibDecoder::new(body)),
            Coding::Brotli => Coder::BrotliDecoder(Box::new(BrotliDecoder::new(body))),
            Coding::Zstd => {
                let params = [DParameter::window_log_max(ZSTD_WINDOW_LOG_MAX)];
                Coder::ZstdDecoder(ZstdDecoder::with_params(body, &params))
            }
        };
        Self::new(coder, coding, Some(expansion), held)
    }

    fn new(
        coder: Coder<Reader<B>>,
        coding: Coding,
        expansion: Option<Expansion>,
        held: HeldBytes,
    ) -> Self {
        Self {
            coder,
            coding,
            output: BytesMut::new(),
            n_out: 0,
            expansion,
            has_ended: false,
            _held: held,
        }
    }

    fn source(&mut self) -> &mut Source<B> {
        each!(&mut self.coder, coder => coder.get_mut().get_mut())
    }

    /// # Errors
    /// Where more has come of the body than may.
    fn check_ratio(&mut self) -> Result<(), CodedError> {
        let (n_in, n_out) = (self.source().n_octets, self.n_out);
        let Some(Expansion {
            ratio_max: limit,
            free_bytes,
        }) = self.expansion
        else {
            return Ok(());
        };
        if n_out <= n_in.saturating_mul(limit).saturating_add(free_bytes) {
            return Ok(());
        }
        let coding = self.coding;
        Err(CodedError::Expands {
            coding,
            n_in,
            limit,
        })
    }

    fn failed(&mut self, reason: io::Error) -> CodedError {
        self.has_ended = true;
        match self.source().error.take() {
            Some(error) => CodedError::Source(error),
            None => CodedError::Malformed {
                coding: self.coding,
                reason,
            },
        }
    }
}

impl<B> Body for Coded<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    type Data = Bytes;
    type Error = CodedError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        if this.has_ended {
            return Poll::Ready(None);
        }
        this.output.reserve(OUTPUT_BYTES);
        let read = poll_read_buf(Pin::new(&mut this.coder), cx, &mut this.output);
        match ready!(read) {
            Ok(0) => {
                this.has_ended = true;
                let trailers = this.source().trailers.take();
                Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
            }
            Ok(n_octets) => {
                this.n_out += n_octets as u64;
                if let Err(error) = this.check_ratio() {
                    this.has_ended = true;
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Ready(Some(Ok(Frame::data(this.output.split().freeze()))))
            }
            Err(reason) => Poll::Ready(Some(Err(this.failed(reason)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended
    }
}

impl<R> AsyncRead for Coder<R>
where
    R: tokio::io::AsyncBufRead + Unpin,
{
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(&mut *self, coder => Pin::new(coder).poll_read(cx, into))
    }
}

impl<B> Source<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    fn read(body: B) -> Reader<B> {
        StreamReader::new(Self {
            body,
            rest: Bytes::new(),
            trailers: None,
            error: None,
            n_octets: 0,
            n_run: 0,
        })
    }
}

impl<B> Stream for Source<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.n_run >= RUN_BYTES {
            this.n_run = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        while this.rest.is_empty() {
            let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) else {
                this.n_run = 0;
                return Poll::Pending;
            };
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => this.rest = data,
                Some(Ok(Err(frame))) => {
                    this.trailers = frame.into_trailers().ok();
                    return Poll::Ready(None);
                }
                Some(Err(error)) => {
                    this.error = Some(error.into());
                    return Poll::Ready(Some(Err(io::Error::other("the body broke off"))));
                }
                None => return Poll::Ready(None),
            }
        }
        let piece = this.rest.split_to(this.rest.len().min(PIECE_BYTES));
        this.n_octets += piece.len() as u64;
        this.n_run += piece.len();
        Poll::Ready(Some(Ok(piece)))
    }
}

/// What compressing takes, in bytes: the window that is sent, and tables of some times its size.
pub(in crate::http) const fn encoder_bytes(coding: Coding) -> usize {
    match coding {
        Coding::Gzip | Coding::Deflate => 512 * 1024,
        Coding::Brotli | Coding::Zstd => 2 * 1024 * 1024,
    }
}

/// What expanding takes, in bytes: the largest window that the sender may choose, and its tables.
pub(in crate::http) const fn decoder_bytes(coding: Coding) -> usize {
    match coding {
        Coding::Gzip | Coding::Deflate => 128 * 1024,
        Coding::Brotli => 17 * 1024 * 1024,
        Coding::Zstd => 9 * 1024 * 1024,
    }
}

/// zlib's 6 costs twice as much as 4 for one part in fifty of the length.
const GZIP_LEVEL: Level = Level::Precise(4);
/// What is compressed while somebody waits (`brotli` 11 is for files that are compressed once).
const BROTLI_LEVEL: Level = Level::Precise(4);
const ZSTD_LEVEL: Level = Level::Precise(3);
/// Window of what is sent, as a power of two: 256 KiB, so that a connection costs little.
const WINDOW_LOG: i32 = 18;
/// Window of what is taken: 8 MiB, which every sender keeps to (RFC 8878 section 3.1.1.1.2).
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// Length that the body of a request may expand to, whatever came in.
const REQUEST_FREE_BYTES: u64 = 64 * 1024;
/// Room for one piece of what is given.
const OUTPUT_BYTES: usize = 16 * 1024;
const PIECE_BYTES: usize = 16 * 1024;
/// About two milliseconds of compression.
const RUN_BYTES: usize = 128 * 1024;
