//! Claims about limits, each at its edge and one past it.

use super::*;
use crate::pool::refusal::Shortage;

#[test]
fn a_host_has_as_many_sessions_as_it_may_and_not_one_more() {
    let mut desk = Desk::new(PoolConfig {
        waiting_max: 100,
        ..config()
    });
    let host = desk.host();
    for _ in 0..4 {
        desk.wait(host);
    }
    assert_eq!(desk.connecting.len(), 2);
    desk.wait(host);
    assert_eq!(desk.connecting.len(), 2, "the fifth call waits");
    desk.connect();
    desk.connect();
    assert_eq!((desk.granted.len(), desk.connecting.len()), (4, 0));
}

#[test]
fn sessions_being_closed_count_until_they_are_over() {
    let mut desk = Desk::new(PoolConfig {
        connections_per_host_max: 1,
        ..config()
    });
    let host = desk.host();
    desk.wait(host);
    let key = desk.connect();
    desk.finish(host, key);
    desk.pass(Duration::from_secs(300));
    desk.wait(host);
    assert_eq!(desk.connecting.len(), 0);
    desk.end(host, key);
    assert_eq!(desk.connecting.len(), 1);
}

#[test]
fn all_hosts_together_have_as_many_sessions_as_they_may_and_not_one_more() {
    let mut desk = Desk::new(PoolConfig {
        calls_per_session_max: 1,
        ..config()
    });
    let hosts = [desk.host(), desk.host(), desk.host()];
    for host in [hosts[0], hosts[0], hosts[1], hosts[2]] {
        desk.wait(host);
        desk.connect();
    }
    assert_eq!(desk.ledger.n_sessions(), 4);
    desk.wait(hosts[1]);
    assert_eq!((desk.connecting.len(), desk.ledger.n_sessions()), (0, 4));
}

#[test]
fn as_many_wait_as_may_and_the_next_is_refused() {
    let mut desk = Desk::new(config());
    let host = desk.host();
    for _ in 0..3 {
        desk.wait(host);
    }
    assert_eq!(desk.refuse(host), Refusal::Full { limit: 3 });
    // The row of another host is its own.
    let other = desk.host();
    desk.wait(other);
}

#[test]
fn the_session_idle_longest_makes_room_for_another_host() {
    let mut desk = Desk::new(config());
    let hosts = [desk.host(), desk.host(), desk.host(), desk.host()];
    let keys = hosts.map(|host| {
        desk.wait(host);
        desk.connect()
    });
    for host_idx in [2, 0, 3] {
        desk.now += ms(1);
        desk.finish(hosts[host_idx], keys[host_idx]);
    }
    let fifth = desk.host();
    desk.tickets_granted();
    let waits = desk.wait(fifth);
    assert_eq!(desk.closing, [keys[2].0]);
    desk.wait(fifth);
    assert_eq!(desk.closing.len(), 1, "one is enough for two calls");
    desk.end(hosts[2], keys[2]);
    desk.connect();
    assert_eq!(desk.tickets_granted()[0], waits);
    assert_eq!(desk.ledger.n_sessions(), 4);
}

#[test]
fn a_host_without_a_session_gets_one_of_the_host_that_has_most() {
    let mut desk = Desk::new(PoolConfig {
        connections_per_host_max: 4,
        ..config()
    });
    let (rich, poor) = (desk.host(), desk.host());
    let mut keys = Vec::new();
    for _ in 0..4 {
        desk.wait(rich);
        keys.push(desk.connect());
        desk.take(rich);
    }
    desk.tickets_granted();
    let older = desk.wait(rich);
    desk.wait(poor);
    assert_eq!(desk.closing, [keys[0].0]);
    // It takes no more calls, and is over when its last is done.
    desk.finish(rich, keys[0]);
    desk.finish(rich, keys[0]);
    assert_eq!(desk.granted.len(), 0);
    desk.end(rich, keys[0]);
    // Not back to the rich one, though it waits longer.
    let connecting: Vec<_> = desk.connecting.iter().map(|(id, _)| *id).collect();
    assert_eq!(connecting, [poor]);
    desk.finish(rich, keys[1]);
    assert_eq!(desk.tickets_granted(), [older]);
}

#[test]
fn room_goes_to_whoever_waits_longest_on_any_host() {
    let mut desk = Desk::new(PoolConfig {
        connections_max: 2,
        connections_per_host_max: 1,
        calls_per_session_max: 1,
        ..config()
    });
    let hosts = [desk.host(), desk.host(), desk.host(), desk.host()];
    let keys = [hosts[0], hosts[1]].map(|host| {
        desk.wait(host);
        desk.connect()
    });
    desk.wait(hosts[3]);
    desk.wait(hosts[2]);
    desk.finish(hosts[0], keys[0]);
    desk.end(hosts[0], keys[0]);
    assert_eq!(desk.connecting.last().map(|(id, _)| *id), Some(hosts[3]));
    desk.finish(hosts[1], keys[1]);
    desk.end(hosts[1], keys[1]);
    assert_eq!(desk.connecting.last().map(|(id, _)| *id), Some(hosts[2]));
}

#[test]
fn a_base_peer_has_one_call_on_a_session() {
    let mut desk = Desk::new(config());
    let host = desk.host();
    let (first, second) = (desk.wait(host), desk.wait(host));
    let (id, key) = desk.connecting.remove(0);
    desk.ledger.on_connected(id, key, key.0, 1, desk.now);
    desk.settle();
    assert_eq!(desk.tickets_granted(), [first]);
    assert_eq!(desk.connecting.len(), 1, "another one for the second");
    let (id, key) = desk.connecting.remove(0);
    desk.ledger.on_connected(id, key, key.0, 1, desk.now);
    desk.settle();
    assert_eq!(desk.tickets_granted(), [second]);
}

#[test]
fn who_waits_in_vain_is_told_for_what() {
    let mut desk = Desk::new(PoolConfig {
        connections_max: 2,
        connections_per_host_max: 1,
        calls_per_session_max: 1,
        ..config()
    });
    let hosts = [desk.host(), desk.host(), desk.host()];
    let first = desk.wait(hosts[0]);
    assert_eq!(desk.ledger.give_up(hosts[0], first), Shortage::Connecting);
    desk.connect();
    desk.take(hosts[0]);
    let second = desk.wait(hosts[0]);
    let (limit, n_calls) = (1, 1);
    assert_eq!(
        desk.ledger.give_up(hosts[0], second),
        Shortage::OfHost { limit, n_calls }
    );
    desk.wait(hosts[1]);
    desk.connect();
    let third = desk.wait(hosts[2]);
    assert_eq!(
        desk.ledger.give_up(hosts[2], third),
        Shortage::InAll { limit: 2 }
    );
}

#[test]
fn a_session_that_is_greeted_late_takes_what_waits() {
    let mut desk = Desk::new(PoolConfig {
        connections_per_host_max: 1,
        ..config()
    });
    let host = desk.host();
    let (first, second) = (desk.wait(host), desk.wait(host));
    let (id, key) = desk.connecting.remove(0);
    desk.ledger.on_connected(id, key, key.0, 1, desk.now);
    desk.settle();
    assert_eq!(desk.tickets_granted(), [first], "a base peer has one call");
    desk.ledger.on_upgraded(id, key, 2, desk.now);
    desk.settle();
    assert_eq!(desk.tickets_granted(), [second]);
}
