//! Claims about limits, each at its edge and one past it.

use super::*;
use crate::pool::refusal::Shortage;

#[test]
fn a_host_has_as_many_sessions_as_it_may_and_not_one_more() {
    let mut fixture = Fixture::new(PoolConfig {
        waiting_max: 100,
        ..config()
    });
    let host = fixture.host();
    for _ in 0..4 {
        fixture.wait(host);
    }
    assert_eq!(fixture.connecting.len(), 2);
    fixture.wait(host);
    assert_eq!(fixture.connecting.len(), 2, "the fifth call waits");
    fixture.connect();
    fixture.connect();
    assert_eq!((fixture.granted.len(), fixture.connecting.len()), (4, 0));
}

#[test]
fn sessions_being_closed_count_until_they_are_over() {
    let mut fixture = Fixture::new(PoolConfig {
        connections_per_host_max: 1,
        ..config()
    });
    let host = fixture.host();
    fixture.wait(host);
    let key = fixture.connect();
    fixture.finish(host, key);
    fixture.pass(Duration::from_secs(300));
    fixture.wait(host);
    assert_eq!(fixture.connecting.len(), 0);
    fixture.end(host, key);
    assert_eq!(fixture.connecting.len(), 1);
}

#[test]
fn all_hosts_together_have_as_many_sessions_as_they_may_and_not_one_more() {
    let mut fixture = Fixture::new(PoolConfig {
        calls_per_session_max: 1,
        ..config()
    });
    let hosts = [fixture.host(), fixture.host(), fixture.host()];
    for host in [hosts[0], hosts[0], hosts[1], hosts[2]] {
        fixture.wait(host);
        fixture.connect();
    }
    assert_eq!(fixture.accounting.n_sessions(), 4);
    fixture.wait(hosts[1]);
    assert_eq!(
        (fixture.connecting.len(), fixture.accounting.n_sessions()),
        (0, 4)
    );
}

#[test]
fn as_many_wait_as_may_and_the_next_is_refused() {
    let mut fixture = Fixture::new(config());
    let host = fixture.host();
    for _ in 0..3 {
        fixture.wait(host);
    }
    assert_eq!(fixture.refuse(host), Refusal::Full { limit: 3 });
    // The row of another host is its own.
    let other = fixture.host();
    fixture.wait(other);
}

#[test]
fn the_session_idle_longest_makes_room_for_another_host() {
    let mut fixture = Fixture::new(config());
    let hosts = [
        fixture.host(),
        fixture.host(),
        fixture.host(),
        fixture.host(),
    ];
    let keys = hosts.map(|host| {
        fixture.wait(host);
        fixture.connect()
    });
    for host_idx in [2, 0, 3] {
        fixture.now += ms(1);
        fixture.finish(hosts[host_idx], keys[host_idx]);
    }
    let fifth = fixture.host();
    fixture.tickets_granted();
    let waits = fixture.wait(fifth);
    assert_eq!(fixture.closing, [keys[2].0]);
    fixture.wait(fifth);
    assert_eq!(fixture.closing.len(), 1, "one is enough for two calls");
    fixture.end(hosts[2], keys[2]);
    fixture.connect();
    assert_eq!(fixture.tickets_granted()[0], waits);
    assert_eq!(fixture.accounting.n_sessions(), 4);
}

#[test]
fn a_host_without_a_session_gets_one_of_the_host_that_has_most() {
    let mut fixture = Fixture::new(PoolConfig {
        connections_per_host_max: 4,
        ..config()
    });
    let (rich, poor) = (fixture.host(), fixture.host());
    let mut keys = Vec::new();
    for _ in 0..4 {
        fixture.wait(rich);
        keys.push(fixture.connect());
        fixture.take(rich);
    }
    fixture.tickets_granted();
    let older = fixture.wait(rich);
    fixture.wait(poor);
    assert_eq!(fixture.closing, [keys[0].0]);
    // It takes no more calls, and is over when its last is done.
    fixture.finish(rich, keys[0]);
    fixture.finish(rich, keys[0]);
    assert_eq!(fixture.granted.len(), 0);
    fixture.end(rich, keys[0]);
    // Not back to the rich one, though it waits longer.
    let connecting: Vec<_> = fixture.connecting.iter().map(|(id, _)| *id).collect();
    assert_eq!(connecting, [poor]);
    fixture.finish(rich, keys[1]);
    assert_eq!(fixture.tickets_granted(), [older]);
}

