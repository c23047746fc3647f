//! What sessions under a durable name get, in which order and how often; each key of the consumers by what
//! it does.

use postern_core::Kind;
use postern_tests::{Gateway, ask_events, next_event, patiently, session};
use serde_json::json;

use super::{acknowledge, header, log, publish, publish_keyed, refuse, setup, subscribe, told};
use crate::share;

#[tokio::test]
async fn a_durable_name_goes_on_where_it_was_over_sessions_and_restarts() {
    let _machine = share().await;
    let mut gateway = Gateway::start(setup("")).await;
    let publisher = session(&gateway).await;
    for n in 1..=3 {
        publish(&publisher, "orders.created", &json!(n))
            .await
            .expect("stored");
    }
    let client = session(&gateway).await;
    let mut billing = subscribe(&client, "billing", "orders.>").await;
    let first = next_event(&mut billing).await;
    assert_eq!(told(&first), (json!(1), 1));
    assert_eq!(first.event.topic, "orders.created");
    assert_eq!(header(&first, "position"), "1");
    assert_eq!(acknowledge(&client, &first).await.expect("on disk"), 1);
    assert_eq!(acknowledge(&client, &first).await.expect("known"), 0);
    client.close().await;
    gateway.restart().await;
    let client = session(&gateway).await;
    let mut billing = subscribe(&client, "billing", "orders.>").await;
    for n in 2..=3 {
        let event = next_event(&mut billing).await;
        assert_eq!(told(&event).0, json!(n));
        acknowledge(&client, &event).await.expect("on disk");
    }
    // Another name has its own position.
    let other = session(&gateway).await;
    let mut audit = subscribe(&other, "audit", "orders.>").await;
    assert_eq!(told(&next_event(&mut audit).await), (json!(1), 1));
}

#[tokio::test]
async fn what_a_session_has_not_acknowledged_comes_again_when_it_is_gone() {
    let _machine = share().await;
    let gateway = Gateway::start(setup("order = \"none\"")).await;
    let publisher = session(&gateway).await;
    for n in 1..=3 {
        publish(&publisher, "orders.created", &json!(n))
            .await
            .expect("stored");
    }
    let first = session(&gateway).await;
    let mut taken = subscribe(&first, "billing", "orders.>").await;
    for n in 1..=3 {
        assert_eq!(told(&next_event(&mut taken).await), (json!(n), 1));
    }
    let second = session(&gateway).await;
    let mut again = subscribe(&second, "billing", "orders.>").await;
    first.close().await;
    for n in 1..=3 {
        // A member that went away does not count as a try.
        assert_eq!(told(&next_event(&mut again).await), (json!(n), 1));
    }
}

#[tokio::test]
async fn a_delivery_comes_again_after_its_ack_wait() {
    let _machine = share().await;
    let gateway = Gateway::start(setup(
        "ack-wait = \"100ms\"\nback-off = [\"10ms\"]\ndeliveries-max = 0",
    ))
    .await;
    let client = session(&gateway).await;
    let mut billing = subscribe(&client, "billing", "orders.>").await;
    publish(&client, "orders.created", &json!(1))
        .await
        .expect("stored");
    for n in 1..=3 {
        assert_eq!(told(&next_event(&mut billing).await), (json!(1), n));
    }
}

