//! Two connections over a stream that is cut anywhere and at times breaks off. What must hold for
//! every seed: every message arrives once, in the order of its priority lane and as it was sent, as
//! long as the stream holds; and both ends close.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use bytes::{Buf, BytesMut};

use super::{for_each_seed, payload, random_length};
use crate::{
    headers::Headers,
    testing::{self, Rng},
    wire::{
        frame::Frame,
        session::{CloseReason, Role, SessionConfig, SessionEvent, SessionId},
        stream::Connection,
    },
};

/// One end, what is on the way to it, and what its application saw.
struct End {
    connection: Connection,
    /// Octets that the link has taken and not delivered.
    on_the_way: VecDeque<u8>,
    buffer: BytesMut,
    sent: Vec<u64>,
    arrived: Vec<u64>,
    closed: Option<CloseReason>,
}

struct World {
    rng: Rng,
    now: Instant,
    client: End,
    server: End,
    /// No more octets than this cross the link.
    octets_left: usize,
}

#[test]
fn messages_cross_a_stream_that_is_cut_anywhere() {
    for_each_seed("streams", 1000, |seed| {
        let mut world = World::new(seed, usize::MAX);
        world.converse();
        world.close();
        assert_eq!(world.client.closed, Some(CloseReason::Requested));
        assert_eq!(world.server.closed, Some(CloseReason::PeerBye));
        assert_eq!(world.server.arrived, world.client.sent);
        assert_eq!(world.client.arrived, world.server.sent);
    });
}

#[test]
fn a_stream_that_breaks_off_ends_both_sessions() {
    for_each_seed("broken streams", 1000, |seed| {
        let octets = usize::try_from(Rng::new(seed).below(20_000)).expect("small");
        let mut world = World::new(seed, octets);
        world.converse();
        for end in [&mut world.client, &mut world.server] {
            end.connection.handle_link_end(world.now);
            end.drain();
        }
        assert!(world.client.closed.is_some() && world.server.closed.is_some());
        assert!(world.client.sent.starts_with(&world.server.arrived));
        assert!(world.server.sent.starts_with(&world.client.arrived));
    });
}

impl World {
    fn new(seed: u64, octets_left: usize) -> Self {
        let mut rng = Rng::new(seed);
        let now = testing::epoch();
        let hello = rng.chance(70);
        let config = Arc::new(SessionConfig {
            hello,
            ..SessionConfig::default()
        });
        let client = End::new(Connection::new(
            config.clone(),
            Role::Client,
            SessionId(1),
            now,
        ));
        let server = End::new(Connection::new(config, Role::Server, SessionId(2), now));
        Self {
            rng,
            now,
            client,
            server,
            octets_left,
        }
    }

    fn converse(&mut self) {
        for at in 0..1 + self.rng.below(12) {
            let length = random_length(&mut self.rng);
            let is_client = self.rng.chance(60);
            let sender = if is_client {
                &mut self.client
            } else {
                &mut self.server
            };
            sender.send(self.now, at << 1 | u64::from(is_client), length);
            for _ in 0..self.rng.below(6) {
                self.step();
            }
        }
        while self.step() {}
    }

    fn close(&mut self) {
        self.client
            .connection
            .close(self.now, CloseReason::Requested);
        while self.step() {}
    }

    /// Moves some octets in both directions; false when nothing moves.
    fn step(&mut self) -> bool {
        let Self {
            rng,
            now,
            client,
            server,
            octets_left,
        } = self;
        let mut carry = |from: &mut End, to: &mut End| {
            from.drain();
            while let Some(chunk) = from.connection.poll_transmit() {
                to.on_the_way.extend(chunk);
            }
            let most = if rng.chance(50) { 30 } else { 20_000 };
            let n = usize::try_from(1 + rng.below(most)).expect("small");
            let n = n.min(to.on_the_way.len()).min(*octets_left);
            *octets_left -= n;
            to.take(*now, n);
            n > 0
        };
        // Both, also when the first one moves something.
        carry(client, server) | carry(server, client)
    }
}

impl End {
    fn new(connection: Connection) -> Self {
        Self {
            connection,
            on_the_way: VecDeque::new(),
            buffer: BytesMut::new(),
            sent: Vec::new(),
            arrived: Vec::new(),
            closed: None,
        }
    }

    fn send(&mut self, now: Instant, tag: u64, length: usize) {
        let mut headers = Headers::new();
        headers
            .push("length", length.max(8).to_string())
            .expect("short");
        let frame = Frame::data(headers, payload(tag, length.max(8)));
        if self.connection.send(now, frame).is_ok() {
            self.sent.push(tag);
        }
    }

    fn take(&mut self, now: Instant, n: usize) {
        self.buffer.extend(self.on_the_way.drain(..n));
        self.connection
            .handle_bytes(now, &mut self.buffer)
            .expect("the other end keeps the rules");
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(event) = self.connection.poll_event() {
            assert_eq!(self.closed, None, "{event:?} after the end");
            match event {
                SessionEvent::Message(frame) => {
                    let tag = frame.payload.clone().get_u64();
                    let length = frame.headers.get_str("length").expect("sent").parse();
                    assert_eq!(frame.payload, payload(tag, length.expect("sent")));
                    self.arrived.push(tag);
                }
                SessionEvent::Closed(reason) => self.closed = Some(reason),
                SessionEvent::Established(_)
                | SessionEvent::Acknowledged(_)
                | SessionEvent::Pong(_)
                | SessionEvent::PeerDraining => {}
            }
        }
    }
}