#[test]
fn room_goes_to_whoever_waits_longest_on_any_host() {
    let mut fixture = Fixture::new(PoolConfig {
        connections_max: 2,
        connections_per_host_max: 1,
        calls_per_session_max: 1,
        ..config()
    });
    let hosts = [
        fixture.host(),
        fixture.host(),
        fixture.host(),
        fixture.host(),
    ];
    let keys = [hosts[0], hosts[1]].map(|host| {
        fixture.wait(host);
        fixture.connect()
    });
    fixture.wait(hosts[3]);
    fixture.wait(hosts[2]);
    fixture.finish(hosts[0], keys[0]);
    fixture.end(hosts[0], keys[0]);
    assert_eq!(fixture.connecting.last().map(|(id, _)| *id), Some(hosts[3]));
    fixture.finish(hosts[1], keys[1]);
    fixture.end(hosts[1], keys[1]);
    assert_eq!(fixture.connecting.last().map(|(id, _)| *id), Some(hosts[2]));
}

#[test]
fn a_base_peer_has_one_call_on_a_session() {
    let mut fixture = Fixture::new(config());
    let host = fixture.host();
    let (first, second) = (fixture.wait(host), fixture.wait(host));
    let (id, key) = fixture.connecting.remove(0);
    fixture
        .accounting
        .on_connected(id, key, key.0, 1, fixture.now);
    fixture.settle();
    assert_eq!(fixture.tickets_granted(), [first]);
    assert_eq!(fixture.connecting.len(), 1, "another one for the second");
    let (id, key) = fixture.connecting.remove(0);
    fixture
        .accounting
        .on_connected(id, key, key.0, 1, fixture.now);
    fixture.settle();
    assert_eq!(fixture.tickets_granted(), [second]);
}

#[test]
fn who_waits_in_vain_is_told_for_what() {
    let mut fixture = Fixture::new(PoolConfig {
        connections_max: 2,
        connections_per_host_max: 1,
        calls_per_session_max: 1,
        ..config()
    });
    let hosts = [fixture.host(), fixture.host(), fixture.host()];
    let first = fixture.wait(hosts[0]);
    assert_eq!(
        fixture.accounting.give_up(hosts[0], first),
        Shortage::Connecting
    );
    fixture.connect();
    fixture.take(hosts[0]);
    let second = fixture.wait(hosts[0]);
    let (limit, n_calls) = (1, 1);
    assert_eq!(
        fixture.accounting.give_up(hosts[0], second),
        Shortage::OfHost { limit, n_calls }
    );
    fixture.wait(hosts[1]);
    fixture.connect();
    let third = fixture.wait(hosts[2]);
    assert_eq!(
        fixture.accounting.give_up(hosts[2], third),
        Shortage::InAll { limit: 2 }
    );
}

#[test]
fn a_session_that_is_greeted_late_takes_what_waits() {
    let mut fixture = Fixture::new(PoolConfig {
        connections_per_host_max: 1,
        ..config()
    });
    let host = fixture.host();
    let (first, second) = (fixture.wait(host), fixture.wait(host));
    let (id, key) = fixture.connecting.remove(0);
    fixture
        .accounting
        .on_connected(id, key, key.0, 1, fixture.now);
    fixture.settle();
    assert_eq!(
        fixture.tickets_granted(),
        [first],
        "a base peer has one call"
    );
    fixture.accounting.on_upgraded(id, key, 2, fixture.now);
    fixture.settle();
    assert_eq!(fixture.tickets_granted(), [second]);
}
