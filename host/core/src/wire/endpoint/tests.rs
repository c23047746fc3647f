//! Endpoints by hand. The base dialect with the vectors of the published peers is in tests/base.rs,
//! the full dialect in tests/full.rs, who is known and who is forgotten in tests/known.rs,
//! whose address is believed in tests/validation.rs.

mod base;
mod full;
mod known;
mod validation;

use std::time::Duration;

use super::*;
use crate::{
    headers::Headers,
    testing::epoch,
    wire::{
        frame::{Flags, FrameType},
        session::SessionConfig,
    },
};

/// One endpoint, its address and its clock.
struct Side {
    endpoint: Endpoint,
    address: SocketAddr,
    now: Instant,
}

impl Side {
    fn new(role: Role, last: u8, config: EndpointConfig) -> Self {
        // The low half numbers fragments; those of our own clients rarely fit into an octet.
        let mut next = u128::from(last) << 32 | 0x5eed_0000;
        let draw = move || {
            next += 1;
            SessionId(next)
        };
        let address = SocketAddr::from(([10, 0, 0, last], 9090));
        Self {
            endpoint: Endpoint::new(config, role, draw),
            address,
            now: epoch(),
        }
    }

    fn client() -> Self {
        Self::new(Role::Client, 1, EndpointConfig::default())
    }

    fn server() -> Self {
        Self::new(Role::Server, 2, EndpointConfig::default())
    }

    /// Takes octets from another address.
    fn give(&mut self, from: SocketAddr, datagram: impl Into<Bytes>) {
        self.endpoint
            .handle_datagram(self.now, from, None, datagram.into());
    }

    fn give_frame(&mut self, from: SocketAddr, frame: &Frame) {
        let mut octets = BytesMut::new();
        frame.encode(&mut octets).expect("a frame");
        self.give(from, octets);
    }

    /// All that is to be sent.
    fn datagrams(&mut self) -> Vec<Bytes> {
        std::iter::from_fn(|| self.endpoint.poll_transmit())
            .map(|transmit| transmit.octets)
            .collect()
    }

    fn frames(&mut self) -> Vec<Frame> {
        let decode = |octets| Frame::decode_datagram(octets, 65_535).expect("a frame");
        self.datagrams().into_iter().map(decode).collect()
    }

    fn events(&mut self) -> Vec<PeerEvent> {
        std::iter::from_fn(|| self.endpoint.poll_event())
            .map(|(_, event)| event)
            .collect()
    }

    /// The payloads of the messages among the events.
    fn messages(&mut self) -> Vec<Bytes> {
        let message = |event| {
            let PeerEvent::Message(frame) = event else {
                return None;
            };
            Some(frame.payload)
        };
        self.events().into_iter().filter_map(message).collect()
    }

    /// Lets time pass, and does what becomes due on the way.
    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some((at, _)) = self.endpoint.poll_timeout().filter(|(at, _)| *at <= until) {
            self.now = self.now.max(at);
            self.endpoint.handle_timeout(self.now);
        }
        self.now = until;
    }

    fn send(
        &mut self,
        to: SocketAddr,
        payload: impl Into<Bytes>,
        delivery: DeliveryMode,
    ) -> SendId {
        let frame = Frame::data(Headers::new(), payload);
        self.endpoint
            .send(self.now, to, frame, delivery)
            .expect("sent")
    }
}

/// Carries datagrams between two sides until both are silent, except those `drop` takes.
fn exchange(a: &mut Side, b: &mut Side, mut drop: impl FnMut(&Frame) -> bool) {
    loop {
        let (from_a, from_b) = (a.datagrams(), b.datagrams());
        if from_a.is_empty() && from_b.is_empty() {
            return;
        }
        let mut carry = |from: &Side, to: &mut Side, datagrams: Vec<Bytes>| {
            for octets in datagrams {
                let frame = Frame::decode_datagram(octets.clone(), 65_535).expect("a frame");
                if !drop(&frame) {
                    to.give(from.address, octets);
                }
            }
        };
        carry(a, b, from_a);
        carry(b, a, from_b);
    }
}

fn hex(text: &str) -> Bytes {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let octet = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).expect("digits"), 16);
    digits
        .chunks(2)
        .map(|pair| octet(pair).expect("two digits"))
        .collect()
}

fn with(headers: &[(&str, &str)]) -> Headers {
    let mut built = Headers::new();
    for (key, value) in headers {
        built.push(key, value).expect("short");
    }
    built
}

fn is(frame: &Frame, kind: FrameType) -> bool {
    frame.kind == kind
}
