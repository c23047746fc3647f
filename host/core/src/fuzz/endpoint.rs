//! Whatever datagrams arrive, from whom and when: an endpoint keeps its bounds, sends datagrams that
//! decode and are short enough, wakes up in the future only, and tells the end of every send once.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};

use super::Script;
use crate::{
    headers::Headers,
    limits::Limits,
    testing::epoch,
    wire::{
        CloseReason, DeliveryMode, Endpoint, EndpointConfig, Flags, Frame, FrameType, Role, SendId,
        SessionConfig, SessionId,
        endpoint::{PeerEvent, Transmit},
    },
};

const PEERS_MAX: usize = 3;
const DATAGRAM_BYTES_MAX: usize = 300;
/// Headers that mean something to an endpoint.
const KEYS: [&str; 12] = [
    "msg-id",
    "frag-id",
    "frag-index",
    "frag-total",
    "sack",
    "sack-epoch",
    "sack-next",
    "sack-missing",
    "features",
    "nonce",
    "session-id",
    "k",
];
/// Values that are more than a small number.
const VALUES: [&str; 6] = [
    "wide",
    "wide,mux",
    "00112233445566778899aabbccddeeff",
    "1-2,4",
    "18446744073709551615",
    "",
];

/// An endpoint and what is owed to its application.
struct Driven {
    endpoint: Endpoint,
    now: Instant,
    owed: BTreeSet<SendId>,
    /// Numbers of messages that were sent, so that they can be acknowledged.
    numbers: Vec<Bytes>,
}

/// The first octet says which end it is; then each octet is a step:
///
/// | step mod 8 | does |
/// |---|---|
/// | 0, 1, 2 | receives a frame: peer, type, flags, headers, length of payload |
/// | 3 | receives octets as they are |
/// | 4 | lets as many milliseconds pass as the square of the next octet says |
/// | 5 | sends: peer and delivery, length |
/// | 6 | connects, or closes, or begins or finishes a call |
/// | 7 | transmits |
pub fn endpoint(octets: &[u8]) {
    let mut script = Script::new(octets);
    let mut driven = Driven::new(script.octet());
    while !script.is_empty() {
        driven.step(&mut script);
        driven.check();
    }
    // Left alone, everything comes to an end.
    for last in 0..4 {
        for _ in 0..64 {
            driven.endpoint.finish(peer(last));
        }
    }
    driven.endpoint.drain(driven.now, &CloseReason::Shutdown);
    for _ in 0..10_000 {
        driven.transmit();
        driven.check();
        let Some((at, _)) = driven.endpoint.poll_timeout() else {
            break;
        };
        driven.now = driven.now.max(at);
        driven.endpoint.handle_timeout(driven.now);
    }
    assert_eq!(
        driven.endpoint.poll_timeout(),
        None,
        "something wakes for ever"
    );
    assert!(
        driven.owed.is_empty(),
        "the end of {:?} is not told",
        driven.owed
    );
    assert_eq!(driven.endpoint.stats().peers, 0);
}

