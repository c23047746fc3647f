//! Limits at their edges, in virtual time.

use std::collections::BTreeMap;

use postern_core::{Origin, Peer, Principal, Transport, testing::epoch};

use super::*;
use crate::config;

const MS: Duration = Duration::from_millis(1);

fn limits(text: &str) -> RateLimits {
    open(text, None)
}

fn open(text: &str, before: Option<&RateLimits>) -> RateLimits {
    let parsed = config::parse("t", text, &BTreeMap::new());
    let (config, _) = parsed.unwrap_or_else(|faults| panic!("{faults}"));
    RateLimits::open(&config.limits, before, epoch()).expect("opens")
}

fn call(address: &str) -> Call {
    let mut call = Call::unary("users", "Get", "");
    let address = address.parse().expect("an address");
    call.context.peer = Arc::new(Peer::new(Transport::Tcp, Origin::Ip(address)));
    call
}

fn of(name: &str, address: &str) -> Call {
    let mut call = call(address);
    call.context.principal = Some(Arc::new(Principal {
        name: name.into(),
        roles: Vec::new(),
        claims: Vec::new(),
    }));
    call
}

/// How many of 100 calls pass at that moment.
fn passing(limits: &RateLimits, call: &Call, now: Instant) -> usize {
    (0..100)
        .filter(|_| limits.admit(call, Sender::Caller, now).is_ok())
        .count()
}

#[test]
fn the_burst_passes_and_one_more_is_told_when_to_come_again() {
    let limits = limits("[limits.a]\nrate = 10\nburst = 3");
    let (call, now) = (call("10.0.0.1:1"), epoch());
    assert_eq!(passing(&limits, &call, now), 3);
    let error = limits
        .admit(&call, Sender::Caller, now)
        .expect_err("over the limit");
    assert_eq!(error.kind, Kind::ResourceExhausted);
    assert_eq!(error.blame, Blame::Client);
    assert_eq!(error.retry, Retry::After(100 * MS));
    let details = error.details.expect("details");
    assert_eq!(details, "{\"limit\":\"a\",\"retry-after-ms\":100}");
    let just_before = now + 100 * MS - Duration::from_nanos(1);
    assert!(limits.admit(&call, Sender::Caller, just_before).is_err());
    assert!(limits.admit(&call, Sender::Caller, now + 100 * MS).is_ok());
    assert!(limits.admit(&call, Sender::Caller, now + 100 * MS).is_err());
}

#[test]
fn the_burst_is_the_rate_unless_it_is_set() {
    let limits = limits("[limits.a]\nrate = 5\nper = \"1m\"");
    let call = call("10.0.0.1:1");
    assert_eq!(passing(&limits, &call, epoch()), 5);
    assert_eq!(passing(&limits, &call, epoch() + 11_999 * MS), 0);
    assert_eq!(passing(&limits, &call, epoch() + 12_000 * MS), 1);
    assert_eq!(
        passing(&limits, &call, epoch() + Duration::from_secs(600)),
        5
    );
}

#[test]
fn over_a_long_time_the_rate_holds() {
    let limits = limits("[limits.a]\nrate = 50\nburst = 10");
    let call = call("10.0.0.1:1");
    let times = (0..10_000).map(|n| epoch() + n * MS);
    let n_passed = times
        .filter(|now| limits.admit(&call, Sender::Caller, *now).is_ok())
        .count();
    assert!((500..=510).contains(&n_passed), "{n_passed} of 10 s");
}

#[test]
fn addresses_share_by_host_and_ipv6_by_network() {
    let limits = limits("[limits.a]\nrate = 1");
    let now = epoch();
    assert!(
        limits
            .admit(&call("10.0.0.1:1"), Sender::Caller, now)
            .is_ok()
    );
    assert!(
        limits
            .admit(&call("10.0.0.1:2"), Sender::Caller, now)
            .is_err()
    );
    assert!(
        limits
            .admit(&call("[::ffff:10.0.0.1]:3"), Sender::Caller, now)
            .is_err()
    );
    assert!(
        limits
            .admit(&call("10.0.0.2:1"), Sender::Caller, now)
            .is_ok()
    );
    assert!(
        limits
            .admit(&call("[2001:db8:0:1::1]:1"), Sender::Caller, now)
            .is_ok()
    );
    assert!(
        limits
            .admit(&call("[2001:db8:0:1:ffff::2]:1"), Sender::Caller, now)
            .is_err()
    );
    assert!(
        limits
            .admit(&call("[2001:db8:0:2::1]:1"), Sender::Caller, now)
            .is_ok()
    );
}

#[test]
fn callers_share_by_name_and_anonymous_ones_by_address() {
    let limits = limits("[limits.a]\nrate = 1\nby = \"principal\"");
    let now = epoch();
    assert!(
        limits
            .admit(&of("ann", "10.0.0.1:1"), Sender::Caller, now)
            .is_ok()
    );
    assert!(
        limits
            .admit(&of("ann", "10.0.0.2:1"), Sender::Caller, now)
            .is_err()
    );
    assert!(
        limits
            .admit(&of("bob", "10.0.0.1:1"), Sender::Caller, now)
            .is_ok()
    );
    assert!(
        limits
            .admit(&call("10.0.0.1:1"), Sender::Caller, now)
            .is_ok()
    );
    assert!(
        limits
            .admit(&call("10.0.0.1:2"), Sender::Caller, now)
            .is_err()
    );
    assert!(
        limits
            .admit(&call("10.0.0.2:1"), Sender::Caller, now)
            .is_ok()
    );
}

