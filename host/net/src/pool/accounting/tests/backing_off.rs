//! Claims about addresses that fail.

use super::*;
use crate::pool::host::Counts;

fn down(refusal: Refusal) -> (String, u32, Duration) {
    match refusal {
        Refusal::Down {
            reason,
            n_failures,
            retry_in,
        } => (reason.to_string(), n_failures, retry_in),
        other @ (Refusal::Closed
        | Refusal::Full { .. }
        | Refusal::TimedOut { .. }
        | Refusal::Deadline { .. }) => panic!("{other:?}"),
    }
}

#[test]
fn a_failure_refuses_those_who_wait_and_those_who_come() {
    let mut fixture = Fixture::new(config());
    let host = fixture.host();
    let tickets = [fixture.wait(host), fixture.wait(host)];
    fixture.fail();
    let refused: Vec<_> = fixture.refused.iter().map(|(ticket, _)| *ticket).collect();
    assert_eq!(refused, tickets);
    fixture.now += ms(30);
    let refusal = fixture.refuse(host);
    assert_eq!(down(refusal), ("refused".to_owned(), 1, ms(70)));
    assert_eq!(fixture.connecting.len(), 0);
}

#[test]
fn the_address_is_tried_again_at_the_end_of_the_pause_and_no_call_waits_for_it() {
    let mut fixture = Fixture::new(config());
    let host = fixture.host();
    fixture.wait(host);
    fixture.fail();
    assert_eq!(
        fixture.accounting.poll_timeout(fixture.now),
        Some(fixture.now + ms(100))
    );
    fixture.pass(ms(99));
    assert_eq!(fixture.connecting.len(), 0);
    fixture.pass(ms(1));
    assert_eq!(fixture.connecting.len(), 1);
    let refusal = fixture.refuse(host);
    assert_eq!(down(refusal).2, Duration::ZERO);
    fixture.connect();
    fixture.take(host);
}

#[test]
fn a_call_that_comes_when_the_attempt_is_due_begins_it_and_does_not_wait() {
    let mut fixture = Fixture::new(config());
    let host = fixture.host();
    fixture.wait(host);
    fixture.fail();
    fixture.now += ms(100);
    let refusal = fixture.refuse(host);
    assert_eq!(down(refusal).2, Duration::ZERO);
    assert_eq!(fixture.connecting.len(), 1);
}

#[test]
fn failures_are_counted_until_an_answer_comes() {
    let mut fixture = Fixture::new(config());
    let host = fixture.host();
    fixture.wait(host);
    for n_failures in 1..=5 {
        fixture.fail();
        let refusal = fixture.refuse(host);
        assert_eq!(down(refusal).1, n_failures);
        // Chance is 0 here, so the pause is the shortest.
        fixture.pass(ms(100));
    }
    let key = fixture.connect();
    // It connects, takes a call and breaks: of no use.
    assert_eq!(fixture.take(host), key);
    fixture.end(host, key);
    let refusal = fixture.refuse(host);
    assert_eq!(down(refusal).1, 6);
    fixture.pass(ms(100));
    let key = fixture.connect();
    fixture.take(host);
    fixture.finish(host, key);
    fixture.end(host, key);
    // A session that was of use and is lost is no failure: the next call tries at once.
    fixture.wait(host);
    assert_eq!(fixture.connecting.len(), 1);
}

#[test]
fn an_address_that_nobody_calls_is_left_alone() {
    let mut fixture = Fixture::new(config());
    let host = fixture.host();
    fixture.wait(host);
    fixture.fail();
    fixture.now += Duration::from_secs(300);
    assert_eq!(fixture.accounting.poll_timeout(fixture.now), None);
    fixture.pass(Duration::ZERO);
    assert_eq!(fixture.connecting.len(), 0);
    // The call that finds it so waits for the attempt, the others do not.
    fixture.wait(host);
    assert_eq!(fixture.connecting.len(), 1);
    fixture.refuse(host);
}

#[test]
fn warm_sessions_come_back_after_the_pause() {
    let mut fixture = Fixture::new(PoolConfig {
        warm: 1,
        ..config()
    });
    fixture.host();
    fixture.fail();
    fixture.pass(ms(99));
    assert_eq!(fixture.connecting.len(), 0);
    fixture.pass(ms(1));
    fixture.connect();
    fixture.pass(Duration::from_secs(10_000));
    assert_eq!((fixture.connecting.len(), fixture.closing.len()), (0, 0));
}

#[test]
fn while_a_session_is_open_its_calls_go_on() {
    let mut fixture = Fixture::new(config());
    let host = fixture.host();
    let _waiting = [fixture.wait(host), fixture.wait(host), fixture.wait(host)];
    let key = fixture.connect();
    fixture.fail();
    assert_eq!(fixture.refused.len(), 0, "the third waits for the open one");
    fixture.finish(host, key);
    assert_eq!(fixture.granted.len(), 3);
}

#[test]
fn reconnects_are_counted_apart_from_first_sessions() {
    let mut fixture = Fixture::new(config());
    let host = fixture.host();
    fixture.wait(host);
    let key = fixture.connect();
    fixture.finish(host, key);
    fixture.end(host, key);
    fixture.wait(host);
    fixture.connect();
    let counts = fixture.accounting.host(host).expect("held").counts;
    let expected = Counts {
        opened: 2,
        lost: 1,
        reconnects: 1,
        ..Counts::default()
    };
    assert_eq!(counts, expected);
}
