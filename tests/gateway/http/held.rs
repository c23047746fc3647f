//! What connections may make the gateway hold: bodies and frames that do not end, over every
//! listener together and by each connection.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use postern_core::{Headers, Kind, wire::Frame};
use postern_tests::{CallerTransport, Gateway, Load, Setup, call, connect, patiently, rss_bytes};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

use super::{
    metric,
    raw::{self, DATA, Frames, WINDOW, ask, frame, head, post},
};
use crate::{figure, own, share};

const MIB: usize = 1 << 20;
/// Octets of a message that do not come.
const MISSING: usize = 1024;

/// What the gateway said first to each sender that it has answered.
type Answers = Arc<Mutex<Vec<String>>>;

/// A POST whose body is declared as that long, without its last octets.
fn unfinished_body(n_octets: usize) -> Vec<u8> {
    let mut request = post("echo/Echo", "", &"1".repeat(n_octets)).into_bytes();
    request.truncate(request.len() - MISSING);
    request
}

/// A frame for `echo` of about that many octets, without its last ones.
fn unfinished_frame(n_octets: usize) -> Vec<u8> {
    let mut headers = Headers::new();
    for (key, value) in [
        ("service", "echo"),
        ("method", "Echo"),
        ("correlation-id", "1"),
    ] {
        headers.push(key, value).expect("short");
    }
    let frame = Frame::data(headers, vec![b'1'; n_octets - MISSING]);
    let mut octets = BytesMut::new();
    frame.encode(&mut octets).expect("it fits");
    octets.truncate(octets.len() - MISSING);
    octets.to_vec()
}

/// Sends `octets`, keeps the connection, and notes what the gateway says.
async fn sender(address: SocketAddr, octets: Arc<Vec<u8>>, answers: Answers) {
    let mut stream = TcpStream::connect(address).await.expect("open");
    // Who is refused may see it while it still writes.
    let _ = stream.write_all(&octets).await;
    let mut told = Vec::new();
    while !told.ends_with(b"}") && matches!(stream.read_buf(&mut told).await, Ok(1..)) {}
    let told = String::from_utf8_lossy(&told).into_owned();
    answers.lock().expect("nobody panics with it").push(told);
}

async fn held(gateway: &Gateway) -> usize {
    let held = metric(gateway, "postern_held_bytes ").await;
    usize::try_from(held).expect("it fits")
}

/// Short calls over every transport, one after the other.
async fn start_others(gateway: &Gateway) -> Vec<(CallerTransport, Load)> {
    let mut others = Vec::new();
    for transport in CallerTransport::ALL {
        let (handler, body) = (connect(gateway, transport).await, Bytes::from_static(b"{}"));
        let pause = Duration::from_millis(5);
        others.push((
            transport,
            Load::start(&handler, "echo/Echo", &body, 1, pause),
        ));
    }
    others
}

