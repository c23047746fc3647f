//! Claims about who gets a session. Sessions are numbers, time and chance are the test's.

use std::{collections::BTreeSet, time::Duration};

use postern_core::testing::{Rng, epoch};

use super::*;

mod backing_off;
mod limits;
mod properties;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A ledger with the world around it: what is to be opened or closed stays until a test does it.
struct Desk {
    ledger: Ledger<u64>,
    now: Instant,
    /// Attempts under way.
    connecting: Vec<(HostId, SessionKey)>,
    /// Sessions to be closed, by their keys.
    closing: Vec<u64>,
    granted: Vec<(Ticket, HostId, SessionKey)>,
    refused: Vec<(Ticket, Refusal)>,
}

fn config() -> PoolConfig {
    PoolConfig {
        connections_max: 4,
        connections_per_host_max: 2,
        calls_per_session_max: 2,
        waiting_max: 3,
        ..PoolConfig::default()
    }
}

impl Desk {
    fn new(config: PoolConfig) -> Self {
        Self {
            ledger: Ledger::new(config),
            now: epoch(),
            connecting: Vec::new(),
            closing: Vec::new(),
            granted: Vec::new(),
            refused: Vec::new(),
        }
    }

    fn host(&mut self) -> HostId {
        let id = self.ledger.add();
        self.ledger.hold(id, self.now);
        self.settle();
        id
    }

    fn settle(&mut self) {
        for step in self.ledger.take_steps() {
            match step {
                Step::Connect(id, key) => self.connecting.push((id, key)),
                Step::Grant(ticket, id, key, session) => {
                    assert_eq!(session, key.0);
                    self.granted.push((ticket, id, key));
                }
                Step::Refuse(ticket, refusal) => self.refused.push((ticket, refusal)),
                Step::Close(session) => self.closing.push(session),
            }
        }
    }

    fn admit(&mut self, id: HostId) -> Admission<u64> {
        let admission = self.ledger.admit(id, self.now);
        self.settle();
        admission
    }

    /// A call that must wait.
    fn wait(&mut self, id: HostId) -> Ticket {
        match self.admit(id) {
            Admission::Waits(ticket) => ticket,
            other @ (Admission::Granted(..) | Admission::Refused(_)) => panic!("{other:?}"),
        }
    }

    /// A call that has a session at once.
    fn take(&mut self, id: HostId) -> SessionKey {
        match self.admit(id) {
            Admission::Granted(key, _) => key,
            other @ (Admission::Waits(_) | Admission::Refused(_)) => panic!("{other:?}"),
        }
    }

    /// A call that is refused at once.
    fn refuse(&mut self, id: HostId) -> Refusal {
        match self.admit(id) {
            Admission::Refused(refusal) => refusal,
            other @ (Admission::Granted(..) | Admission::Waits(_)) => panic!("{other:?}"),
        }
    }

    /// The oldest attempt succeeds.
    fn connect(&mut self) -> SessionKey {
        let (id, key) = self.connecting.remove(0);
        let n_calls_max = self.ledger.config.calls_per_session_max;
        self.ledger
            .on_connected(id, key, key.0, n_calls_max, self.now);
        self.settle();
        key
    }

    /// The oldest attempt fails.
    fn fail(&mut self) {
        let (id, key) = self.connecting.remove(0);
        self.ledger
            .on_connect_failed(id, key, "refused".into(), self.now, 0);
        self.settle();
    }

    fn finish(&mut self, id: HostId, key: SessionKey) {
        self.ledger.finish(id, key, Answered::Yes, self.now);
        self.settle();
    }

    /// A session is over.
    fn end(&mut self, id: HostId, key: SessionKey) {
        self.closing.retain(|session| *session != key.0);
        self.ledger.on_ended(id, key, "cut".into(), self.now, 0);
        self.settle();
    }

    /// Time passes, and what is due is done.
    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.ledger.handle_timeout(self.now);
        self.settle();
    }

    fn tickets_granted(&mut self) -> Vec<Ticket> {
        let granted = std::mem::take(&mut self.granted);
        granted.into_iter().map(|(ticket, _, _)| ticket).collect()
    }
}

#[test]
fn the_first_call_opens_a_session_and_the_next_share_it() {
    let mut desk = Desk::new(config());
    let host = desk.host();
    assert_eq!(desk.connecting.len(), 0);
    let first = desk.wait(host);
    let second = desk.wait(host);
    assert_eq!(desk.connecting.len(), 1, "two calls fit on one session");
    desk.connect();
    assert_eq!(desk.tickets_granted(), [first, second]);
}

