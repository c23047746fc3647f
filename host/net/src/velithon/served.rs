//! One accepted connection until it is closed, drained, silent or gone.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use postern_core::Peer;
use postern_system::clock;

use super::{
    config::VelithonConfig,
    conversation::{Bounds, Conversation, ConversationEnd, NoResponses},
    front::Front,
    server::Shared,
    silence::PeerActivity,
};
use crate::{
    Shutdown,
    driver::Alarm,
    link::{PeerWatch, WatchedLink},
};

struct Served<'a, S> {
    conversation: Conversation<S>,
    shared: &'a Shared,
    config: Arc<VelithonConfig>,
    activity: Arc<PeerActivity>,
    alarm: Alarm,
    is_draining: bool,
    /// Until when requests are still taken in a drain.
    last_look: Option<Instant>,
    looking: Alarm,
}

pub(super) async fn serve<S: WatchedLink>(
    shared: &Shared,
    stream: S,
    peer: Peer,
    shutdown: &Shutdown,
) {
    let watch = stream.watch();
    let mut served = Served::new(shared, stream, peer);
    let mut draining = pin!(shutdown.draining());
    // Seen also while nothing is read, and after a peer that may still read has closed its sending side.
    let mut reset = pin!(watch.reset());
    let ended = poll_fn(|cx| {
        if reset.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(std::io::Error::from(
                std::io::ErrorKind::ConnectionReset,
            )
            .into()));
        }
        served.poll(cx, draining.as_mut())
    });
    let ended = ended.await;
    served.conversation.close(ended).await;
}

impl<'a, S: WatchedLink> Served<'a, S> {
    fn new(shared: &'a Shared, stream: S, peer: Peer) -> Self {
        let config = shared.config.load_full();
        let activity = shared.peers.activity(&peer.origin, clock::now());
        let mut front = Front::new(
            Arc::new(peer),
            Arc::clone(&shared.handler),
            Arc::clone(&shared.endpoints),
            config.body_bytes_max,
        );
        front.set(config.default_service.clone(), config.body_bytes_max);
        let bytes = shared.bytes.connection(config.held_bytes_max);
        let conversation = Conversation::new(
            stream,
            (front, Arc::new(NoResponses)),
            (Bounds::from(&*config), FRAME_LIMIT),
            (bytes, Arc::clone(&shared.counters)),
        );
        Self {
            conversation,
            shared,
            config,
            activity,
            alarm: Alarm::default(),
            is_draining: false,
            last_look: None,
            looking: Alarm::default(),
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        draining: Pin<&mut impl Future<Output = ()>>,
    ) -> Poll<Result<(), ConversationEnd>> {
        self.take_settings();
        let mut has_read = false;
        let polled = self.conversation.poll(cx, &mut has_read);
        if has_read {
            self.activity.on_heard(clock::now());
        }
        if polled.is_ready() {
            return polled;
        }
        if !self.is_draining && draining.poll(cx).is_ready() {
            self.is_draining = true;
            self.last_look = Some(clock::now() + LAST_LOOK);
        }
        if self.last_look.is_some() && self.looking.poll(cx, self.last_look).is_ready() {
            self.last_look = None;
            self.conversation.drain();
        }
        if self.is_draining && self.last_look.is_none() && self.conversation.is_idle() {
            return Poll::Ready(Ok(()));
        }
        match self.poll_silence(cx) {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    }

    /// Whether the peer has said nothing for too long, on any of its connections.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> bool {
        loop {
            let until = self.activity.last() + self.config.idle_timeout;
            let is_silent = until <= clock::now() && self.conversation.is_idle();
            if is_silent {
                return true;
            }
            // With calls in flight it is looked at again when they are answered.
            let until = Some(until).filter(|until| *until > clock::now());
            if self.alarm.poll(cx, until).is_pending() {
                return false;
            }
        }
    }

    fn take_settings(&mut self) {
        let current = self.shared.config.load();
        if Arc::ptr_eq(&current, &self.config) {
            return;
        }
        self.config = Arc::clone(&current);
        let config = &self.config;
        self.conversation.set_bounds(Bounds::from(&**config));
        let default_service = config.default_service.clone();
        let front = self.conversation.front();
        front.set(default_service, config.body_bytes_max);
    }
}

impl From<&VelithonConfig> for Bounds {
    fn from(config: &VelithonConfig) -> Self {
        Self {
            calls_max: config.calls_in_flight_max,
            write_timeout: config.write_timeout,
            frame_bytes_max: config.frame_bytes_max,
            frame_timeout: config.body_timeout,
        }
    }
}

/// How long a connection takes requests after draining began: one may have been sent before that, and its
/// caller would wait for half a minute.
const LAST_LOOK: Duration = Duration::from_millis(100);
const FRAME_LIMIT: &str = "velithon.frame-bytes-max";
