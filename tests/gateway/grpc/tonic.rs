//! tonic against components without a schema, whose messages are octets: many streams at one time on one connection,
//! and a handler whose caller has left.

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use postern_tests::{Gateway, Setup, patiently};
use serde_json::Value;
use tokio::{sync::mpsc, task::JoinSet, time::timeout};
use tonic::Code;

use super::{
    PATIENCE,
    tonic_client::{connect, duplex, unary},
};
use crate::share;

/// The messages that are sent to a channel.
fn received(receiver: mpsc::Receiver<Bytes>) -> impl stream::Stream<Item = Bytes> + Send {
    stream::unfold(receiver, async |mut receiver| {
        let message = receiver.recv().await?;
        Some((message, receiver))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_a_hundred_streams_on_one_connection_gets_its_own_answers_in_turn() {
    const N_STREAMS: u32 = 100;
    const N_MESSAGES: u32 = 20;
    let _machine = share().await;
    // As many streams at one time as instances.
    let manifest = "[instances]\nmax = 128\nstream-share = 100\n";
    let setup = Setup::default().plugin("echo").file("echo.toml", manifest);
    let gateway = Gateway::start(setup).await;
    let client = connect(gateway.http).await;
    let mut streams = JoinSet::new();
    for n_stream in 0..N_STREAMS {
        let client = client.clone();
        streams.spawn(async move {
            let message = |n_message| Bytes::from(format!("{n_stream}: {n_message}"));
            let (sender, receiver) = mpsc::channel(1);
            // The head of a reply comes with its first message.
            sender.send(message(0)).await.expect("there is room");
            let mut replies = duplex(client, "/echo/EchoStream", received(receiver)).await?;
            for n_message in 0..N_MESSAGES {
                assert_eq!(replies.message().await?, Some(message(n_message)));
                let next = message(n_message + 1);
                sender.send(next).await.expect("the call goes on");
            }
            assert_eq!(replies.message().await?, Some(message(N_MESSAGES)));
            drop(sender);
            replies.message().await
        });
    }
    let ended = timeout(PATIENCE, streams.join_all())
        .await
        .expect("all end");
    for end in ended {
        assert_eq!(end.map_err(|status| status.to_string()), Ok(None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_is_told_that_its_caller_has_left() {
    const N_CALLERS: usize = 20;
    let _machine = share().await;
    let gateway = Gateway::start(Setup::default().plugin("async-rust")).await;
    let client = connect(gateway.http).await;
    // One that does not wait at that moment is ended without a word.
    for _ in 0..N_CALLERS {
        let replies = duplex(client.clone(), "/async-rust/Leave", stream::empty()).await;
        let mut replies = replies.expect("it answers");
        assert!(replies.message().await.expect("more").is_some());
    }
    patiently("a handler has been told", async || {
        let told = duplex(client.clone(), "/async-rust/Left", stream::empty()).await;
        let told = told
            .expect("it answers")
            .next()
            .await
            .expect("a message")
            .expect("whole");
        let told: Value = serde_json::from_slice(&told).expect("JSON");
        told["value"] == "told"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn octets_come_back_and_nobody_implements_what_nobody_has() {
    let _machine = share().await;
    let gateway = Gateway::start(Setup::default().plugin("echo")).await;
    let client = connect(gateway.http).await;
    let reply = unary(client.clone(), "/echo/Echo", Bytes::from_static(b"octets")).await;
    assert_eq!(
        reply.map_err(|status| status.to_string()),
        Ok(Bytes::from_static(b"octets"))
    );
    let status = unary(client, "/nobody/Echo", Bytes::new()).await;
    let status = status.expect_err("it fails");
    assert_eq!(status.code(), Code::Unimplemented, "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_messages_are_those_of_the_listener_and_change_while_it_serves() {
    let _machine = share().await;
    let config = |request: &str, reply: &str| {
        format!(
            "[listeners.http.grpc]\nmessage-bytes-max = \"{request}\"\nreply-bytes-max = \"{reply}\"\n"
        )
    };
    let setup = Setup {
        config: config("2KiB", "1KiB"),
        ..Setup::default()
    };
    let gateway = Gateway::start(setup.plugin("echo")).await;
    let client = connect(gateway.http).await;
    let ask = async |n_octets: usize| {
        let message = Bytes::from(vec![b'1'; n_octets]);
        unary(client.clone(), "/echo/Echo", message).await
    };
    assert_eq!(ask(1024).await.expect("within both").len(), 1024);
    for (n_octets, key) in [
        (1025, "grpc.reply-bytes-max"),
        (2049, "grpc.message-bytes-max"),
    ] {
        let status = ask(n_octets).await.expect_err("over a limit");
        assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
        let told = status.message();
        assert!(
            told.contains(key) && told.contains(&n_octets.to_string()),
            "{told}"
        );
    }
    let text = std::fs::read_to_string(gateway.folder().join("postern.toml")).expect("it is there");
    let wider = text.replace(&config("2KiB", "1KiB"), &config("4KiB", "4KiB"));
    assert_ne!(text, wider);
    std::fs::write(gateway.folder().join("postern.toml"), wider).expect("writable");
    patiently(
        "the connection that is open has the new limits",
        async || ask(2049).await.is_ok(),
    )
    .await;
}