#[test]
fn a_call_goes_to_the_least_busy_session() {
    let mut desk = Desk::new(config());
    let host = desk.host();
    let _waiting = [desk.wait(host), desk.wait(host), desk.wait(host)];
    let (one, two) = (desk.connect(), desk.connect());
    let on = |desk: &Desk, key| desk.granted.iter().filter(|(_, _, on)| *on == key).count();
    assert_eq!((on(&desk, one), on(&desk, two)), (2, 1));
    assert_eq!(desk.take(host), two);
    desk.finish(host, one);
    desk.finish(host, one);
    desk.finish(host, two);
    assert_eq!(desk.take(host), one);
}

#[test]
fn those_who_wait_are_served_in_order_and_nobody_overtakes() {
    let mut desk = Desk::new(PoolConfig {
        connections_per_host_max: 1,
        calls_per_session_max: 1,
        ..config()
    });
    let host = desk.host();
    let first = desk.wait(host);
    let key = desk.connect();
    assert_eq!(desk.tickets_granted(), [first]);
    let row = [desk.wait(host), desk.wait(host), desk.wait(host)];
    for (served, ticket) in row.into_iter().enumerate() {
        desk.finish(host, key);
        assert_eq!(desk.tickets_granted(), [ticket]);
        if served < 2 {
            // Room went to the row: a newcomer stands at its end.
            let newcomer = desk.wait(host);
            desk.ledger.abandon(host, newcomer);
        }
    }
}

#[test]
fn a_place_that_is_given_up_goes_to_the_next() {
    let mut desk = Desk::new(PoolConfig {
        connections_per_host_max: 1,
        calls_per_session_max: 1,
        ..config()
    });
    let host = desk.host();
    desk.wait(host);
    let key = desk.connect();
    desk.tickets_granted();
    let (gone, next) = (desk.wait(host), desk.wait(host));
    desk.ledger.abandon(host, gone);
    desk.finish(host, key);
    assert_eq!(desk.tickets_granted(), [next]);
}

#[test]
fn idle_sessions_are_closed_at_their_time_and_warm_ones_kept() {
    let mut desk = Desk::new(PoolConfig {
        warm: 1,
        calls_per_session_max: 1,
        ..config()
    });
    let host = desk.host();
    assert_eq!(desk.connecting.len(), 1, "one is opened ahead");
    let (first, second) = (desk.connect(), {
        desk.take(host);
        desk.wait(host);
        desk.connect()
    });
    desk.finish(host, first);
    desk.now += ms(1);
    desk.finish(host, second);
    let due = desk.ledger.poll_timeout(desk.now).expect("idle");
    assert_eq!(due, epoch() + Duration::from_secs(300));
    desk.now = due - ms(1);
    desk.pass(Duration::ZERO);
    assert_eq!(desk.closing, [0_u64; 0]);
    desk.pass(ms(1));
    assert_eq!(desk.closing, [first.0]);
    desk.end(host, first);
    desk.pass(Duration::from_secs(1000));
    assert_eq!((desk.closing.len(), desk.connecting.len()), (0, 0));
    assert_eq!(desk.take(host), second);
}

#[test]
fn a_session_is_busy_until_its_last_call_is_done() {
    let mut desk = Desk::new(config());
    let host = desk.host();
    let _waiting = [desk.wait(host), desk.wait(host)];
    let key = desk.connect();
    desk.finish(host, key);
    desk.pass(Duration::from_secs(1000));
    assert_eq!(desk.closing, [0_u64; 0]);
    desk.finish(host, key);
    desk.pass(Duration::from_secs(300));
    assert_eq!(desk.closing, [key.0]);
}

#[test]
fn closing_finishes_those_who_wait_and_takes_nobody_new() {
    let mut desk = Desk::new(PoolConfig {
        connections_per_host_max: 1,
        calls_per_session_max: 1,
        ..config()
    });
    let (busy, idle) = (desk.host(), desk.host());
    desk.wait(idle);
    let idle_key = desk.connect();
    desk.finish(idle, idle_key);
    desk.wait(busy);
    let key = desk.connect();
    let waits = desk.wait(busy);
    desk.tickets_granted();
    desk.ledger.close();
    desk.settle();
    assert_eq!(desk.closing, [idle_key.0]);
    assert_eq!(desk.refuse(busy), Refusal::Closed);
    desk.finish(busy, key);
    assert_eq!(desk.tickets_granted(), [waits]);
    desk.end(idle, idle_key);
    assert!(!desk.ledger.is_closed());
    desk.finish(busy, key);
    assert_eq!(desk.closing, [key.0]);
    desk.end(busy, key);
    assert!(desk.ledger.is_closed());
}

#[test]
fn a_host_that_nobody_holds_is_closed_and_forgotten() {
    let mut desk = Desk::new(config());
    let host = desk.host();
    desk.wait(host);
    let key = desk.connect();
    desk.ledger.release(host);
    desk.settle();
    assert!(!desk.ledger.forget(host), "a call is under way");
    desk.finish(host, key);
    assert_eq!(desk.closing, [key.0]);
    desk.end(host, key);
    assert!(desk.ledger.forget(host));
    assert_eq!(desk.refuse(host), Refusal::Closed);
}