/// How many of them were answered over each; none failed.
async fn stop_others(others: Vec<(CallerTransport, Load)>) -> Vec<usize> {
    let mut n_answered = Vec::new();
    for (transport, load) in others {
        let outcome = load.stop().await;
        assert!(
            outcome.failures.is_empty(),
            "{transport}: {:?}",
            outcome.failures
        );
        assert!(!outcome.answered.is_empty(), "{transport}");
        n_answered.push(outcome.answered.len());
    }
    n_answered
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_messages_of_all_connections_are_bounded_and_others_served() {
    const BOUND: usize = 64 * MIB;
    let _machine = own().await;
    let setup = Setup {
        config: "[calls]\nheld-bytes-max = \"64MiB\"\n".to_owned(),
        http: "body-timeout = \"5m\"\n".to_owned(),
        vstp: "limits = { fragment-age-max = \"5m\" }\n".to_owned(),
        ..Setup::default()
    };
    let gateway = Gateway::start(setup.plugin("echo")).await;
    let others = start_others(&gateway).await;
    let (over_http, over_vstp) = (Answers::default(), Answers::default());
    let body = Arc::new(unfinished_body(8_000_000));
    let part = Arc::new(unfinished_frame(8 * MIB));
    let mut senders = JoinSet::new();
    for n in 0..60 {
        senders.spawn(sender(
            gateway.http,
            Arc::clone(&body),
            Arc::clone(&over_http),
        ));
        if n % 2 == 0 {
            senders.spawn(sender(
                gateway.vstp,
                Arc::clone(&part),
                Arc::clone(&over_vstp),
            ));
        }
    }
    let mut most = 0;
    let all_told = || [&over_http, &over_vstp].map(|told| told.lock().expect("whole").len());
    patiently("the bound is met and both kinds are refused", async || {
        most = most.max(held(&gateway).await);
        // Beyond what fits, nearly all are refused at last.
        all_told().iter().sum::<usize>() >= 75 && all_told().iter().all(|told| *told > 0)
    })
    .await;
    // The rest stays, and is what others are served beside.
    tokio::time::sleep(Duration::from_secs(1)).await;
    most = most.max(held(&gateway).await);
    let n_answered = stop_others(others).await;
    let rss = rss_bytes(gateway.id());
    let n_refused = metric(&gateway, "postern_held_bytes_refusals_total").await;
    figure(&format!(
        "60 bodies and 30 frames of 8 MB unfinished: held at most {} MiB of {}, refused {n_refused}, \
         told {:?}, {n_answered:?} calls of others, resident {} MiB",
        most / MIB,
        BOUND / MIB,
        all_told(),
        rss >> 20
    ));
    assert!((BOUND / 2..=BOUND).contains(&most), "{most} were held");
    assert!(n_refused >= 75, "{n_refused}");
    assert!(rss < 400 << 20, "{rss} are resident");
    for told in over_http.lock().expect("whole").iter() {
        let is_good =
            told.is_empty() || told.starts_with("HTTP/1.1 503 ") && told.contains("retry-after: ");
        assert!(is_good, "{told}");
    }
    drop(senders);
    patiently("nothing is held", async || held(&gateway).await == 0).await;
    let large = ask(gateway.http, post("echo/Echo", "", &"1".repeat(7 * MIB))).await;
    assert!(large.starts_with("HTTP/1.1 200 "), "{}", &large[..100]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_holds_no_more_than_its_share() {
    let _machine = share().await;
    let key = "held-bytes-per-connection-max = \"1MiB\"\n";
    let setup = Setup {
        http: key.to_owned(),
        vstp: key.to_owned(),
        ..Setup::default()
    };
    let gateway = Gateway::start(setup.plugin("misbehave").plugin("echo")).await;
    // A request and a reply over HTTP/1.1.
    let small = "{\"bytes\":2000000}";
    for request in [
        post("echo/Echo", "", &"1".repeat(2 * MIB)),
        post("misbehave/BigOutput", "", small),
    ] {
        let told = ask(gateway.http, request).await;
        assert!(told.starts_with("HTTP/1.1 429 "), "{told}");
        assert!(told.contains("exceed its limit of 1048576"), "{told}");
    }
    // Two requests over HTTP/2, each of which would fit.
    let mut frames = Frames::open(gateway.http, WINDOW).await;
    frames.wait_for(raw::SETTINGS, 0).await;
    for id in [1, 3] {
        frames.send(&head(id, "echo/Echo")).await;
        for _ in 0..50 {
            frames.send(&frame(DATA, 0, id, &[b'1'; 12_000])).await;
            // The window of a connection is 1 MiB: the gateway takes what has come before more comes.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    let told = loop {
        let (kind, _, octets) = frames.next().await.expect("it stays open");
        if kind == DATA && !octets.is_empty() {
            break String::from_utf8_lossy(&octets).into_owned();
        }
    };
    assert!(told.contains("exceed its limit of 1048576"), "{told}");
    // A frame and a reply over VSTP.
    let answers = Answers::default();
    let part = Arc::new(unfinished_frame(2 * MIB));
    tokio::spawn(sender(gateway.vstp, part, Arc::clone(&answers)));
    patiently("the frame is refused", async || {
        let answers = answers.lock().expect("whole");
        answers
            .iter()
            .any(|told| told.contains("resource-exhausted"))
    })
    .await;
    let tcp = connect(&gateway, CallerTransport::Tcp).await;
    let error = call(&*tcp, "misbehave/BigOutput", small).await;
    assert_eq!(error.expect_err("too long").kind, Kind::ResourceExhausted);
    // What fits is answered, by connections that were refused something, too.
    call(&*tcp, "echo/Echo", "{}").await.expect("it fits");
    let fits = ask(gateway.http, post("echo/Echo", "", &"1".repeat(MIB / 2))).await;
    assert!(fits.starts_with("HTTP/1.1 200 "), "{}", &fits[..100]);
}
