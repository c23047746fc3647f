//! Two ends, frames under way, readers that dawdle: whatever the order of steps, every item arrives
//! once and in order, no end holds more than its window and one item, and every call ends.

use std::collections::BTreeMap;

use super::*;
use crate::testing::Rng;

const N_SEEDS: u64 = 400;
const N_CALLS: usize = 3;
const ITEMS_PER_SIDE: u64 = 40;
const ITEM_BYTES_MAX: usize = 20_000;
const WINDOW_BYTES: u32 = 70_000;

/// One end, and what is under way to it.
struct End {
    mux: Mux,
    inbox: VecDeque<Frame>,
    sides: BTreeMap<Text, Side>,
}

/// What the application of one end has done and seen of a call.
#[derive(Default)]
struct Side {
    n_sent: u64,
    blocked: Option<Bytes>,
    n_blocked: u64,
    /// Items that arrived and were not taken.
    held: VecDeque<Bytes>,
    n_taken: u64,
    /// The peer sends no more.
    peer_done: bool,
    done: bool,
}

#[test]
fn every_item_arrives_once_in_order_and_within_the_window() {
    let mut n_blocked = 0;
    for seed in 0..N_SEEDS {
        let run = std::panic::catch_unwind(|| simulate(seed));
        n_blocked += run.unwrap_or_else(|_| panic!("seed {seed} fails"));
    }
    assert!(n_blocked > N_SEEDS, "credit ran out {n_blocked} times only");
    println!("mux: {N_SEEDS} seeds, credit ran out {n_blocked} times");
}

/// How often a sender was blocked.
fn simulate(seed: u64) -> u64 {
    let mut rng = Rng::new(seed);
    let config = MuxConfig {
        calls_max: N_CALLS,
        window_bytes: WINDOW_BYTES,
    };
    let mut client = End::new(Mux::new(config.clone(), Role::Client));
    let mut server = End::new(Mux::new(config, Role::Server));
    for call in 0..N_CALLS {
        let id = client.mux.open(request(&call.to_string())).expect("room");
        client.sides.insert(id, Side::default());
    }
    for _ in 0..20_000 {
        client.step(&mut rng);
        server.step(&mut rng);
        carry(&mut client, &mut server, &mut rng);
        carry(&mut server, &mut client, &mut rng);
        if client.sides.values().all(|side| side.done) && server.inbox.is_empty() {
            for side in client.sides.values().chain(server.sides.values()) {
                assert_eq!(
                    (side.n_sent, side.n_taken),
                    (ITEMS_PER_SIDE, ITEMS_PER_SIDE)
                );
            }
            assert_eq!((client.mux.n_calls(), server.mux.n_calls()), (0, 0));
            let sides = client.sides.values().chain(server.sides.values());
            return sides.map(|side| side.n_blocked).sum();
        }
    }
    panic!("calls do not end");
}

/// Some of what one end has to say reaches the other.
fn carry(from: &mut End, to: &mut End, rng: &mut Rng) {
    to.inbox
        .extend(std::iter::from_fn(|| from.mux.poll_frame()));
    for _ in 0..rng.below(4) {
        let Some(frame) = to.inbox.pop_front() else {
            return;
        };
        to.mux.handle_frame(frame);
        to.see();
    }
}

impl End {
    fn new(mux: Mux) -> Self {
        Self {
            mux,
            inbox: VecDeque::new(),
            sides: BTreeMap::new(),
        }
    }

    /// The application of each call sends, takes, or does nothing.
    fn step(&mut self, rng: &mut Rng) {
        let role = self.mux.role;
        for (id, side) in &mut self.sides {
            if side.done {
                continue;
            }
            if rng.chance(50) && side.blocked.is_none() && side.n_sent < ITEMS_PER_SIDE {
                let item = item(side.n_sent, rng);
                side.n_sent += 1;
                side.send(&mut self.mux, id, item);
            }
            if rng.chance(30) {
                side.take(&mut self.mux, id);
            }
            if side.peer_done && side.held.is_empty() && (role == Role::Client || side.all_sent()) {
                side.done = true;
                if role == Role::Server {
                    self.mux.finish(id, Ok(None));
                }
            }
        }
    }

    fn see(&mut self) {
        while let Some(event) = self.mux.poll_event() {
            match event {
                MuxEvent::Opened { id, .. } => {
                    self.mux.accept(&id, &ReplyHead::default());
                    self.sides.insert(id, Side::default());
                }
                MuxEvent::Accepted { .. } => {}
                MuxEvent::Item { id, payload } => self.side(&id).hold(payload),
                MuxEvent::Ended { id, .. } => self.side(&id).peer_done = true,
                MuxEvent::Closed { id, outcome } => {
                    assert!(outcome.is_ok(), "{outcome:?}");
                    self.side(&id).peer_done = true;
                }
                MuxEvent::Writable { id } => {
                    let side = self.sides.get_mut(&*id).expect("an open call");
                    let item = side.blocked.take().expect("it was blocked");
                    side.send(&mut self.mux, &id, item);
                }
            }
        }
    }

    fn side(&mut self, id: &str) -> &mut Side {
        self.sides.get_mut(id).expect("an open call")
    }
}

impl Side {
    fn all_sent(&self) -> bool {
        self.n_sent == ITEMS_PER_SIDE && self.blocked.is_none()
    }

    fn send(&mut self, mux: &mut Mux, id: &str, item: Bytes) {
        match mux.item(id, item) {
            Ok(()) => {}
            Err(Refused::Blocked(item)) => {
                self.blocked = Some(item);
                self.n_blocked += 1;
            }
            Err(Refused::Closed) => panic!("an open call"),
        }
        if self.all_sent() && mux.role == Role::Client {
            mux.end(id, None);
        }
    }

    fn hold(&mut self, item: Bytes) {
        self.held.push_back(item);
        let held: usize = self.held.iter().map(|item| item.len() + ITEM_COST).sum();
        let most = WINDOW_BYTES as usize + ITEM_BYTES_MAX + ITEM_COST;
        assert!(held < most, "{held} octets are held");
    }

    fn take(&mut self, mux: &mut Mux, id: &str) {
        let Some(item) = self.held.pop_front() else {
            return;
        };
        assert!(
            item.starts_with(&self.n_taken.to_be_bytes()),
            "out of order"
        );
        self.n_taken += 1;
        mux.consume(id, item.len());
    }
}

/// An item that begins with its number; some are large.
fn item(number: u64, rng: &mut Rng) -> Bytes {
    let length = if rng.chance(12) {
        ITEM_BYTES_MAX as u64
    } else {
        8 + rng.below(3000)
    };
    let mut item = number.to_be_bytes().to_vec();
    item.resize(usize::try_from(length).expect("small"), 0);
    item.into()
}
