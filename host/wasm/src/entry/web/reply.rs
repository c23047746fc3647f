//! The response of a guest as a reply: at hand where the guest has given all of it before its first wait,
//! else a stream in which the guest runs.

use std::{
    collections::VecDeque,
    future::poll_fn,
    mem,
    pin::Pin,
    sync::{
        Arc,
        atomic::{
            AtomicBool,
            Ordering::{Acquire, Relaxed},
        },
    },
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use http_body::Body as HttpBody;
use postern_core::{
    Blame, Body, BodySource, BodyStream, BoxFuture, Error, Headers, HttpStatus, Kind, Reply,
};
use postern_system::clock;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::Answer;
use crate::{
    http_bodies::GuestBody,
    http_fields::{to_headers, to_trailers},
    progress::Progress,
    reply_draft::Drafted,
    state::Guest,
    stream_registry::{RegisteredStream, Running, StreamRegistry},
    tails::Tails,
    waited::{Waited, WaitedFor},
};

/// A guest that answers, and what it has given so far.
pub(super) struct WebReply {
    work: Work,
    /// `None` once it has been told.
    answered: Option<oneshot::Receiver<Answer>>,
    body: Option<GuestBody>,
    /// Whether the guest was stopped, noted before its store ended.
    is_cut: Arc<AtomicBool>,
    /// Dropped when the body has been read.
    read: Option<oneshot::Sender<()>>,
    pieces: VecDeque<Bytes>,
    n_octets: usize,
    trailers: Option<Headers>,
    /// How the guest ended, where badly, or its body.
    error: Option<Error>,
    has_ended: bool,
    /// There while it counts as a stream.
    permit: Option<OwnedSemaphorePermit>,
    guest: Arc<Guest>,
    streams: Arc<StreamRegistry>,
    progress: Arc<Progress>,
    waited: Arc<Waited>,
    client: WaitedFor,
}

/// The guest's side.
enum Work {
    Alone(BoxFuture<Result<Drafted, Error>>),
    /// Seen from outside, so that it is ended when it stands still.
    Watched {
        running: Arc<Running>,
        /// It is seen for as long as this lives.
        _registered: RegisteredStream,
    },
    Done,
}

/// Octets of a reply that is at hand: of a longer one the first are sent before the last are there.
const WHOLE_BYTES_MAX: usize = 64 * 1024;

impl WebReply {
    pub(super) fn new(
        work: BoxFuture<Result<Drafted, Error>>,
        (answered, read, is_cut): (
            oneshot::Receiver<Answer>,
            oneshot::Sender<()>,
            Arc<AtomicBool>,
        ),
        (guest, streams): (Arc<Guest>, Arc<StreamRegistry>),
        (progress, waited): (Arc<Progress>, Arc<Waited>),
    ) -> Self {
        Self {
            work: Work::Alone(work),
            answered: Some(answered),
            body: None,
            is_cut,
            read: Some(read),
            pieces: VecDeque::new(),
            n_octets: 0,
            trailers: None,
            error: None,
            has_ended: false,
            permit: None,
            guest,
            streams,
            progress,
            waited,
            client: WaitedFor::default(),
        }
    }

    /// Runs the guest up to its head, and as far beyond as it goes without a wait. `permit` is there where
    /// it counts as a stream already.
    pub(super) async fn answer(
        mut self,
        permit: Option<OwnedSemaphorePermit>,
        deadline: Option<Instant>,
    ) -> Result<Reply, Error> {
        if let Some(permit) = permit {
            self.watch(permit);
        }
        let answer = poll_fn(|cx| self.poll_answer(cx)).await?;
        let response = match answer {
            Ok(response) => response,
            Err(said) => {
                let plugin = Arc::clone(&self.guest.plugin);
                self.leave();
                let message = format!("plugin {plugin} answers with an error: {said}");
                return Err(Error::new(Kind::Internal, Blame::Guest, message));
            }
        };
        let (head, body) = response.into_parts();
        let status = HttpStatus::new(head.status.as_u16()).map_err(|error| {
            let message = format!(
                "plugin {} answers with a status that is none: {error}",
                self.guest.plugin
            );
            Error::new(Kind::Internal, Blame::Guest, message)
        })?;
        self.body = Some(body);
        poll_fn(|cx| self.poll_at_hand(cx)).await;
        if let Some(error) = self.error.take() {
            self.leave();
            return Err(error);
        }
        if !matches!(self.work, Work::Done) && self.permit.is_none() {
            let permit = self.streams.permit(&self.guest, deadline).await?;
            self.watch(permit);
        }
        let headers = to_headers(&head.headers);
        let status = Some(status).filter(|status| status.number() != 200);
        let mut reply = match self.has_ended {
            true => self.whole(headers),
            false => Reply::new(headers, Body::Octets(BodyStream::from_source(self))),
        };
        reply.status = status;
        Ok(reply)
    }

    /// It counts as a stream from here on, and is seen from outside.
    fn watch(&mut self, permit: OwnedSemaphorePermit) {
        self.permit = Some(permit);
        self.work = match mem::replace(&mut self.work, Work::Done) {
            Work::Alone(work) => {
                let progress = Arc::clone(&self.progress);
                let (running, registered) = Running::register(&self.streams, work, progress);
                Work::Watched {
                    running,
                    _registered: registered,
                }
            }
            other @ (Work::Watched { .. } | Work::Done) => other,
        };
    }

    /// The guest goes on behind its answer, if it has not returned.
    fn leave(&mut self) {
        let work = mem::replace(&mut self.work, Work::Done);
        if matches!(work, Work::Done) {
            return;
        }
        let permit = self.permit.take();
        if let Some(tails) = self.guest.shared.get::<Tails>() {
            tails.spawn(async move {
                let mut work = work;
                // What went wrong has been told.
                drop(poll_fn(|cx| work.poll(cx)).await);
                drop(permit);
            });
        }
    }

    /// The reply whose body has ended.
    fn whole(mut self, mut headers: Headers) -> Reply {
        self.leave();
        let octets = match self.pieces.len() {
            0 | 1 => self.pieces.pop_front().unwrap_or_default(),
            _ => {
                let mut all = BytesMut::with_capacity(self.n_octets);
                for piece in &self.pieces {
                    all.extend_from_slice(piece);
                }
                all.freeze()
            }
        };
        if let Some(trailers) = self.trailers.take() {
            let stream = match octets.is_empty() {
                true => BodyStream::trailing(trailers),
                false => BodyStream::once(octets, Some(trailers)),
            };
            return Reply::new(headers, Body::Octets(stream));
        }
        if octets.is_empty() {
            return Reply::new(headers, Body::Empty);
        }
        if headers.get(b"content-type").is_some() {
            return Reply::new(headers, Body::One(octets));
        }
        // A message alone is JSON where nothing is said of it; this is what the guest says it is.
        if headers.get(b"content-length").is_none() {
            // Cannot fail: a field of HTTP is short.
            let _ = headers.push("content-length", octets.len().to_string());
        }
        Reply::new(headers, Body::Octets(BodyStream::once(octets, None)))
    }

    /// Runs the guest. What it ended with is kept.
    fn poll_work(&mut self, cx: &mut Context<'_>) {
        if matches!(self.work, Work::Done) {
            return;
        }
        if let Poll::Ready(ended) = self.work.poll(cx) {
            self.work = Work::Done;
            if let Err(error) = ended {
                self.error.get_or_insert(error);
            }
        }
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<Answer, Error>> {
        self.poll_work(cx);
        if let Some(answered) = &mut self.answered {
            match Pin::new(answered).poll(cx) {
                Poll::Ready(answer) => {
                    self.answered = None;
                    if let Ok(answer) = answer {
                        return Poll::Ready(Ok(answer));
                    }
                }
                Poll::Pending => {}
            }
        }
        match self.work {
            Work::Done => Poll::Ready(Err(self.error.take().unwrap_or_else(|| {
                let plugin = &self.guest.plugin;
                let message = format!("plugin {plugin} has returned without a response");
                Error::new(Kind::Internal, Blame::Guest, message)
            }))),
            Work::Alone(_) | Work::Watched { .. } => Poll::Pending,
        }
    }

    /// Takes what is there of the body, and lets the guest go on as long as that gives more.
    fn poll_at_hand(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let before = self.n_octets;
            while !self.has_ended && self.n_octets < WHOLE_BYTES_MAX {
                if self.poll_piece(cx).is_pending() {
                    break;
                }
            }
            if self.has_ended || self.n_octets == before || self.n_octets >= WHOLE_BYTES_MAX {
                return Poll::Ready(());
            }
            self.poll_work(cx);
        }
    }

    /// Takes one frame of the body. Ready when something has changed.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(body) = &mut self.body else {
            self.end(cx, None);
            return Poll::Ready(());
        };
        let polled = Pin::new(body).poll_frame(cx);
        let Poll::Ready(frame) = polled else {
            if matches!(self.work, Work::Done) {
                let plugin = &self.guest.plugin;
                let message = format!("plugin {plugin} has returned and not finished its body");
                let error = Error::new(Kind::Internal, Blame::Guest, message);
                self.end(cx, Some(error));
                return Poll::Ready(());
            }
            return Poll::Pending;
        };
        match frame {
            None => {
                let error = self.is_cut.load(Acquire).then(|| {
                    let message =
                        format!("plugin {} was stopped within its body", self.guest.plugin);
                    Error::new(Kind::Internal, Blame::Guest, message)
                });
                self.end(cx, error);
            }
            Some(Err(error)) => {
                let plugin = &self.guest.plugin;
                let message = format!("plugin {plugin} gives its body up: {error}");
                let error = Error::new(Kind::Internal, Blame::Guest, message);
                self.end(cx, Some(error));
            }
            Some(Ok(frame)) => match frame.into_data() {
                Ok(piece) if piece.is_empty() => {}
                Ok(piece) => {
                    self.n_octets = self.n_octets.saturating_add(piece.len());
                    self.pieces.push_back(piece);
                }
                Err(frame) => {
                    self.trailers = frame.trailers_ref().and_then(to_trailers);
                    self.end(cx, None);
                }
            },
        }
        Poll::Ready(())
    }

    /// The body is over, by `error` unless the guest has said worse.
    fn end(&mut self, cx: &mut Context<'_>, error: Option<Error>) {
        (self.has_ended, self.body, self.read) = (true, None, None);
        // Most guests return now.
        self.poll_work(cx);
        if let Some(error) = error {
            self.error.get_or_insert(error);
        }
    }
}

impl Work {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Drafted, Error>> {
        match self {
            Self::Alone(work) => work.as_mut().poll(cx),
            Self::Watched { running, .. } => running.poll(cx),
            Self::Done => Poll::Ready(Ok(None)),
        }
    }
}

impl Stream for WebReply {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        this.client.end(&this.waited, clock::now);
        this.progress.waits.store(false, Relaxed);
        while this.pieces.is_empty() && !this.has_ended {
            this.poll_work(cx);
            ready!(this.poll_piece(cx));
        }
        if let Some(piece) = this.pieces.pop_front() {
            // The guest is ahead of the client by what it writes now.
            this.poll_work(cx);
            this.progress.on_message();
            this.waited.on_crossing();
            this.progress.waits.store(true, Relaxed);
            this.client.begin(&this.waited, clock::now);
            return Poll::Ready(Some(Ok(piece)));
        }
        this.leave();
        Poll::Ready(this.error.take().map(Err))
    }
}

impl BodySource for WebReply {
    fn trailers(mut self: Pin<&mut Self>) -> Option<Headers> {
        self.trailers.take()
    }

    fn keep(self: Pin<&mut Self>, _: usize) -> Result<(), Error> {
        Ok(())
    }
}
