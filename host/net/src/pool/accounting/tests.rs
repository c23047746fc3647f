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

/// The accounting with the world around it: what is to be opened or closed stays until a test does it.
struct Fixture {
    accounting: Accounting<u64>,
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

impl Fixture {
    fn new(config: PoolConfig) -> Self {
        Self {
            accounting: Accounting::new(config),
            now: epoch(),
            connecting: Vec::new(),
            closing: Vec::new(),
            granted: Vec::new(),
            refused: Vec::new(),
        }
    }

    fn host(&mut self) -> HostId {
        let id = self.accounting.add();
        self.accounting.hold(id, self.now);
        self.settle();
        id
    }

    fn settle(&mut self) {
        for step in self.accounting.take_steps() {
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
        let admission = self.accounting.admit(id, self.now);
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
        let n_calls_max = self.accounting.config.calls_per_session_max;
        self.accounting
            .on_connected(id, key, key.0, n_calls_max, self.now);
        self.settle();
        key
    }

    /// The oldest attempt fails.
    fn fail(&mut self) {
        let (id, key) = self.connecting.remove(0);
        self.accounting
            .on_connect_failed(id, key, "refused".into(), self.now, 0);
        self.settle();
    }

    fn finish(&mut self, id: HostId, key: SessionKey) {
        self.accounting.finish(id, key, Answered::Yes, self.now);
        self.settle();
    }

    /// A session is over.
    fn end(&mut self, id: HostId, key: SessionKey) {
        self.closing.retain(|session| *session != key.0);
        self.accounting.on_ended(id, key, "cut".into(), self.now, 0);
        self.settle();
    }

    /// Time passes, and what is due is done.
    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.accounting.handle_timeout(self.now);
        self.settle();
    }

