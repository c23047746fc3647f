//! Two endpoints and at times a hostile third peer. What must hold for every seed:
//! an acknowledged message arrives once, or its sender is told that it may not have arrived and it
//! arrives at most once; every message arrives as it was sent; no bound is ever exceeded; every send
//! comes to an end.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    for_each_seed,
    link::{Datagram, Faults, Link},
    party::{Outcome, Party},
    payload, random_length,
};
use crate::{
    limits::Limits,
    testing::{self, Rng},
    wire::{
        endpoint::{DeliveryMode, Endpoint, EndpointConfig, Transmit},
        fragment::{Numbering, Split},
        frame::{Flags, Frame},
        session::{CloseReason, Features, Link as LinkKind, Role, SessionConfig, SessionId},
    },
};

/// Longer than any message is tried.
const LONGEST: Duration = Duration::from_secs(300);

struct World {
    rng: Rng,
    now: Instant,
    link: Link,
    client: Party,
    server: Party,
    limits: Limits,
    peers_max: usize,
    /// Fragments that the third peer sends with each step.
    hostility: u64,
    hostile: bytes::Bytes,
    next_hostile_id: u32,
}

/// What differs from seed to seed.
struct Plan {
    faults: Faults,
    hello: bool,
    features: Features,
    limits: Limits,
    hostility: u64,
}

#[test]
fn acknowledged_messages_arrive_once() {
    for_each_seed("datagrams", 3000, |seed| {
        let mut rng = Rng::new(seed);
        let plan = Plan {
            faults: Faults::random(&mut rng),
            hello: rng.chance(70),
            features: match rng.below(10) {
                0..6 => Features::WIDE.with(Features::ECHO),
                6..8 => Features::WIDE,
                _ => Features::NONE,
            },
            limits: Limits::default(),
            hostility: 0,
        };
        let mut world = World::new(seed, plan);
        world.server.answers = world.rng.chance(30);
        world.converse();
        if world.rng.chance(50) {
            world.close();
        }
    });
}

#[test]
fn fifty_kilobytes_always_arrive_through_ten_percent_of_everything() {
    for_each_seed("50 KB", 150, |seed| {
        let mut world = World::new(seed, Plan::full(Faults::TEN_PERCENT));
        let to = world.server.address;
        for length in [51_200, 10, 50_000] {
            world
                .client
                .send(world.now, to, length, DeliveryMode::Acknowledged);
        }
        world.run_until_settled();
        let delivered = world.client.sends.values().map(|send| send.outcome);
        assert!(
            delivered
                .clone()
                .all(|outcome| outcome == Some(Outcome::Delivered))
        );
        assert_eq!(delivered.count(), 3);
        world.check();
    });
}

#[test]
fn a_peer_that_opens_sessions_for_ever_blocks_nobody() {
    for_each_seed("hostile", 100, |seed| {
        let limits = Limits {
            reassembly_sessions_max: 20,
            reassembly_sessions_per_peer_max: 10,
            reassembly_bytes_max: 400_000,
            reassembly_bytes_per_peer_max: 150_000,
            ..Limits::default()
        };
        let plan = Plan {
            limits,
            hostility: 12,
            ..Plan::full(Faults::TEN_PERCENT)
        };
        let mut world = World::new(seed, plan);
        let to = world.server.address;
        for length in [51_200, 3_000, 20_000] {
            world
                .client
                .send(world.now, to, length, DeliveryMode::Acknowledged);
        }
        world.run_until_settled();
        let outcomes: Vec<_> = world
            .client
            .sends
            .values()
            .map(|send| send.outcome)
            .collect();
        assert_eq!(outcomes, [Some(Outcome::Delivered); 3]);
        assert!(
            world.server.endpoint.stats().reassembly_evicted > 0,
            "the bound was tested"
        );
        world.check();
    });
}

