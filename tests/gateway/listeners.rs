//! Listeners whose settings change while they serve: sockets, connections and calls go on.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use postern_core::{
    Headers, Kind,
    wire::{Frame, FrameType},
};
use postern_net::{Client, ClientConfig, Target};
use postern_tests::{Door, Gateway, Load, Setup, call, connect, patiently};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};

use crate::{figure, own, share};

const N_CHANGES: u32 = 12;

/// Changes of the configuration that are in force.
async fn n_applied(gateway: &Gateway) -> u64 {
    let (_, text) = gateway.admin("/metrics").await.expect("metrics");
    number(&text, "postern_config_reloads_total{result=\"applied\"}")
}

/// The value of one series.
fn number(metrics: &str, series: &str) -> u64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(series));
    let value = line.and_then(|rest| rest.trim().parse().ok());
    value.unwrap_or_else(|| panic!("no {series} in {metrics}"))
}

/// Puts `text` in the place of the configuration, as a careful editor does, and waits until it is in
/// force.
pub(crate) async fn configure(gateway: &Gateway, text: &str) {
    let before = n_applied(gateway).await;
    let (file, beside) = (
        gateway.folder().join("postern.toml"),
        gateway.folder().join("postern.toml.new"),
    );
    fs::write(&beside, text).expect("the folder is writable");
    fs::rename(beside, file).expect("renamed");
    patiently("the change is in force", async || {
        n_applied(gateway).await > before
    })
    .await;
}

pub(crate) fn configuration(gateway: &Gateway) -> String {
    fs::read_to_string(gateway.folder().join("postern.toml")).expect("the file is there")
}

/// The sockets that listen at `address`, by their inodes.
fn sockets(gateway: &Gateway, address: SocketAddr) -> BTreeSet<String> {
    const LISTENING: &str = "0A";
    let port = format!(":{:04X}", address.port());
    let mut found = BTreeSet::new();
    for kind in ["tcp", "udp"] {
        let table = fs::read_to_string(format!("/proc/{}/net/{kind}", gateway.id()));
        for line in table.expect("linux tells it").lines().skip(1) {
            let fields: Vec<_> = line.split_whitespace().collect();
            if fields[1].ends_with(&port) && (kind == "udp" || fields[3] == LISTENING) {
                found.insert(format!("{kind} {}", fields[9]));
            }
        }
    }
    found
}

/// Work that goes on until it is told to stop, and what failed of it.
struct Steady {
    stop: Arc<AtomicBool>,
    task: JoinHandle<(usize, BTreeMap<String, usize>)>,
}

impl Steady {
    fn start<F>(work: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let stop = Arc::<AtomicBool>::default();
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let (mut n_done, mut failures) = (0, BTreeMap::new());
            while !stopped.load(Ordering::Relaxed) {
                match work().await {
                    Ok(()) => n_done += 1,
                    Err(error) => *failures.entry(error).or_default() += 1,
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            (n_done, failures)
        });
        Self { stop, task }
    }

    async fn stop(self, what: &str) {
        self.stop.store(true, Ordering::Relaxed);
        let (n_done, failures) = self.task.await.expect("no panic");
        figure(&format!(
            "{N_CHANGES} changes, {what}: {n_done} well, {failures:?}"
        ));
        assert!(failures.is_empty(), "{what}: {failures:?}");
        assert!(n_done > 0, "{what}");
    }
}

/// One request over a connection of its own.
async fn http_once(address: SocketAddr) -> Result<(), String> {
    let mut stream = TcpStream::connect(address)
        .await
        .map_err(|error| error.to_string())?;
    http_call(&mut stream).await
}

/// One request over a connection that stays.
async fn http_call(stream: &mut TcpStream) -> Result<(), String> {
    const REQUEST: &[u8] = b"POST /v1/services/echo/Echo HTTP/1.1\r\nhost: localhost\r\n\
        content-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
    stream
        .write_all(REQUEST)
        .await
        .map_err(|error| error.to_string())?;
    let mut answer = BytesMut::new();
    loop {
        let read = stream.read_buf(&mut answer).await;
        if read.map_err(|error| error.to_string())? == 0 {
            return Err("the connection ended".to_owned());
        }
        let text = String::from_utf8_lossy(&answer).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && body == "{}"
        {
            let status = head.split(' ').nth(1).unwrap_or_default();
            return (status == "200")
                .then_some(())
                .ok_or_else(|| head.to_owned());
        }
    }
}