impl Driven {
    fn new(mode: u8) -> Self {
        // Nothing is sent to keep the peers awake.
        let keep_alive = None;
        let limits = Limits {
            message_bytes_max: 20_000,
            reassembly_sessions_max: 6,
            reassembly_sessions_per_peer_max: 4,
            reassembly_bytes_max: 30_000,
            reassembly_bytes_per_peer_max: 20_000,
            queue_messages_max: 64,
            ..Limits::default()
        };
        let session = SessionConfig {
            hello: mode & 2 == 0,
            keep_alive,
            limits,
            ..SessionConfig::default()
        };
        let config = EndpointConfig {
            peers_max: PEERS_MAX,
            datagram_bytes_max: DATAGRAM_BYTES_MAX,
            ..EndpointConfig::new(session)
        };
        let role = if mode & 1 == 0 {
            Role::Server
        } else {
            Role::Client
        };
        let mut next = 0;
        let draw = move || {
            next += 1;
            SessionId(next)
        };
        let endpoint = Endpoint::new(config, role, draw);
        Self {
            endpoint,
            now: epoch(),
            owed: BTreeSet::new(),
            numbers: Vec::new(),
        }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        match script.octet() % 8 {
            0..=2 => {
                let from = peer(script.octet());
                let mut octets = BytesMut::new();
                if self.frame(script).encode(&mut octets).is_ok() {
                    self.endpoint
                        .handle_datagram(self.now, from, None, octets.freeze());
                }
            }
            3 => {
                let (from, n) = (peer(script.octet()), script.octet());
                let octets = Bytes::copy_from_slice(script.octets(n.into()));
                self.endpoint.handle_datagram(self.now, from, None, octets);
            }
            4 => {
                self.now += Duration::from_millis(u64::from(script.octet()).pow(2));
                self.endpoint.handle_timeout(self.now);
            }
            5 => self.send(script),
            6 => {
                let to = peer(script.octet());
                match script.octet() % 4 {
                    0 => {
                        let _ = self.endpoint.connect(self.now, to);
                    }
                    1 => self.endpoint.close(self.now, to, CloseReason::Requested),
                    2 => {
                        let _ = self.endpoint.begin(to);
                    }
                    _ => self.endpoint.finish(to),
                }
            }
            _ => self.transmit(),
        }
    }

    fn send(&mut self, script: &mut Script<'_>) {
        let (to, length) = (peer(script.octet()), usize::from(script.octet()) * 20);
        let frame = Frame::data(Headers::new(), vec![7; length]);
        let sent = self
            .endpoint
            .send(self.now, to, frame, DeliveryMode::Acknowledged);
        self.owed.extend(sent);
    }

    fn frame(&self, script: &mut Script<'_>) -> Frame {
        let kind = FrameType::from_code(1 + script.octet() % 8).unwrap_or(FrameType::Data);
        let flags = Flags::from_bits(script.octet() & 0x33).unwrap_or_default();
        let mut headers = Headers::new();
        for _ in 0..script.octet() % 6 {
            let key = KEYS.get(usize::from(script.octet()) % KEYS.len()).copied();
            let number = script.octet();
            let special = VALUES.get(usize::from(number.wrapping_sub(250)));
            let value = special.map_or_else(|| number.to_string(), ToString::to_string);
            let known = self.numbers.get(usize::from(number));
            // Short enough for a section.
            let _ = match known.filter(|_| key == Some("msg-id") || key == Some("sack")) {
                Some(known) => headers.push(key.unwrap_or_default(), known),
                None => headers.push(key.unwrap_or_default(), value),
            };
        }
        let payload = vec![script.octet(); usize::from(script.octet()) * 10];
        Frame {
            kind,
            flags,
            headers,
            payload: payload.into(),
        }
    }

    fn transmit(&mut self) {
        for _ in 0..2_000 {
            let Some(Transmit { octets, .. }) = self.endpoint.poll_transmit() else {
                return;
            };
            assert!(
                octets.len() <= DATAGRAM_BYTES_MAX,
                "datagram of {} octets",
                octets.len()
            );
            let frame = Frame::decode_datagram(octets, DATAGRAM_BYTES_MAX);
            assert!(frame.is_ok(), "{frame:?}");
            let headers = frame.map(|frame| frame.headers).unwrap_or_default();
            if self.numbers.len() < 256 {
                self.numbers.extend(headers.get_bytes(b"msg-id"));
            }
        }
    }

    fn check(&mut self) {
        while let Some((_, event)) = self.endpoint.poll_event() {
            if let PeerEvent::Delivered(id) | PeerEvent::Undelivered(id, _) = event {
                assert!(self.owed.remove(&id), "{id:?} ends twice");
            }
        }
        let stats = self.endpoint.stats();
        let n_validated = stats.peers - stats.peers_unvalidated;
        assert!(n_validated <= PEERS_MAX, "{stats:?}");
        assert!(stats.peers_unvalidated <= PEERS_MAX, "{stats:?}");
        assert!(
            stats.reassembly_open <= 6 && stats.reassembly_bytes <= 30_000,
            "{stats:?}"
        );
        assert!(self.endpoint.n_open() <= stats.peers);
    }
}

fn peer(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last % 4], 9090))
}