#[test]
fn a_client_that_begins_anew_on_its_port_is_heard() {
    for_each_seed("restart", 300, |seed| {
        let mut world = World::new(seed, Plan::full(Faults::random(&mut Rng::new(seed))));
        world.converse();
        let mut client = Party::new(
            3,
            endpoint(&Plan::full(Faults::TEN_PERCENT), Role::Client, seed + 1),
        );
        client.address = world.client.address;
        client
            .endpoint
            .connect(world.now, world.server.address)
            .expect("room");
        world.server.sends.clear();
        let old = std::mem::replace(&mut world.client, client);
        world.converse();
        for send in old.sends.values() {
            let arrived = world.server.arrived.get(&send.tag).copied().unwrap_or(0);
            assert!(
                arrived <= 1,
                "message {:x} arrived {arrived} times",
                send.tag
            );
        }
    });
}

#[test]
fn a_message_of_thousands_of_fragments_arrives_through_five_percent_of_loss() {
    const LENGTH: usize = 5_000_000;
    let limits = Limits {
        frame_bytes_max: 120 << 20,
        message_bytes_max: 120 << 20,
        reassembly_bytes_max: 200 << 20,
        reassembly_bytes_per_peer_max: 200 << 20,
        queue_bytes_max: 200 << 20,
        ..Limits::default()
    };
    let faults = Faults {
        loss_percent: 5,
        ..Faults::TEN_PERCENT
    };
    let mut world = World::new(
        1,
        Plan {
            limits,
            ..Plan::full(faults)
        },
    );
    let to = world.server.address;
    let begin = world.now;
    world
        .client
        .send(begin, to, LENGTH, DeliveryMode::Acknowledged);
    world.run_until_settled();
    let outcomes: Vec<_> = world
        .client
        .sends
        .values()
        .map(|send| send.outcome)
        .collect();
    assert_eq!(outcomes, [Some(Outcome::Delivered)]);
    println!(
        "simulation of {LENGTH} octets: {:?} of virtual time",
        world.now - begin
    );
    world.check();
}

impl Plan {
    fn full(faults: Faults) -> Self {
        let limits = Limits::default();
        Self {
            faults,
            hello: true,
            features: Features::WIDE.with(Features::ECHO),
            limits,
            hostility: 0,
        }
    }
}

impl World {
    fn new(seed: u64, plan: Plan) -> Self {
        let now = testing::epoch();
        let mut client = Party::new(1, endpoint(&plan, Role::Client, seed));
        let server = Party::new(2, endpoint(&plan, Role::Server, seed));
        client
            .endpoint
            .connect(now, server.address)
            .expect("room for one");
        Self {
            rng: Rng::new(seed ^ 0x5eed),
            now,
            link: Link::new(plan.faults, seed),
            client,
            server,
            limits: plan.limits,
            peers_max: 10_000,
            hostility: plan.hostility,
            hostile: payload(66, 3000).into(),
            next_hostile_id: 0,
        }
    }

    /// Some messages in both directions, some while others are on their way.
    fn converse(&mut self) {
        let (client, server) = (self.client.address, self.server.address);
        for _ in 0..1 + self.rng.below(6) {
            let delivery = if self.rng.chance(80) {
                DeliveryMode::Acknowledged
            } else {
                DeliveryMode::Plain
            };
            let length = random_length(&mut self.rng);
            if self.rng.chance(70) {
                self.client.send(self.now, server, length, delivery);
            } else {
                self.server.send(self.now, client, length, delivery);
            }
            for _ in 0..self.rng.below(30) {
                self.step();
            }
        }
        self.run_until_settled();
        self.check();
    }

    fn close(&mut self) {
        let server = self.server.address;
        self.client
            .endpoint
            .close(self.now, server, CloseReason::Requested);
        let until = self.now + LONGEST;
        while self.client.n_closed == 0 {
            assert!(self.step() && self.now < until, "the client does not close");
        }
        self.check();
    }

    fn run_until_settled(&mut self) {
        let until = self.now + LONGEST;
        loop {
            let is_settled = self.client.is_settled() && self.server.is_settled();
            // What is still on the way may be a repetition, which must not arrive.
            if is_settled && self.link.next_arrival().is_none() {
                return;
            }
            assert!(self.step() && self.now < until, "some sends never end");
        }
    }

