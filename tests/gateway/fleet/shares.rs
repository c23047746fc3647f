//! Which of three gateways answers calls through the first: the share of each under every balancer.
//!
//! Where chance decides, 300 calls at a share of a third have a standard deviation of
//! sqrt(300 * 1/3 * 2/3) = 8.2; the tolerance of 41 is five of them.

use std::collections::{BTreeMap, BTreeSet};

use postern_core::{Call, Handler};
use postern_tests::{CallerTransport, Gateway, component, connect, patiently};

use super::{calls, fleet, fleet_of, instances, instances_of, until_instances};
use crate::{figure, own, share};

const N_CALLS: u64 = 300;
const CHANCE: u64 = 41;
const NAMES: [&str; 3] = ["a/users", "b/users", "c/users"];

/// What `gateway` has had answered by a, b, c.
async fn answered(gateway: &Gateway) -> [u64; 3] {
    let by = instances(gateway).await;
    NAMES.map(|name| by.get(name).copied().unwrap_or_default())
}

/// 300 calls through `gateway`: `expected` are the shares of a, b, c, each give or take `tolerance`.
async fn check(gateway: &Gateway, policy: &str, expected: [u64; 3], tolerance: u64) {
    let before = answered(gateway).await;
    calls(gateway, 300).await;
    let after = answered(gateway).await;
    judge(
        policy,
        [0, 1, 2].map(|place| after[place] - before[place]),
        expected,
        tolerance,
    );
}

