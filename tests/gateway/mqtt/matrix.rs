//! Every feature, by clients of others.

use postern_tests::{Setup, node_packages};
use tokio::process::Command;

use super::{Broker, folder};
use crate::{figure, share};

#[tokio::test(flavor = "multi_thread")]
async fn every_feature_is_there_for_paho() {
    let _machine = share().await;
    let broker = Broker::start("[mqtt]\nsys-interval = \"1s\"").await;
    let n_cases = broker.check("matrix.py", &[]).await;
    figure(&format!("MQTT by paho-mqtt: {n_cases} cases passed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_feature_is_there_for_mqtt_js_over_tcp_and_websocket() {
    let _machine = share().await;
    let setup = Setup {
        http: "websocket.paths = [\"/mqtt\"]".to_owned(),
        ..Setup::default()
    };
    let broker = Broker::of(setup.plugin("echo"), "").await;
    let mut command = Command::new("node");
    command
        .arg(folder().join("mqttjs.mjs"))
        .arg(broker.address.port().to_string())
        .arg(broker.http.port().to_string())
        .env("NODE_FOLDER", node_packages("mqtt"));
    let n_cases = broker.cases(&mut command).await;
    figure(&format!("MQTT by mqtt.js: {n_cases} cases passed"));
}