#[test]
fn services_and_headers_have_their_own() {
    let text = "[limits.a]\nrate = 1\nby = \"service\"";
    let (limits, now) = (limits(text), epoch());
    let other = Call::unary("echo", "Say", "");
    assert!(
        limits
            .admit(&call("10.0.0.1:1"), Sender::Caller, now)
            .is_ok()
    );
    assert!(
        limits
            .admit(&call("10.0.0.2:1"), Sender::Caller, now)
            .is_err()
    );
    assert!(limits.admit(&other, Sender::Caller, now).is_ok());
    let limits = self::limits("[limits.a]\nrate = 1\nby = \"header\"\nheader = \"X-Tenant\"");
    let tenant = |name: &str, value: &str| {
        let mut call = Call::unary("users", "Get", "");
        call.headers.push(name, value).expect("short");
        call
    };
    assert!(
        limits
            .admit(&tenant("x-tenant", "blue"), Sender::Caller, now)
            .is_ok()
    );
    assert!(
        limits
            .admit(&tenant("X-TENANT", "blue"), Sender::Caller, now)
            .is_err()
    );
    assert!(
        limits
            .admit(&tenant("x-tenant", "green"), Sender::Caller, now)
            .is_ok()
    );
    assert!(limits.admit(&tenant("x", ""), Sender::Caller, now).is_ok());
    assert!(
        limits.admit(&tenant("y", ""), Sender::Caller, now).is_err(),
        "without it they share"
    );
}

#[test]
fn several_limits_hold_together_and_a_narrow_one_spares_a_wide_one() {
    let text = "[limits.all]\nrate = 5\nby = \"global\"\n[limits.each]\nrate = 2";
    let (limits, now) = (limits(text), epoch());
    assert_eq!(passing(&limits, &call("10.0.0.1:1"), now), 2);
    // 98 refused calls of the first have used nothing of what all share.
    assert_eq!(passing(&limits, &call("10.0.0.2:1"), now), 2);
    assert_eq!(passing(&limits, &call("10.0.0.3:1"), now), 1);
}

#[test]
fn only_calls_that_it_is_about_are_counted() {
    let limits = limits("[limits.a]\nrate = 1\nby = \"global\"\ncalls = [\"users/Delete*\"]");
    assert_eq!(passing(&limits, &call("10.0.0.1:1"), epoch()), 100);
    let delete = Call::unary("users", "DeleteAll", "");
    assert_eq!(passing(&limits, &delete, epoch()), 1);
}

#[test]
fn calls_of_plugins_are_counted_only_where_it_says_so() {
    let mut nested = call("10.0.0.1:1");
    nested.context.depth = 1;
    nested.context.peer = Arc::new(Peer {
        transport: Transport::Plugin,
        ..(*nested.context.peer).clone()
    });
    let without = limits("[limits.a]\nrate = 1");
    assert_eq!(passing(&without, &nested, epoch()), 100);
    let with = limits("[limits.a]\nrate = 1\nnested = true");
    assert_eq!(passing(&with, &nested, epoch()), 1);
}

#[test]
fn depth_exempts_only_what_a_gateway_has_passed_on() {
    let mut deep = call("10.0.0.1:1");
    let limits = limits("[limits.a]\nrate = 1");
    let passing = |call: &Call, sender| {
        let admitted = (0..100).filter(|_| limits.admit(call, sender, epoch()).is_ok());
        admitted.count()
    };
    // The first call of a gateway's own is not nested.
    assert_eq!(passing(&deep, Sender::Gateway), 1);
    deep.context.depth = 1;
    assert_eq!(passing(&deep, Sender::Caller), 0);
    assert_eq!(passing(&deep, Sender::Gateway), 100);
}

#[test]
fn calls_with_wrong_credentials_use_up_what_is_their_own_only() {
    let limits = limits(
        "[limits.each]\nby = \"principal\"\nrate = 1\n[limits.all]\nby = \"global\"\nrate = 2",
    );
    let (bad, now) = (call("10.0.0.1:1"), epoch());
    let passed = (0..100).filter(|_| limits.admit_failed(&bad, now).is_ok());
    assert_eq!(passed.count(), 1);
    for n in 2..4 {
        let other = call(&format!("10.0.0.{n}:1"));
        assert!(limits.admit(&other, Sender::Caller, now).is_ok());
    }
}

#[test]
fn callers_without_end_do_not_take_memory_without_end() {
    let limits = limits("[limits.a]\nrate = 1\nkeys-max = 100");
    let address = |n: u32| call(&format!("10.{}.{}.1:1", n / 256, n % 256));
    for n in 0..10_000 {
        assert!(limits.admit(&address(n), Sender::Caller, epoch()).is_ok());
    }
    assert_eq!(limits.n_keys(), 100);
}

#[test]
fn full_allowances_are_forgotten() {
    let limits = limits("[limits.a]\nrate = 1\nburst = 2");
    let now = epoch();
    assert!(
        limits
            .admit(&call("10.0.0.1:1"), Sender::Caller, now)
            .is_ok()
    );
    limits.evict_expired(now + 999 * MS);
    assert_eq!(limits.n_keys(), 1);
    limits.evict_expired(now + Duration::from_secs(3));
    assert_eq!(limits.n_keys(), 0);
}

#[test]
fn a_limit_that_stays_keeps_its_count_through_a_change() {
    let text = "[limits.a]\nrate = 1\n[limits.b]\nrate = 7";
    let before = limits(text);
    assert_eq!(passing(&before, &call("10.0.0.1:1"), epoch()), 1);
    let same = open("[limits.a]\nrate = 1", Some(&before));
    assert_eq!(passing(&same, &call("10.0.0.1:1"), epoch()), 0);
    let changed = open("[limits.a]\nrate = 2", Some(&before));
    assert_eq!(passing(&changed, &call("10.0.0.1:1"), epoch()), 2);
}
