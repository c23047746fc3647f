//! What goes over a bridge, and under which names.

use std::fs;

use postern_tests::{Gateway, Mosquitto, Setup, mosquitto_passwords, patiently};

use super::{Listening, bridged, connected, publish, publisher, state};
use crate::share;

const VERSIONS: [&str; 2] = ["3.1.1", "5"];

#[tokio::test(flavor = "multi_thread")]
async fn topics_go_in_and_out_by_their_filters_directions_and_prefixes() {
    let _machine = share().await;
    for version in VERSIONS {
        let broker = Mosquitto::start().await;
        let keys = format!(
            "version = \"{version}\"\n\
             [bridges.b.topics.readings]\nfilter = \"sensors/+/data\"\ndirection = \"in\"\n\
             local-prefix = \"site/7/\"\nremote-prefix = \"hq/\"\n\
             [bridges.b.topics.orders]\nfilter = \"orders/#\"\ndirection = \"out\"\nqos = 1\n\
             remote-prefix = \"gw/\""
        );
        let gateway = bridged(&broker.url(), &keys).await;
        let mut heard = Listening::to(&gateway, &[">"]).await;
        let reading = broker.read("#", &[]).await;
        broker.publish("hq/sensors/1/data", "23.5", &["-q", "1"]);
        broker.publish("hq/sensors/1/other", "no", &[]);
        broker.publish("sensors/1/data", "no", &[]);
        let event = heard.next().await;
        assert_eq!(
            (&*event.topic, &*event.payload),
            ("site.7.sensors.1.data", "23.5")
        );
        let handler = publisher(&gateway).await;
        publish(&handler, "orders.created.v1%2E2", "7").await;
        publish(&handler, "orders", "8").await;
        publish(&handler, "other", "no").await;
        patiently("both orders are out", async || {
            reading.messages().len() == 5
        })
        .await;
        let messages = reading.messages();
        for expected in ["gw/orders/created/v1.2 0 0 7", "gw/orders 0 0 8"] {
            assert!(messages.iter().any(|one| one == expected), "{messages:?}");
        }
        let is_ours = |one: &super::Heard| one.topic.starts_with("site.");
        assert!(!heard.all().iter().any(is_ours), "{version}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_quality_of_service_arrives_as_often_as_it_says() {
    let _machine = share().await;
    for version in VERSIONS {
        for qos in ["0", "1", "2"] {
            let broker = Mosquitto::start().await;
            let keys = format!(
                "version = \"{version}\"\n\
                 [bridges.b.topics.in]\nfilter = \"in/#\"\nqos = {qos}\n\
                 [bridges.b.topics.out]\nfilter = \"out/#\"\ndirection = \"out\"\nqos = {qos}"
            );
            let gateway = bridged(&broker.url(), &keys).await;
            let mut heard = Listening::to(&gateway, &["in.>"]).await;
            let reading = broker.read("out/#", &["-q", "2"]).await;
            let handler = publisher(&gateway).await;
            for number in 0..50 {
                publish(&handler, "out.n", &number.to_string()).await;
            }
            let messages = reading.at_least(50).await;
            let expected: Vec<_> = (0..50).map(|n| format!("out/n {qos} 0 {n}")).collect();
            assert_eq!(messages, expected, "{version}");
            for number in 0..5 {
                broker.publish("in/n", &number.to_string(), &["-q", qos]);
            }
            for number in 0..5 {
                assert_eq!(
                    heard.next().await.payload,
                    number.to_string(),
                    "{version} {qos}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_retain_flag_is_kept_set_or_dropped() {
    let _machine = share().await;
    let broker = Mosquitto::start().await;
    broker.publish("state/kept", "before", &["-r"]);
    broker.publish("never/in", "before", &["-r"]);
    let keys = "[bridges.b.topics.state]\nfilter = \"state/#\"\nretain = \"keep\"\n\
                [bridges.b.topics.never]\nfilter = \"never/#\"\nretain = \"never\"\ndirection = \"both\"\n\
                [bridges.b.topics.always]\nfilter = \"always/#\"\ndirection = \"out\"\nretain = \"always\"";
    // What is retained comes with the subscription, so somebody has to listen before.
    let gateway = Gateway::start(Setup::default()).await;
    let mut heard = Listening::to(&gateway, &["state.>", "never.>"]).await;
    let path = gateway.folder().join("postern.toml");
    let config = fs::read_to_string(&path).expect("readable");
    let bridge = format!(
        "{config}\n[bridges.b]\nurl = \"{}\"\n{keys}\n",
        broker.url()
    );
    fs::write(&path, bridge).expect("writable");
    connected(&gateway, "b").await;
    let (first, second) = (heard.next().await, heard.next().await);
    let of = |topic: &str| {
        if first.topic == topic {
            &first
        } else {
            &second
        }
    };
    assert_eq!(of("state.kept").header("event-retain"), Some("1"));
    assert_eq!(of("never.in").header("event-retain"), None);
    let handler = publisher(&gateway).await;
    publish(&handler, "always.x", "now").await;
    let late = async || {
        let reading = broker.read("always/#", &["-C", "1"]).await;
        reading.at_least(1).await
    };
    patiently("the broker has it", async || {
        broker.log().contains("'always/x'")
    })
    .await;
    assert_eq!(late().await, ["always/x 0 1 now"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn properties_of_mqtt_5_are_headers_of_events_and_come_back() {
    let _machine = share().await;
    let broker = Mosquitto::start().await;
    let keys = "[bridges.b.topics.in]\nfilter = \"in/#\"\n\
                [bridges.b.topics.out]\nfilter = \"out/#\"\ndirection = \"out\"";
    let gateway = bridged(&broker.url(), keys).await;
    let mut heard = Listening::to(&gateway, &["in.>"]).await;
    let more = [
        "-V",
        "5",
        "-D",
        "publish",
        "content-type",
        "application/json",
        "-D",
        "publish",
        "user-property",
        "ce-id",
        "42",
        "-D",
        "publish",
        "user-property",
        "Authorization",
        "none",
        "-D",
        "publish",
        "message-expiry-interval",
        "600",
    ];
    broker.publish("in/x", "{}", &more);
    let event = heard.next().await;
    assert_eq!(event.header("content-type"), Some("application/json"));
    assert_eq!(event.header("ce-id"), Some("42"));
    assert_eq!(event.header("event-property-Authorization"), Some("none"));
    assert_eq!(event.header("Authorization"), None);
    assert!(event.header("event-expiry").is_some());
    assert!(event.header("event-via").is_some());
    let reading = broker
        .read("out/#", &["-V", "5", "-F", "= %t %q %r %C %P"])
        .await;
    let handler = publisher(&gateway).await;
    publish(&handler, "out.x", "text").await;
    let messages = reading.at_least(1).await;
    assert!(
        messages[0].starts_with("out/x 0 0 text/plain event-via:"),
        "{messages:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_will_is_published_when_the_gateway_is_gone_without_a_word_and_not_otherwise() {
    let _machine = share().await;
    for version in VERSIONS {
        let broker = Mosquitto::start().await;
        let keys = format!(
            "version = \"{version}\"\nwill = {{ topic = \"gone/gw\", payload = \"offline\", qos = 1, \
             retain = true, delay = \"0s\" }}"
        );
        let mut gateway = bridged(&broker.url(), &keys).await;
        let reading = broker.read("gone/#", &["-q", "1"]).await;
        gateway.terminate().await;
        broker.publish("gone/marker", "m", &["-q", "1"]);
        assert_eq!(reading.at_least(1).await, ["gone/marker 1 0 m"]);
        gateway.start_again().await;
        connected(&gateway, "b").await;
        gateway.signal("KILL");
        let messages = reading.at_least(2).await;
        assert_eq!(messages[1], "gone/gw 1 0 offline", "{version}");
        let late = broker.read("gone/gw", &["-q", "1"]).await;
        assert_eq!(late.at_least(1).await, ["gone/gw 1 1 offline"]);
        gateway.ended().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn username_password_and_client_id_are_those_of_the_table_or_a_file() {
    let _machine = share().await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = mosquitto_passwords(folder.path(), "gw", "s3cret");
    let lines = "allow_anonymous false\npassword_file ROOT/passwords\n";
    let broker = Mosquitto::with(lines, &[("passwords", file)]).await;
    let secret = folder.path().join("secret");
    fs::write(&secret, "s3cret\n").expect("writable");
    for password in [
        "password = \"s3cret\"".to_owned(),
        format!("password-file = \"{}\"", secret.display()),
    ] {
        let keys = format!("client-id = \"gateway-7\"\nusername = \"gw\"\n{password}");
        let gateway = bridged(&broker.url(), &keys).await;
        assert!(broker.log().contains("as gateway-7"), "{}", broker.log());
        let shown = gateway.postern(&["config", "show"]);
        assert!(!shown.out.contains("s3cret"), "{}", shown.out);
        assert!(!gateway.log().contains("s3cret"));
    }
    let keys = "username = \"gw\"\npassword = \"wrong\"\nreconnect-min = \"20ms\"\nreconnect-max = \"50ms\"";
    let config = format!("[bridges.b]\nurl = \"{}\"\n{keys}\n", broker.url());
    let setup = Setup {
        config,
        ..Setup::default()
    };
    let gateway = Gateway::start(setup).await;
    patiently("the refusal is told", async || {
        let reason = state(&gateway, "b").await["reason"].to_string();
        reason.contains("not authorized") || reason.contains("bad user name")
    })
    .await;
    // A bridge without a broker is no reason against traffic.
    assert_eq!(gateway.admin("/readyz").await.expect("answers").0, 200);
    let listed = gateway.postern(&["bridges", "list"]);
    assert!(
        listed.out.contains("authorized") || listed.out.contains("bad user"),
        "{}",
        listed.out
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unix_socket_and_websocket_reach_a_broker_as_well() {
    let _machine = share().await;
    let address = postern_tests::free_address().expect("a free port");
    let lines = format!(
        "allow_anonymous true\nlistener {} 127.0.0.1\nprotocol websockets\nlistener 0 ROOT/m.sock\n",
        address.port()
    );
    let broker = Mosquitto::with(&lines, &[]).await;
    let socket = broker.path("m.sock");
    for url in [format!("unix:{socket}"), format!("ws://{address}/mqtt")] {
        let keys = "[bridges.b.topics.out]\nfilter = \"out/#\"\ndirection = \"out\"";
        let gateway = bridged(&url, keys).await;
        let reading = broker.read("out/#", &[]).await;
        let handler = publisher(&gateway).await;
        publish(&handler, "out.x", &url).await;
        assert_eq!(reading.at_least(1).await, [format!("out/x 0 0 {url}")]);
    }
}
