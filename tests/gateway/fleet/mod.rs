//! Several gateways that know one another: calls are spread, and survive the end of one.

mod cut;
mod death;
mod shares;

use std::collections::BTreeMap;

use postern_core::Call;
use postern_tests::{CallerTransport, Gateway, Setup, connect, free_address, patiently};
use serde_json::Value;

use crate::share;

/// What `users/ListUsers` answers where nobody was created.
const NOBODY: &str = "{\"users\":[]}";

/// Gateways `a`, `b`, ... in zones `zone-a`, `zone-b`, ... with `users` each, all peers of all. `policy`
/// is `[services.users]` of each; no zone comes before another unless it says so.
async fn fleet(n_gateways: usize, policy: &str) -> Vec<Gateway> {
    fleet_of("users", n_gateways, policy).await
}

/// The same with another plugin in the place of `users`.
async fn fleet_of(service: &str, n_gateways: usize, policy: &str) -> Vec<Gateway> {
    let names = ["a", "b", "c"];
    let addresses: Vec<_> = (0..n_gateways)
        .map(|_| free_address().expect("a port"))
        .collect();
    let mut gateways = Vec::new();
    for (name, own) in names.iter().zip(&addresses) {
        let mut config = format!(
            "[directory]\nname = \"{name}\"\nzone = \"zone-{name}\"\nprobe-interval = \"500ms\"\n\
             probe-down-interval = \"200ms\"\nprobe-timeout = \"200ms\"\npeer-wait = \"500ms\"\n\
             peer-retry-max = \"500ms\"\npeer-grace = \"2s\"\npeer-sync = \"1s\"\n\
             [services.default]\nzone-aware = false\n[services.{service}]\n{policy}\n"
        );
        for (peer, address) in names.iter().zip(&addresses) {
            if address != own {
                config += &format!("[peers.{peer}]\naddress = \"tcp://{address}\"\n");
            }
        }
        // A listener of its own, at the address that the others were told.
        config += &format!(
            "[listeners.fleet]\nprotocol = \"vstp\"\naddress = \"{own}\"\ntransports = [\"tcp\"]\n"
        );
        let setup = Setup {
            config,
            ..Setup::default()
        };
        gateways.push(Gateway::start(setup.plugin(service)).await);
    }
    for gateway in &gateways {
        until_instances_of(service, gateway, n_gateways).await;
    }
    gateways
}

async fn until_instances(gateway: &Gateway, n_instances: usize) {
    until_instances_of("users", gateway, n_instances).await;
}

async fn until_instances_of(service: &str, gateway: &Gateway, n_instances: usize) {
    patiently(
        &format!("{n_instances} instances of {service}"),
        async || instances_of(service, gateway).await.len() == n_instances,
    )
    .await;
}

/// Instances of `users` that take calls, and what each has answered well.
async fn instances(gateway: &Gateway) -> BTreeMap<String, u64> {
    instances_of("users", gateway).await
}

async fn instances_of(service: &str, gateway: &Gateway) -> BTreeMap<String, u64> {
    let services = gateway.admin_json("/services").await;
    let services = services["services"].as_array().expect("a list").clone();
    let found = services.iter().find(|found| found["name"] == service);
    let all = found.and_then(|found| found["cluster"]["instances"].as_array());
    let figures = |instance: &Value| {
        let name = instance["instance"].as_str().expect("a name").to_owned();
        (name, instance["successes"].as_u64().expect("a number"))
    };
    all.into_iter().flatten().map(figures).collect()
}

async fn calls(gateway: &Gateway, n_calls: usize) {
    let caller = connect(gateway, CallerTransport::Tcp).await;
    for _ in 0..n_calls {
        let answer = postern_tests::call(&*caller, "users/ListUsers", "{}").await;
        assert_eq!(answer.expect("answered"), NOBODY);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_instance_gets_no_calls_until_it_is_undrained() {
    let _machine = share().await;
    let gateways = fleet(2, "").await;
    let drained = gateways[0].postern(&["services", "drain", "b/users"]);
    assert_eq!(drained.code, Some(0), "{drained:?}");
    calls(&gateways[0], 20).await;
    let served = instances(&gateways[0]).await;
    assert_eq!(served.get("b/users").copied().unwrap_or_default(), 0);
    let undrained = gateways[0].postern(&["services", "undrain", "b/users"]);
    assert_eq!(undrained.code, Some(0), "{undrained:?}");
    calls(&gateways[0], 20).await;
    assert!(instances(&gateways[0]).await["b/users"] >= 8);
    let info = gateways[0].postern(&["services", "info", "users"]);
    assert!(info.out.contains("b/users"), "{info:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_without_plugins_serves_what_is_elsewhere_and_what_is_built_in() {
    let _machine = share().await;
    let other = Gateway::start(Setup::default().plugin("users")).await;
    let config = format!(
        "[instances.far]\nservice = \"users\"\naddresses = [\"tcp://{}\"]\n",
        other.vstp
    );
    let setup = Setup {
        config,
        ..Setup::default()
    };
    let gateway = Gateway::start(setup).await;
    calls(&gateway, 3).await;
    let caller = connect(&gateway, CallerTransport::Http).await;
    for (target, body) in [
        ("directory/discover", "{}"),
        ("events/publish", "{\"topic\": \"a\", \"payload\": 1}"),
    ] {
        let answer = postern_tests::call(&*caller, target, body).await;
        answer.unwrap_or_else(|error| panic!("{target}: {error}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_balancer_decides_and_one_that_is_missing_costs_no_call() {
    let _machine = share().await;
    let gateways = fleet(2, "balancer = \"plugin:cost-balancer\"").await;
    // The plugin is not there: the native balancer decides.
    calls(&gateways[0], 20).await;
    let component = postern_tests::component("cost-balancer");
    gateways[0].deploy("cost-balancer.wasm", &component);
    patiently("the component picks", async || {
        calls(&gateways[0], 20).await;
        let services = gateways[0].admin_json("/services").await;
        let services = services["services"].as_array().expect("a list").clone();
        let users = services.iter().find(|service| service["name"] == "users");
        let picks = users.map(|users| users["cluster"]["picks"]["component"].clone());
        picks.and_then(|picks| picks.as_u64()).unwrap_or_default() > 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_balancer_in_c_sends_calls_to_the_callers_region() {
    let _machine = share().await;
    let gateways = fleet(3, "balancer = \"plugin:geo-balancer\"").await;
    let component = postern_tests::component("geo-balancer");
    gateways[0].deploy("geo-balancer.wasm", &component);
    patiently("the component is in service", async || {
        let plugin = gateways[0].admin("/plugins/geo-balancer").await;
        plugin.is_ok_and(|(_, plugin)| plugin.contains("\"state\":\"active\""))
    })
    .await;
    let before = instances(&gateways[0]).await;
    let caller = connect(&gateways[0], CallerTransport::Tcp).await;
    for _ in 0..20 {
        let mut call = Call::unary("users", "ListUsers", "{}");
        call.headers.push("x-region", "zone-b").expect("it fits");
        caller.call(call).await.expect("answered");
    }
    let after = instances(&gateways[0]).await;
    let gained = |name: &str| after[name] - before[name];
    assert_eq!(
        (gained("a/users"), gained("b/users"), gained("c/users")),
        (0, 20, 0)
    );
}