fn judge(policy: &str, shares: [u64; 3], expected: [u64; 3], tolerance: u64) {
    figure(&format!(
        "{N_CALLS} calls, {policy}: {shares:?}, expected {expected:?} give or take {tolerance}"
    ));
    assert_eq!(shares.iter().sum::<u64>(), N_CALLS, "{policy}: {shares:?}");
    for (share, expected) in shares.into_iter().zip(expected) {
        assert!(
            share.abs_diff(expected) <= tolerance,
            "{policy}: {shares:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_through_one_gateway_are_spread_over_all_as_the_balancer_says() {
    let _machine = share().await;
    let weights = "weights = { \"a/users\" = 300, \"b/users\" = 200, \"c/users\" = 100 }";
    for (balancer, weights, expected, tolerance) in [
        ("round-robin", "", [100, 100, 100], 0),
        ("weighted", weights, [150, 100, 50], 3),
        // Calls come one after the other: nobody is busy, and chance decides by weight.
        ("least-connections", "", [100, 100, 100], CHANCE),
        ("least-connections", weights, [150, 100, 50], CHANCE),
    ] {
        let policy = format!("balancer = \"{balancer}\"\n{weights}");
        let gateways = fleet(3, &policy).await;
        let shown = [balancer, weights].join(" ");
        check(&gateways[0], shown.trim_end(), expected, tolerance).await;
    }
}

/// Of two by chance the quicker: who is the quickest of three is in two pairs of three and picked in
/// both, who is the slowest in none; who was not asked yet counts as slow. A single late answer makes
/// anybody the slowest for a while, so the test takes the machine for itself and does not say who it
/// is.
#[tokio::test(flavor = "multi_thread")]
async fn by_response_time_the_quickest_of_three_has_two_calls_of_three() {
    let _machine = own().await;
    let gateways = fleet(3, "balancer = \"p2c-ewma\"").await;
    calls(&gateways[0], 300).await;
    let mut shares = answered(&gateways[0]).await;
    figure(&format!("p2c-ewma, by a, b, c: {shares:?}"));
    shares.sort_unstable_by(|one, other| other.cmp(one));
    judge("p2c-ewma, the quickest first", shares, [200, 100, 0], 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_own_zone_has_all_calls_until_it_is_drained() {
    let _machine = share().await;
    let gateways = fleet(3, "zone-aware = true").await;
    let here = &gateways[0];
    check(here, "zone-aware", [N_CALLS, 0, 0], 0).await;
    let drained = here.postern(&["services", "drain", "a/users"]);
    assert_eq!(drained.code, Some(0), "{drained:?}");
    until_instances(here, 2).await;
    check(here, "zone-aware, own zone drained", [0, 150, 150], 1).await;
    let undrained = here.postern(&["services", "undrain", "a/users"]);
    assert_eq!(undrained.code, Some(0), "{undrained:?}");
    until_instances(here, 3).await;
    check(here, "zone-aware, own zone back", [N_CALLS, 0, 0], 0).await;
}

/// Calls for each of `users` through `gateway`, and who answered them. `send` puts the user's name
/// where the policy looks for it.
async fn placed(
    gateway: &Gateway,
    users: &[String],
    send: impl Fn(&str) -> Call,
) -> BTreeMap<String, BTreeSet<&'static str>> {
    let caller = connect(gateway, CallerTransport::Tcp).await;
    let mut placed = BTreeMap::new();
    for user in users {
        let before = answered(gateway).await;
        for _ in 0..3 {
            caller.call(send(user)).await.expect("answered");
        }
        let after = answered(gateway).await;
        let names = (0..3).filter(|place| after[*place] > before[*place]);
        placed.insert(user.clone(), names.map(|place| NAMES[place]).collect());
    }
    placed
}

fn by_header(user: &str) -> Call {
    let mut call = Call::unary("users", "ListUsers", "{}");
    call.headers.push("x-user", user).expect("it fits");
    call
}

fn by_field(user: &str) -> Call {
    Call::unary(
        "users",
        "ListUsers",
        format!("{{\"page_token\": \"{user}\"}}"),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_has_one_instance_and_keys_are_spread() {
    let _machine = share().await;
    for (policy, send, tolerance) in [
        // An equal member's share of the ring is right to some 5 %, beside chance.
        (
            "balancer = \"hash\"\nhash-on = \"header:x-user\"",
            by_header as fn(&str) -> Call,
            CHANCE + 15,
        ),
        (
            "balancer = \"hash\"\nhash-on = \"payload-field:page_token\"",
            by_field,
            CHANCE + 15,
        ),
        (
            "balancer = \"sticky\"\nhash-on = \"header:x-user\"",
            by_header,
            CHANCE,
        ),
    ] {
        let gateways = fleet(3, policy).await;
        let shown = policy.replace('\n', ", ");
        let before = answered(&gateways[0]).await;
        let caller = connect(&gateways[0], CallerTransport::Tcp).await;
        for n in 0..N_CALLS {
            caller
                .call(send(&format!("user-{n}")))
                .await
                .expect("answered");
        }
        let after = answered(&gateways[0]).await;
        let shares = [0, 1, 2].map(|place| after[place] - before[place]);
        judge(&format!("{shown}, a key each"), shares, [100; 3], tolerance);

        let users: Vec<_> = (0..20).map(|n| format!("user-{n}")).collect();
        let here = placed(&gateways[0], &users, send).await;
        let moved = here.values().filter(|names| names.len() != 1).count();
        let used: BTreeSet<_> = here.values().flatten().collect();
        figure(&format!(
            "{shown}: 20 keys over {} instances, {moved} of them on more than one",
            used.len()
        ));
        assert_eq!(moved, 0, "{here:?}");
        assert_eq!(used.len(), 3, "{here:?}");
        // Gateways share no state and agree all the same.
        let there = placed(&gateways[1], &users, send).await;
        assert_eq!(here, there);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_balancer_spreads_calls_as_its_native_twin() {
    let _machine = share().await;
    // What goes anywhere by chance is what `least-connections` does where nobody is busy.
    let here = &cost_fleet("users", 100).await[0];
    let before = picks(here, "users").await;
    let policy = "plugin:cost-balancer, explore-percent 100";
    check(here, policy, [100; 3], CHANCE).await;
    tell(policy, before, picks(here, "users").await);
    let gateways = fleet(3, "balancer = \"least-connections\"").await;
    check(
        &gateways[0],
        "its native twin, least-connections",
        [100; 3],
        CHANCE,
    )
    .await;
}

/// Where it is cheapest is here, past no socket. That holds for a service that does nothing else; of
/// `users`, which reads from the disk, any instance may be the quickest.
#[tokio::test(flavor = "multi_thread")]
async fn a_component_balancer_places_calls_where_they_are_cheapest() {
    let _machine = share().await;
    let here = &cost_fleet("echo", 0).await[0];
    let answered = async || {
        let by = instances_of("echo", here).await;
        ["a/echo", "b/echo", "c/echo"].map(|name| by.get(name).copied().unwrap_or_default())
    };
    let (before, picks_before) = (answered().await, picks(here, "echo").await);
    let caller = connect(here, CallerTransport::Tcp).await;
    for _ in 0..N_CALLS {
        let call = Call::unary("echo", "Echo", "x");
        caller.call(call).await.expect("answered");
    }
    let after = answered().await;
    let policy = "plugin:cost-balancer, explore-percent 0";
    let shares = [0, 1, 2].map(|place| after[place] - before[place]);
    judge(policy, shares, [N_CALLS, 0, 0], 60);
    tell(policy, picks_before, picks(here, "echo").await);
}

/// Three gateways with `service`, the first of which places its calls by `cost-balancer`.
async fn cost_fleet(service: &str, explore_percent: u8) -> Vec<Gateway> {
    let gateways = fleet_of(service, 3, "balancer = \"plugin:cost-balancer\"").await;
    let here = &gateways[0];
    let manifest = format!("[config]\nexplore-percent = {explore_percent}\n");
    here.deploy("cost-balancer.toml", manifest.as_bytes());
    here.deploy("cost-balancer.wasm", &component("cost-balancer"));
    let caller = connect(here, CallerTransport::Tcp).await;
    let method = if service == "echo" {
        "Echo"
    } else {
        "ListUsers"
    };
    patiently("the component picks", async || {
        for _ in 0..20 {
            let call = Call::unary(service.to_owned(), method, "{}");
            caller.call(call).await.expect("answered");
        }
        picks(here, service).await.0 > 0
    })
    .await;
    gateways
}

/// Says who picked, and holds every pick to the component.
fn tell(policy: &str, before: (u64, u64), after: (u64, u64)) {
    figure(&format!(
        "{policy}: {} picks by the component, {} by the native balancer",
        after.0 - before.0,
        after.1 - before.1
    ));
    assert_eq!(after.0 - before.0, N_CALLS);
}

/// Picks by the component and by the native balancer so far.
async fn picks(gateway: &Gateway, service: &str) -> (u64, u64) {
    let services = gateway.admin_json("/services").await;
    let services = services["services"].as_array().expect("a list");
    let found = services.iter().find(|found| found["name"] == service);
    let picks = &found.expect("it is there")["cluster"]["picks"];
    let of = |by: &str| picks[by].as_u64().expect("a number");
    (of("component"), of("native"))
}
