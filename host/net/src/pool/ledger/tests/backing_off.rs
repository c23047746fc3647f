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
    let mut desk = Desk::new(config());
    let host = desk.host();
    let tickets = [desk.wait(host), desk.wait(host)];
    desk.fail();
    let refused: Vec<_> = desk.refused.iter().map(|(ticket, _)| *ticket).collect();
    assert_eq!(refused, tickets);
    desk.now += ms(30);
    let refusal = desk.refuse(host);
    assert_eq!(down(refusal), ("refused".to_owned(), 1, ms(70)));
    assert_eq!(desk.connecting.len(), 0);
}

#[test]
fn the_address_is_tried_again_at_the_end_of_the_pause_and_no_call_waits_for_it() {
    let mut desk = Desk::new(config());
    let host = desk.host();
    desk.wait(host);
    desk.fail();
    assert_eq!(desk.ledger.poll_timeout(desk.now), Some(desk.now + ms(100)));
    desk.pass(ms(99));
    assert_eq!(desk.connecting.len(), 0);
    desk.pass(ms(1));
    assert_eq!(desk.connecting.len(), 1);
    let refusal = desk.refuse(host);
    assert_eq!(down(refusal).2, Duration::ZERO);
    desk.connect();
    desk.take(host);
}

#[test]
fn a_call_that_comes_when_the_attempt_is_due_begins_it_and_does_not_wait() {
    let mut desk = Desk::new(config());
    let host = desk.host();
    desk.wait(host);
    desk.fail();
    desk.now += ms(100);
    let refusal = desk.refuse(host);
    assert_eq!(down(refusal).2, Duration::ZERO);
    assert_eq!(desk.connecting.len(), 1);
}

#[test]
fn failures_are_counted_until_an_answer_comes() {
    let mut desk = Desk::new(config());
    let host = desk.host();
    desk.wait(host);
    for n_failures in 1..=5 {
        desk.fail();
        let refusal = desk.refuse(host);
        assert_eq!(down(refusal).1, n_failures);
        // Chance is 0 here, so the pause is the shortest.
        desk.pass(ms(100));
    }
    let key = desk.connect();
    // It connects, takes a call and breaks: of no use.
    assert_eq!(desk.take(host), key);
    desk.end(host, key);
    let refusal = desk.refuse(host);
    assert_eq!(down(refusal).1, 6);
    desk.pass(ms(100));
    let key = desk.connect();
    desk.take(host);
    desk.finish(host, key);
    desk.end(host, key);
    // A session that was of use and is lost is no failure: the next call tries at once.
    desk.wait(host);
    assert_eq!(desk.connecting.len(), 1);
}

#[test]
fn an_address_that_nobody_calls_is_left_alone() {
    let mut desk = Desk::new(config());
    let host = desk.host();
    desk.wait(host);
    desk.fail();
    desk.now += Duration::from_secs(300);
    assert_eq!(desk.ledger.poll_timeout(desk.now), None);
    desk.pass(Duration::ZERO);
    assert_eq!(desk.connecting.len(), 0);
    // The call that finds it so waits for the attempt, the others do not.
    desk.wait(host);
    assert_eq!(desk.connecting.len(), 1);
    desk.refuse(host);
}

#[test]
fn warm_sessions_come_back_after_the_pause() {
    let mut desk = Desk::new(PoolConfig {
        warm: 1,
        ..config()
    });
    desk.host();
    desk.fail();
    desk.pass(ms(99));
    assert_eq!(desk.connecting.len(), 0);
    desk.pass(ms(1));
    desk.connect();
    desk.pass(Duration::from_secs(10_000));
    assert_eq!((desk.connecting.len(), desk.closing.len()), (0, 0));
}

#[test]
fn while_a_session_is_open_its_calls_go_on() {
    let mut desk = Desk::new(config());
    let host = desk.host();
    let _waiting = [desk.wait(host), desk.wait(host), desk.wait(host)];
    let key = desk.connect();
    desk.fail();
    assert_eq!(desk.refused.len(), 0, "the third waits for the open one");
    desk.finish(host, key);
    assert_eq!(desk.granted.len(), 3);
}

#[test]
fn reconnects_are_counted_apart_from_first_sessions() {
    let mut desk = Desk::new(config());
    let host = desk.host();
    desk.wait(host);
    let key = desk.connect();
    desk.finish(host, key);
    desk.end(host, key);
    desk.wait(host);
    desk.connect();
    let counts = desk.ledger.host(host).expect("held").counts;
    let expected = Counts {
        opened: 2,
        lost: 1,
        reconnects: 1,
        ..Counts::default()
    };
    assert_eq!(counts, expected);
}