    fn tickets_granted(&mut self) -> Vec<Ticket> {
        let granted = std::mem::take(&mut self.granted);
        granted.into_iter().map(|(ticket, _, _)| ticket).collect()
    }
}

#[test]
fn the_first_call_opens_a_session_and_the_next_share_it() {
    let mut fixture = Fixture::new(config());
    let host = fixture.host();
    assert_eq!(fixture.connecting.len(), 0);
    let first = fixture.wait(host);
    let second = fixture.wait(host);
    assert_eq!(fixture.connecting.len(), 1, "two calls fit on one session");
    fixture.connect();
    assert_eq!(fixture.tickets_granted(), [first, second]);
}

#[test]
fn a_call_goes_to_the_least_busy_session() {
    let mut fixture = Fixture::new(config());
    let host = fixture.host();
    let _waiting = [fixture.wait(host), fixture.wait(host), fixture.wait(host)];
    let (one, two) = (fixture.connect(), fixture.connect());
    let on = |fixture: &Fixture, key| {
        fixture
            .granted
            .iter()
            .filter(|(_, _, on)| *on == key)
            .count()
    };
    assert_eq!((on(&fixture, one), on(&fixture, two)), (2, 1));
    assert_eq!(fixture.take(host), two);
    fixture.finish(host, one);
    fixture.finish(host, one);
    fixture.finish(host, two);
    assert_eq!(fixture.take(host), one);
}

#[test]
fn those_who_wait_are_served_in_order_and_nobody_overtakes() {
    let mut fixture = Fixture::new(PoolConfig {
        connections_per_host_max: 1,
        calls_per_session_max: 1,
        ..config()
    });
    let host = fixture.host();
    let first = fixture.wait(host);
    let key = fixture.connect();
    assert_eq!(fixture.tickets_granted(), [first]);
    let row = [fixture.wait(host), fixture.wait(host), fixture.wait(host)];
    for (served, ticket) in row.into_iter().enumerate() {
        fixture.finish(host, key);
        assert_eq!(fixture.tickets_granted(), [ticket]);
        if served < 2 {
            // Room went to the row: a newcomer stands at its end.
            let newcomer = fixture.wait(host);
            fixture.accounting.abandon(host, newcomer);
        }
    }
}

#[test]
fn a_place_that_is_given_up_goes_to_the_next() {
    let mut fixture = Fixture::new(PoolConfig {
        connections_per_host_max: 1,
        calls_per_session_max: 1,
        ..config()
    });
    let host = fixture.host();
    fixture.wait(host);
    let key = fixture.connect();
    fixture.tickets_granted();
    let (gone, next) = (fixture.wait(host), fixture.wait(host));
    fixture.accounting.abandon(host, gone);
    fixture.finish(host, key);
    assert_eq!(fixture.tickets_granted(), [next]);
}

#[test]
fn idle_sessions_are_closed_at_their_time_and_warm_ones_kept() {
    let mut fixture = Fixture::new(PoolConfig {
        warm: 1,
        calls_per_session_max: 1,
        ..config()
    });
    let host = fixture.host();
    assert_eq!(fixture.connecting.len(), 1, "one is opened ahead");
    let (first, second) = (fixture.connect(), {
        fixture.take(host);
        fixture.wait(host);
        fixture.connect()
    });
    fixture.finish(host, first);
    fixture.now += ms(1);
    fixture.finish(host, second);
    let due = fixture.accounting.poll_timeout(fixture.now).expect("idle");
    assert_eq!(due, epoch() + Duration::from_secs(300));
    fixture.now = due - ms(1);
    fixture.pass(Duration::ZERO);
    assert_eq!(fixture.closing, [0_u64; 0]);
    fixture.pass(ms(1));
    assert_eq!(fixture.closing, [first.0]);
    fixture.end(host, first);
    fixture.pass(Duration::from_secs(1000));
    assert_eq!((fixture.closing.len(), fixture.connecting.len()), (0, 0));
    assert_eq!(fixture.take(host), second);
}

#[test]
fn a_session_is_busy_until_its_last_call_is_done() {
    let mut fixture = Fixture::new(config());
    let host = fixture.host();
    let _waiting = [fixture.wait(host), fixture.wait(host)];
    let key = fixture.connect();
    fixture.finish(host, key);
    fixture.pass(Duration::from_secs(1000));
    assert_eq!(fixture.closing, [0_u64; 0]);
    fixture.finish(host, key);
    fixture.pass(Duration::from_secs(300));
    assert_eq!(fixture.closing, [key.0]);
}

#[test]
fn closing_finishes_those_who_wait_and_takes_nobody_new() {
    let mut fixture = Fixture::new(PoolConfig {
        connections_per_host_max: 1,
        calls_per_session_max: 1,
        ..config()
    });
    let (busy, idle) = (fixture.host(), fixture.host());
    fixture.wait(idle);
    let idle_key = fixture.connect();
    fixture.finish(idle, idle_key);
    fixture.wait(busy);
    let key = fixture.connect();
    let waits = fixture.wait(busy);
    fixture.tickets_granted();
    fixture.accounting.close();
    fixture.settle();
    assert_eq!(fixture.closing, [idle_key.0]);
    assert_eq!(fixture.refuse(busy), Refusal::Closed);
    fixture.finish(busy, key);
    assert_eq!(fixture.tickets_granted(), [waits]);
    fixture.end(idle, idle_key);
    assert!(!fixture.accounting.is_closed());
    fixture.finish(busy, key);
    assert_eq!(fixture.closing, [key.0]);
    fixture.end(busy, key);
    assert!(fixture.accounting.is_closed());
}

#[test]
fn a_host_that_nobody_holds_is_closed_and_forgotten() {
    let mut fixture = Fixture::new(config());
    let host = fixture.host();
    fixture.wait(host);
    let key = fixture.connect();
    fixture.accounting.release(host);
    fixture.settle();
    assert!(!fixture.accounting.forget(host), "a call is under way");
    fixture.finish(host, key);
    assert_eq!(fixture.closing, [key.0]);
    fixture.end(host, key);
    assert!(fixture.accounting.forget(host));
    assert_eq!(fixture.refuse(host), Refusal::Closed);
}