    /// Goes on to whatever happens next; false when nothing will.
    fn step(&mut self) -> bool {
        self.flush();
        let timeouts = [&self.client, &self.server].map(|party| party.endpoint.poll_timeout());
        let timeouts = timeouts.into_iter().flatten().map(|(at, _)| at);
        let Some(next) = timeouts.chain(self.link.next_arrival()).min() else {
            return false;
        };
        self.now = self.now.max(next);
        self.harass();
        while let Some(Datagram { from, to, octets }) = self.link.receive(self.now) {
            for party in [&mut self.client, &mut self.server] {
                if party.address == to {
                    party
                        .endpoint
                        .handle_datagram(self.now, from, None, octets.clone());
                    party.drain(self.now);
                }
            }
        }
        for party in [&mut self.client, &mut self.server] {
            if party
                .endpoint
                .poll_timeout()
                .is_some_and(|(at, _)| at <= self.now)
            {
                party.endpoint.handle_timeout(self.now);
                let next = party.endpoint.poll_timeout();
                assert!(
                    next.is_none_or(|(at, _)| at > self.now),
                    "{next:?} is still due"
                );
            }
        }
        self.flush();
        self.check_bounds();
        true
    }

    fn flush(&mut self) {
        for party in [&mut self.client, &mut self.server] {
            loop {
                party.drain(self.now);
                let Some(Transmit { to, octets, .. }) = party.endpoint.poll_transmit() else {
                    break;
                };
                assert!(
                    octets.len() <= 1200,
                    "datagram of {} octets: {:?}",
                    octets.len(),
                    Frame::decode_datagram(octets, 9999)
                );
                self.link.send(
                    self.now,
                    Datagram {
                        from: party.address,
                        to,
                        octets,
                    },
                );
            }
        }
    }

    /// The third peer begins messages that it never completes.
    fn harass(&mut self) {
        let from = "10.0.0.66:66".parse().expect("an address");
        for _ in 0..self.hostility {
            self.next_hostile_id += 1;
            let mut frame = Frame::data(Default::default(), self.hostile.clone());
            if self.rng.chance(50) {
                frame.flags = Flags::REQ_ACK;
                frame
                    .headers
                    .push("msg-id", self.next_hostile_id.to_string())
                    .expect("short");
            }
            let split =
                Split::new(frame, self.next_hostile_id, Numbering::Base, 1200).expect("fits");
            let mut octets = bytes::BytesMut::new();
            let index = u32::try_from(self.rng.below(2)).expect("small");
            split.encode(index, &mut octets).expect("fits");
            self.server
                .endpoint
                .handle_datagram(self.now, from, None, octets.freeze());
        }
    }

    fn check_bounds(&self) {
        for party in [&self.client, &self.server] {
            let stats = party.endpoint.stats();
            assert!(
                stats.reassembly_open <= self.limits.reassembly_sessions_max,
                "{stats:?}"
            );
            assert!(
                stats.reassembly_bytes <= self.limits.reassembly_bytes_max,
                "{stats:?}"
            );
            assert!(stats.peers <= self.peers_max, "{stats:?}");
        }
    }

    fn check(&self) {
        for (sender, receiver) in [(&self.client, &self.server), (&self.server, &self.client)] {
            for (id, send) in &sender.sends {
                let arrived = receiver.arrived.get(&send.tag).copied().unwrap_or(0);
                let expected = match send.outcome {
                    Some(Outcome::Delivered) => 1..=1,
                    Some(Outcome::Undelivered) | None => 0..=1,
                };
                assert!(
                    expected.contains(&arrived),
                    "{id:?} {send:?} arrived {arrived} times"
                );
            }
        }
    }
}

fn endpoint(plan: &Plan, role: Role, seed: u64) -> Endpoint {
    let session = SessionConfig {
        hello: plan.hello,
        features: plan.features,
        limits: plan.limits.clone(),
        link: LinkKind::Datagram,
        ..SessionConfig::default()
    };
    let config = EndpointConfig {
        session: Arc::new(session),
        ..EndpointConfig::default()
    };
    let mut rng = Rng::new(seed.wrapping_mul(2) + u64::from(role == Role::Client));
    Endpoint::new(config, role, move || SessionId(rng.next_u64().into()))
}