async fn vstp_once(address: SocketAddr) -> Result<(), String> {
    let client = Client::connect(Target::tcp(address), ClientConfig::default()).await;
    let client = client.map_err(|error| error.to_string())?;
    let answered = call(&client, "echo/Echo", "{}").await;
    answered.map_err(|error| error.to_string())?;
    client.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn twelve_changes_under_load_touch_no_call_and_no_connection() {
    let _machine = own().await;
    let gateway = Gateway::start(Setup::default().plugin("echo")).await;
    let (http, vstp) = (gateway.http, gateway.vstp);
    let before = (sockets(&gateway, http), sockets(&gateway, vstp));
    assert_eq!((before.0.len(), before.1.len()), (1, 2), "{before:?}");

    let subscriber = Client::connect(Target::tcp(vstp), ClientConfig::default()).await;
    let subscriber = subscriber.expect("a session");
    let mut events = subscriber.events();
    let topics = json!({"topics": ["change.*"]}).to_string();
    call(&subscriber, "events/subscribe", topics)
        .await
        .expect("subscribed");

    let mut kept = Vec::new();
    for door in Door::ALL {
        let handler = connect(&gateway, door).await;
        let pause = Duration::from_millis(2);
        kept.push((
            door,
            Load::start(&handler, "echo/Echo", &Bytes::from("{}"), 2, pause),
        ));
    }
    let raw = Arc::new(tokio::sync::Mutex::new(
        TcpStream::connect(http).await.expect("open"),
    ));
    let new_http = Steady::start(move || http_once(http));
    let new_vstp = Steady::start(move || vstp_once(vstp));
    let kept_http = Steady::start(move || {
        let raw = Arc::clone(&raw);
        async move { http_call(&mut *raw.lock().await).await }
    });

    let text = configuration(&gateway);
    for n in 1..=N_CHANGES {
        change(&gateway, &text, n).await;
        expect_event(&subscriber, &mut events, n).await;
    }
    assert_eq!((sockets(&gateway, http), sockets(&gateway, vstp)), before);
    new_http.stop("new connections over http").await;
    kept_http.stop("one connection over http").await;
    new_vstp.stop("new connections over tcp").await;
    for (door, load) in kept {
        let outcome = load.stop().await;
        figure(&format!(
            "{N_CHANGES} changes, {door}, kept: {}",
            outcome.answered
        ));
        assert!(
            outcome.failures.is_empty(),
            "{door}: {:?}",
            outcome.failures
        );
        assert!(!outcome.answered.is_empty(), "{door}");
    }
}

/// Change `n` of both listeners; no address among it.
async fn change(gateway: &Gateway, text: &str, n: u32) {
    let changed = text.replace(
        "[listeners.vstp]",
        &format!("[listeners.vstp]\nkeep-alive = \"{}s\"", 30 + n),
    );
    let cors = format!(
        "\n[listeners.http.cors]\norigins = [\"https://app.example\"]\nmax-age = \"{n}m\"\n"
    );
    configure(gateway, &format!("{changed}{cors}")).await;
    let shown = preflight(gateway.http).await;
    assert!(
        shown.contains(&format!("access-control-max-age: {}", n * 60)),
        "change {n} is in force: {shown}"
    );
}

/// Publishes an event, which the subscription from before the changes brings.
async fn expect_event(subscriber: &Client, events: &mut postern_net::client::Events, n: u32) {
    let event = json!({"topic": "change.made", "payload": {"n": n}}).to_string();
    call(subscriber, "events/publish", event)
        .await
        .expect("published");
    let delivered = tokio::time::timeout(Duration::from_secs(30), events.next()).await;
    let delivered = delivered
        .expect("in time")
        .expect("the subscription goes on");
    assert_eq!(delivered.missed, 0);
}

/// What the listener says to a page of another origin, in lower case.
async fn preflight(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).await.expect("open");
    let request = "OPTIONS /v1/services/echo/Echo HTTP/1.1\r\nhost: localhost\r\n\
        origin: https://app.example\r\naccess-control-request-method: POST\r\n\
        connection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("read");
    answer.to_lowercase()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transport_is_added_and_removed_beside_one_that_stays() {
    let _machine = share().await;
    let gateway = Gateway::start(Setup::default().plugin("echo")).await;
    let text = configuration(&gateway);
    let before = sockets(&gateway, gateway.vstp);
    let kept = connect(&gateway, Door::Tcp).await;
    let only = |transports: &str| {
        text.replace(
            "[listeners.vstp]",
            &format!("[listeners.vstp]\ntransports = {transports}"),
        )
    };
    configure(&gateway, &only("[\"tcp\"]")).await;
    patiently("the datagram socket is closed", async || {
        sockets(&gateway, gateway.vstp).len() == 1
    })
    .await;
    assert!(sockets(&gateway, gateway.vstp).is_subset(&before));
    configure(&gateway, &only("[\"tcp\", \"udp\"]")).await;
    let after = sockets(&gateway, gateway.vstp);
    assert_eq!(
        (after.len(), after.intersection(&before).count()),
        (2, 1),
        "{after:?}"
    );
    let datagrams = connect(&gateway, Door::Udp).await;
    for handler in [kept, datagrams] {
        let reply = call(&*handler, "echo/Echo", "{}").await;
        assert_eq!(reply.expect("answered"), "{}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_in_flight_max_holds_over_tcp_and_udp() {
    let _machine = share().await;
    let setup = Setup {
        vstp: "calls-in-flight-max = 1\n".to_owned(),
        ..Setup::default()
    };
    let gateway = Gateway::start(setup.plugin("misbehave")).await;
    // Over TCP the second call is not read before the first is answered.
    let mut stream = TcpStream::connect(gateway.vstp).await.expect("open");
    let mut octets = BytesMut::new();
    request("Burn", "slow", "{\"ms\":500}")
        .encode(&mut octets)
        .expect("short");
    request("Echo", "quick", "{}")
        .encode(&mut octets)
        .expect("short");
    stream.write_all(&octets).await.expect("written");
    for id in ["slow", "quick"] {
        let answer = recv(&mut stream).await.expect("an answer");
        assert_eq!(
            answer.headers.get_str("correlation-id").as_deref(),
            Some(id)
        );
    }
    // Over UDP, where nobody can be told to wait, it is refused.
    let client = connect(&gateway, Door::Udp).await;
    let slow = call(&*client, "misbehave/Burn", "{\"ms\":900}");
    let quick = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        call(&*client, "misbehave/Echo", "{}").await
    };
    let (slow, quick) = tokio::join!(slow, quick);
    slow.expect("answered");
    assert_eq!(
        quick.expect_err("over the limit").kind,
        Kind::ResourceExhausted
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_nothing_for_the_write_timeout_is_closed() {
    let _machine = share().await;
    let setup = Setup {
        vstp: "write-timeout = \"200ms\"\n".to_owned(),
        ..Setup::default()
    };
    let gateway = Gateway::start(setup.plugin("echo")).await;
    let stream = TcpStream::connect(gateway.vstp).await.expect("open");
    let (_unread, mut writer) = stream.into_split();
    let frame = request_to("echo", "Echo", "1", vec![7; 512 * 1024]);
    let mut octets = BytesMut::new();
    frame.encode(&mut octets).expect("short");
    let begin = Instant::now();
    let flood = tokio::spawn(async move { while writer.write_all(&octets).await.is_ok() {} });
    let series = "postern_slow_readers_total{listener=\"vstp\",transport=\"tcp\"}";
    patiently("the slow reader is closed", async || {
        let (_, text) = gateway.admin("/metrics").await.expect("metrics");
        number(&text, series) == 1
    })
    .await;
    // Unless the key is passed on, it takes the 30 s of the default.
    assert!(
        begin.elapsed() < Duration::from_secs(20),
        "{:?}",
        begin.elapsed()
    );
    flood.await.expect("ended with the connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn drain_timeout_bounds_what_a_closed_listener_has_left() {
    let _machine = share().await;
    let setup = Setup {
        vstp: "drain-timeout = \"300ms\"\n".to_owned(),
        config: "[plugins.limits]\ntime = \"30s\"\n".to_owned(),
        ..Setup::default()
    };
    let gateway = Gateway::start(setup.plugin("misbehave")).await;
    let mut calls = Vec::new();
    for door in [Door::Tcp, Door::Udp] {
        let handler = connect(&gateway, door).await;
        calls.push(tokio::spawn(async move {
            call(&*handler, "misbehave/Burn", "{\"ms\":20000}").await
        }));
    }
    patiently("both calls are being answered", async || {
        let plugin = gateway.admin_json("/plugins/misbehave").await;
        plugin["instances"].as_u64() > Some(1)
    })
    .await;
    let begin = Instant::now();
    let text = configuration(&gateway);
    configure(
        &gateway,
        &text.replace("[listeners.vstp]", "[listeners.vstp]\nenabled = false"),
    )
    .await;
    patiently("both sockets are closed", async || {
        sockets(&gateway, gateway.vstp).is_empty()
    })
    .await;
    let tcp = calls.remove(0).await.expect("no panic");
    assert_eq!(tcp.expect_err("cut").kind, Kind::Unavailable);
    // Less than the default of 10 s, and than the call would take.
    assert!(
        begin.elapsed() < Duration::from_secs(8),
        "{:?}",
        begin.elapsed()
    );
    calls.remove(0).abort();
}

fn request(method: &str, id: &str, body: &'static str) -> Frame {
    request_to("misbehave", method, id, body)
}

fn request_to(service: &str, method: &str, id: &str, body: impl Into<Bytes>) -> Frame {
    let mut headers = Headers::new();
    for (key, value) in [
        ("service", service),
        ("method", method),
        ("correlation-id", id),
    ] {
        headers.push(key, value).expect("short");
    }
    Frame::data(headers, body)
}

/// The next frame; `None` at the end of the stream.
async fn recv(stream: &mut TcpStream) -> Option<Frame> {
    let mut decoder = postern_core::wire::Decoder::new(usize::MAX);
    let mut octets = BytesMut::new();
    loop {
        // One octet at a time, so that none of the next frame is taken.
        let octet = stream.read_u8().await.ok()?;
        octets.extend_from_slice(&[octet]);
        if let Some(frame) = decoder.decode(&mut octets).expect("a frame") {
            assert_eq!(frame.kind, FrameType::Data);
            return Some(frame);
        }
    }
}
