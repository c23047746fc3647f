//! Whatever a peer sends, whenever, a session stays within its bounds, wakes up in the future only,
//! and ends once.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::Script;
use crate::{
    headers::Headers,
    limits::Limits,
    testing::epoch,
    wire::{
        CloseReason, Features, Flags, Frame, FrameType, Link, Role, Session, SessionConfig,
        SessionEvent, SessionId,
    },
};

const QUEUE_MESSAGES_MAX: usize = 8;
const QUEUE_BYTES_MAX: usize = 1024;
/// The longest frame of a script: its head, 255 octets of headers and of payload, its checksum.
const FRAME_BYTES_MAX: usize = 11 + 255 + 255 + 4;

/// A session and what was seen of it.
struct Driven {
    session: Session,
    now: Instant,
    n_closed: usize,
}

/// The first octet says which end and which link; then each octet is a step:
///
/// | step mod 8 | does |
/// |---|---|
/// | 0, 1, 2 | receives a frame: type, flags, lengths of headers and payload, octets |
/// | 3 | lets as many tenths of a second pass as the next octet says |
/// | 4 | sends DATA of as many octets as the next octet says |
/// | 5 | begins a call; one that is begun is finished by the next |
/// | 6 | writes what is queued |
/// | 7 | closes, or ends the link |
pub fn session(octets: &[u8]) {
    let mut script = Script::new(octets);
    let mut driven = Driven::new(script.octet());
    while !script.is_empty() {
        driven.step(&mut script);
        driven.check();
    }
    driven.write();
    driven.check();
    // Left alone it ends: by its idle timeout, unless a call is in flight, or by its drain timeout.
    while driven.session.in_flight() > 0 {
        driven.session.finish();
    }
    driven.write();
    driven.check();
    for _ in 0..64 {
        let Some((at, _)) = driven.session.poll_timeout() else {
            break;
        };
        driven.now = driven.now.max(at);
        driven.session.handle_timeout(driven.now);
        driven.check();
        driven.write();
        driven.check();
    }
    assert!(
        driven.session.is_closed(),
        "a session left alone does not end"
    );
    assert_eq!(driven.n_closed, 1);
}

impl Driven {
    fn new(mode: u8) -> Self {
        let role = if mode & 1 == 0 {
            Role::Server
        } else {
            Role::Client
        };
        let limits = Limits {
            queue_messages_max: QUEUE_MESSAGES_MAX,
            queue_bytes_max: QUEUE_BYTES_MAX,
            ..Limits::default()
        };
        let config = SessionConfig {
            hello: mode & 4 == 0,
            features: Features::MUX,
            link: if mode & 2 == 0 {
                Link::Stream
            } else {
                Link::Datagram
            },
            limits,
            ..SessionConfig::default()
        };
        let now = epoch();
        let session = Session::new(Arc::new(config), role, SessionId(1), now);
        Self {
            session,
            now,
            n_closed: 0,
        }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        match script.octet() % 8 {
            0..=2 => {
                let _ = self.session.handle_frame(self.now, frame(script));
            }
            3 => {
                self.now += Duration::from_millis(100) * u32::from(script.octet());
                self.session.handle_timeout(self.now);
            }
            4 => {
                let payload = vec![0; usize::from(script.octet())];
                let _ = self
                    .session
                    .send(self.now, Frame::data(Headers::new(), payload));
            }
            5 if self.session.in_flight() > 0 => self.session.finish(),
            5 => {
                let _ = self.session.begin();
            }
            6 => self.write(),
            _ if script.octet() & 1 == 0 => self.session.close(self.now, CloseReason::Requested),
            _ => self.session.handle_link_end(self.now),
        }
    }

    fn write(&mut self) {
        while let Some(frame) = self.session.poll_frame() {
            assert!(
                frame.headers.section().len() < 1024,
                "a peer's text is repeated at length"
            );
        }
    }

    fn check(&mut self) {
        while let Some(event) = self.session.poll_event() {
            assert_eq!(self.n_closed, 0, "{event:?} after the end");
            self.n_closed += usize::from(matches!(event, SessionEvent::Closed(_)));
        }
        assert_eq!(self.n_closed == 1, self.session.is_closed());
        let (messages, bytes) = self.session.queued();
        // One frame of any size and one BYE or ERR stand outside the bounds.
        assert!(
            messages <= QUEUE_MESSAGES_MAX + 1,
            "{messages} messages are queued"
        );
        assert!(
            bytes <= QUEUE_BYTES_MAX + FRAME_BYTES_MAX + 512,
            "{bytes} octets are queued"
        );
        if let Some((at, why)) = self.session.poll_timeout() {
            assert!(
                at > self.now || self.now == epoch(),
                "{why} is due in the past"
            );
            assert!(
                !self.session.is_closed(),
                "{why} wakes a session that is closed"
            );
        }
    }
}

fn frame(script: &mut Script<'_>) -> Frame {
    let kind = FrameType::from_code(1 + script.octet() % 8).unwrap_or(FrameType::Data);
    let flags = Flags::from_bits(script.octet() & 0x33).unwrap_or_default();
    let (headers_len, payload_len) = (script.octet(), script.octet());
    let section = Bytes::copy_from_slice(script.octets(headers_len.into()));
    let headers = Headers::from_section(section).unwrap_or_default();
    let payload = Bytes::copy_from_slice(script.octets(payload_len.into()));
    Frame {
        kind,
        flags,
        headers,
        payload,
    }
}