#[tokio::test]
async fn a_refused_event_waits_for_its_back_off() {
    let _machine = share().await;
    let keys = "back-off = [\"10ms\", \"1h\"]\norder = \"none\"";
    let gateway = Gateway::start(setup(keys)).await;
    let client = session(&gateway).await;
    let mut billing = subscribe(&client, "billing", "orders.>").await;
    publish(&client, "orders.created", &json!("bad"))
        .await
        .expect("stored");
    for n in 1..=2 {
        let bad = next_event(&mut billing).await;
        assert_eq!(told(&bad), (json!("bad"), n));
        refuse(&client, &bad, "back-off").await;
    }
    publish(&client, "orders.created", &json!("good"))
        .await
        .expect("stored");
    assert_eq!(told(&next_event(&mut billing).await), (json!("good"), 1));
    let log = log(&gateway, "orders.>").await;
    let consumer = &log["consumers"][0];
    assert_eq!(
        (&consumer["pending"], &consumer["in_flight"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(consumer["redelivered"], 1);
}

#[tokio::test]
async fn after_deliveries_max_an_event_is_a_dead_letter_with_the_reason() {
    let _machine = share().await;
    let keys = "deliveries-max = 2\nback-off = [\"10ms\"]\ndead-letter = \"lost.orders\"";
    let mut gateway = Gateway::start(setup(keys)).await;
    let client = session(&gateway).await;
    let mut billing = subscribe(&client, "billing", "orders.>").await;
    publish(&client, "orders.created", &json!("bad"))
        .await
        .expect("stored");
    publish(&client, "orders.created", &json!("good"))
        .await
        .expect("stored");
    for n in 1..=2 {
        let bad = next_event(&mut billing).await;
        assert_eq!(told(&bad), (json!("bad"), n));
        refuse(&client, &bad, "back-off").await;
    }
    assert_eq!(told(&next_event(&mut billing).await), (json!("good"), 1));
    gateway.restart().await;
    let kept = gateway.admin_json("/topics/dead-letter.%3E/events").await;
    let letter = &kept["events"][0];
    assert_eq!(letter["event"]["topic"], "lost.orders");
    assert_eq!(letter["event"]["payload"], "bad");
    let says = |header: &str| letter["headers"][header].clone();
    assert_eq!(says("event-dead-topic"), "orders.created");
    assert_eq!(says("event-dead-position"), "1");
    assert_eq!(says("event-dead-consumer"), "billing");
    assert_eq!(says("event-dead-reason"), "as asked");
    assert_eq!(says("event-dead-deliveries"), "2");
    assert_eq!(kept["events"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn dead_letters_are_a_durable_topic_of_their_own() {
    let _machine = share().await;
    let gateway = Gateway::start(setup("")).await;
    let client = session(&gateway).await;
    let mut billing = subscribe(&client, "billing", "orders.>").await;
    publish(&client, "orders.created", &json!("bad"))
        .await
        .expect("stored");
    let bad = next_event(&mut billing).await;
    refuse(&client, &bad, "never").await;
    let operator = session(&gateway).await;
    let mut letters = subscribe(&operator, "operator", "dead-letter.>").await;
    let letter = next_event(&mut letters).await;
    assert_eq!(letter.event.topic, "dead-letter.orders.created");
    assert_eq!(header(&letter, "event-dead-reason"), "as asked");
    acknowledge(&operator, &letter).await.expect("on disk");
}

#[tokio::test]
async fn no_more_than_in_flight_max_are_given_out() {
    let _machine = share().await;
    let gateway = Gateway::start(setup("in-flight-max = 2\norder = \"none\"")).await;
    let client = session(&gateway).await;
    let mut billing = subscribe(&client, "billing", "orders.>").await;
    for n in 1..=3 {
        publish(&client, "orders.created", &json!(n))
            .await
            .expect("stored");
    }
    let first = next_event(&mut billing).await;
    assert_eq!(told(&next_event(&mut billing).await).0, json!(2));
    let seen = log(&gateway, "orders.>").await;
    let consumer = &seen["consumers"][0];
    assert_eq!(
        (&consumer["in_flight"], &consumer["pending"]),
        (&json!(2), &json!(1))
    );
    acknowledge(&client, &first).await.expect("on disk");
    assert_eq!(told(&next_event(&mut billing).await).0, json!(3));
}

#[tokio::test]
async fn events_of_one_key_come_one_after_the_other_and_those_of_others_meanwhile() {
    let _machine = share().await;
    let gateway = Gateway::start(setup("back-off = [\"10ms\"]\norder = \"key\"")).await;
    let client = session(&gateway).await;
    let mut billing = subscribe(&client, "billing", "orders.>").await;
    for (key, payload) in [("a", 1), ("a", 2), ("b", 3), ("a", 4)] {
        let stored = publish_keyed(&client, "orders.created", key, &json!(payload)).await;
        stored.expect("stored");
    }
    let one = next_event(&mut billing).await;
    assert_eq!(told(&one), (json!(1), 1));
    // 2 and 4 wait for 1.
    let three = next_event(&mut billing).await;
    assert_eq!(told(&three), (json!(3), 1));
    acknowledge(&client, &three).await.expect("on disk");
    refuse(&client, &one, "back-off").await;
    let one = next_event(&mut billing).await;
    assert_eq!(told(&one), (json!(1), 2));
    acknowledge(&client, &one).await.expect("on disk");
    for payload in [2, 4] {
        let event = next_event(&mut billing).await;
        assert_eq!(told(&event), (json!(payload), 1));
        acknowledge(&client, &event).await.expect("on disk");
    }
}

#[tokio::test]
async fn members_of_one_name_share_its_events_and_each_goes_to_one_of_them() {
    let _machine = share().await;
    let gateway = Gateway::start(setup("in-flight-max = 4\norder = \"none\"")).await;
    let (one, other) = (session(&gateway).await, session(&gateway).await);
    let mut of_one = subscribe(&one, "billing", "orders.>").await;
    let mut of_other = subscribe(&other, "billing", "orders.>").await;
    let publisher = session(&gateway).await;
    let mut seen = Vec::new();
    for n in 0..40 {
        publish(&publisher, "orders.created", &json!(n))
            .await
            .expect("stored");
        let (client, event) = tokio::select! {
            event = next_event(&mut of_one) => (&one, event),
            event = next_event(&mut of_other) => (&other, event),
        };
        acknowledge(client, &event).await.expect("on disk");
        seen.push(told(&event));
    }
    let expected: Vec<_> = (0..40).map(|n| (json!(n), 1)).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn who_only_listens_gets_events_of_durable_topics_too_and_once() {
    let _machine = share().await;
    let config = "[topics.\"orders.test.>\"]\ndelivery = \"at-most-once\"";
    let gateway = Gateway::start(setup(config)).await;
    let client = session(&gateway).await;
    let mut listening = client.events();
    let subscribed = ask_events(&client, "subscribe", &json!({"topics": ["orders.>"]})).await;
    subscribed.expect("subscribed");
    publish(&client, "orders.created", &json!(1))
        .await
        .expect("stored");
    publish(&client, "orders.test.created", &json!(2))
        .await
        .expect("told");
    for n in 1..=2 {
        let event = next_event(&mut listening).await;
        assert_eq!(event.event.payload, n.to_string());
        assert_eq!(event.event.headers.get_str("delivery"), None);
    }
    // The exception of the table within is not stored.
    assert_eq!(log(&gateway, "orders.>").await["events"], 1);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_what_to_do() {
    let _machine = share().await;
    let gateway = Gateway::start(setup("")).await;
    let client = session(&gateway).await;
    let refused = async |method, message| {
        let error = ask_events(&client, method, &message)
            .await
            .expect_err("refused");
        (error.kind, error.message.to_string())
    };
    let (kind, message) =
        refused("subscribe", json!({"topics": ["users.>"], "durable": "a"})).await;
    assert_eq!(kind, Kind::FailedPrecondition);
    assert!(
        message.contains("no durable topic matches users.>"),
        "{message}"
    );
    let (kind, _) = refused(
        "subscribe",
        json!({"topics": ["orders.>"], "durable": "a/b"}),
    )
    .await;
    assert_eq!(kind, Kind::InvalidArgument);
    let (kind, _) = refused("acknowledge", json!({"deliveries": ["7-0-1"]})).await;
    assert_eq!(kind, Kind::NotFound);
    let (kind, _) = refused("acknowledge", json!({"deliveries": ["7"]})).await;
    assert_eq!(kind, Kind::InvalidArgument);
    // What another session has is not this one's to acknowledge.
    let other = session(&gateway).await;
    let mut events_of = subscribe(&other, "billing", "orders.>").await;
    publish(&client, "orders.created", &json!(1))
        .await
        .expect("stored");
    let event = next_event(&mut events_of).await;
    let stolen = acknowledge(&client, &event).await.expect_err("refused");
    assert_eq!(stolen.kind, Kind::NotFound);
}

#[tokio::test]
async fn a_topic_becomes_durable_while_the_gateway_runs() {
    let _machine = share().await;
    let gateway = Gateway::start(setup("")).await;
    let file = gateway.folder().join("postern.toml");
    let before = std::fs::read_to_string(&file).expect("it is there");
    let more = format!("[topics.\"users.>\"]\ndelivery = \"at-least-once\"\n{before}");
    std::fs::write(&file, more).expect("it can be written");
    patiently("the topic is durable", async || {
        let topics = gateway.admin_json("/topics").await.to_string();
        topics.contains("users.>")
    })
    .await;
    let client = session(&gateway).await;
    publish(&client, "users.created", &json!(1))
        .await
        .expect("stored");
    let mut users = subscribe(&client, "crm", "users.>").await;
    assert_eq!(told(&next_event(&mut users).await), (json!(1), 1));
}
