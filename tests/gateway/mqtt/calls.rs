//! Publishes that are calls, and topics that are those of events.

use postern_tests::Setup;

use super::Broker;
use crate::{figure, share};

const ROUTES: &str = "\
[mqtt.routes]
\"devices/+id/cmd/+name\" = \"echo/Echo\"
\"devices/one/cmd/+\" = \"nobody/Echo\"
\"log/#rest\" = \"echo/Echo\"
";

#[tokio::test(flavor = "multi_thread")]
async fn publishes_are_calls_by_routes_and_by_name_and_replies_are_told() {
    let _machine = share().await;
    let setup = Setup::default()
        .plugin("echo")
        .plugin("users")
        .plugin("probe");
    let broker = Broker::of(setup, ROUTES).await;
    let n_cases = broker.check("calls.py", &[]).await;
    figure(&format!("calls over MQTT: {n_cases} cases passed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_key_calls_no_method_has_a_topic_of_its_name() {
    let _machine = share().await;
    let config = format!("[mqtt]\ncalls = false\n{ROUTES}");
    let setup = Setup::default().plugin("echo");
    let broker = Broker::of(setup, &config).await;
    broker.check("closed.py", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_protocol_publishes_all_subscribers_are_told() {
    let _machine = share().await;
    let broker = Broker::start("").await;
    let port = broker.http.port().to_string();
    broker.check("events.py", &[&port]).await;
}
