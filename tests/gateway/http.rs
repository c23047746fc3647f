//! Bounds of an HTTP listener by what they do to clients that write their own octets, over HTTP/1.1
//! and HTTP/2.

mod held;
mod kept;
mod pages;
pub(crate) mod raw;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use postern_tests::{CallerTransport, Gateway, Setup, call, connect, patiently, rss_bytes};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};

use self::raw::{
    DATA, END_STREAM, Frames, HEADERS, RST_STREAM, SETTINGS, SOON, WINDOW, answer, ask, frame,
    head, narrow, post,
};
use crate::{
    figure,
    listeners::{configuration, configure},
    own, share,
};

/// A gateway with the guest `misbehave`, these keys of its HTTP listener, and these tables.
async fn gateway(http: &str, config: &str) -> Gateway {
    let setup = Setup {
        http: http.to_owned(),
        config: format!("[plugins.limits]\ntime = \"30s\"\n{config}"),
        ..Setup::default()
    };
    Gateway::start(setup.plugin("misbehave")).await
}

/// The sum of all series that begin so.
async fn metric(gateway: &Gateway, series: &str) -> u64 {
    let (_, text) = gateway.admin("/metrics").await.expect("metrics");
    let lines = text.lines().filter(|line| line.starts_with(series));
    let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    values.sum()
}

async fn n_slow_readers(gateway: &Gateway) -> u64 {
    metric(gateway, "postern_slow_readers_total{listener=\"http\"").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_does_not_end_has_the_header_timeout() {
    let _machine = share().await;
    let gateway = gateway("header-timeout = \"300ms\"\n", "").await;
    let told = ask(gateway.http, "POST /v1/services/misb").await;
    assert!(told.starts_with("HTTP/1.1 408 "), "{told}");
    assert!(told.contains("did not arrive within 300 ms"), "{told}");
    // Who says nothing at all is told nothing.
    assert_eq!(ask(gateway.http, "").await, "");
    let mut frames = Frames::open(gateway.http, WINDOW).await;
    // `END_HEADERS` is not set.
    frames
        .send(&frame(HEADERS, END_STREAM, 1, &[0x83, 0x86]))
        .await;
    frames.ended().await;
    let whole = ask(gateway.http, post("misbehave/Echo", "", "{}")).await;
    assert!(whole.starts_with("HTTP/1.1 200 "), "{whole}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_arrive_has_the_body_timeout() {
    let _machine = share().await;
    let gateway = gateway("body-timeout = \"300ms\"\n", "").await;
    let request = post("misbehave/Echo", "", "never whole");
    let told = ask(gateway.http, &request[..request.len() - 3]).await;
    assert!(told.starts_with("HTTP/1.1 408 "), "{told}");
    assert!(told.contains("did not arrive within 300 ms"), "{told}");
    let mut frames = Frames::open(gateway.http, WINDOW).await;
    let part = frame(DATA, 0, 1, b"never whole");
    frames
        .send(&[head(1, "misbehave/Echo"), part].concat())
        .await;
    let told = frames.text(1).await;
    assert!(told.contains("did not arrive within 300 ms"), "{told}");
    frames.send(&raw::call(3, "misbehave/Echo", "{}")).await;
    assert_eq!(frames.text(3).await, "{}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_nothing_of_a_reply_for_the_write_timeout_loses_it() {
    const LARGE: &str = "{\"bytes\":8000000}";
    let _machine = share().await;
    let gateway = gateway("write-timeout = \"500ms\"\n", "").await;
    let mut unread = narrow(gateway.http).await;
    let request = post("misbehave/BigOutput", "", LARGE);
    unread.write_all(request.as_bytes()).await.expect("written");
    let mut frames = Frames::open(gateway.http, 0).await;
    frames
        .send(&raw::call(1, "misbehave/BigOutput", LARGE))
        .await;
    let begin = Instant::now();
    loop {
        let (kind, stream, _) = frames.next().await.expect("it stays open");
        if (kind, stream) == (RST_STREAM, 1) {
            break;
        }
    }
    patiently("both count as slow readers", async || {
        n_slow_readers(&gateway).await == 2
    })
    .await;
    // Unless the key is passed on, it takes the 30 s of the default.
    let elapsed = begin.elapsed();
    assert!(elapsed < Duration::from_secs(25), "{elapsed:?}");
    // The connection over HTTP/1.1 has ended within the reply; what the kernel had of it comes.
    let mut n_octets = 0;
    let mut buffer = vec![0; 1 << 16];
    while let Ok(n @ 1..) = timeout(SOON, unread.read(&mut buffer))
        .await
        .expect("it ends")
    {
        n_octets += n;
    }
    assert!(n_octets < 8_000_000, "{n_octets} octets came");
    // Over HTTP/2 only the stream has.
    frames.send(&raw::call(3, "misbehave/Echo", "")).await;
    frames.wait_for(HEADERS, 3).await;
}

/// Asks for 100 large replies and takes none; reads until each is ended.
async fn take_nothing(gateway: std::net::SocketAddr) -> usize {
    const N_STREAMS: u32 = 100;
    let mut frames = Frames::open(gateway, 0).await;
    let ids = (0..N_STREAMS).map(|n| 2 * n + 1);
    let calls = ids.map(|id| raw::call(id, "misbehave/BigOutput", "{\"bytes\":7900000}"));
    frames.send(&calls.collect::<Vec<_>>().concat()).await;
    let mut n_ended = 0;
    while n_ended < N_STREAMS as usize {
        // The guest computes a reply after the other.
        let next = frames.next_within(Duration::from_secs(60));
        let Some((kind, ..)) = next.await else {
            break;
        };
        n_ended += usize::from(kind == RST_STREAM);
    }
    n_ended
}

#[tokio::test(flavor = "multi_thread")]
async fn large_replies_that_nobody_takes_fill_no_memory_and_end() {
    const RSS_BYTES_MAX: u64 = 400 << 20;
    let _machine = own().await;
    let config = "[plugins.instances]\nmax = 2\nqueue-timeout = \"5m\"\n";
    let gateway = gateway("write-timeout = \"1s\"\n", config).await;
    let before = rss_bytes(gateway.id());
    let begin = Instant::now();
    let mut clients: JoinSet<_> = (0..2).map(|_| take_nothing(gateway.http)).collect();
    let (mut rss, mut held, mut n_ended) = (0, 0, Vec::new());
    while !clients.is_empty() {
        let looking = timeout(Duration::from_millis(20), clients.join_next()).await;
        n_ended.extend(looking.ok().flatten().map(|ended| ended.expect("no panic")));
        rss = rss.max(rss_bytes(gateway.id()));
        held = held.max(metric(&gateway, "postern_held_bytes ").await);
    }
    let (mib, elapsed) = (|octets: u64| octets >> 20, begin.elapsed());
    figure(&format!(
        "2 x 100 replies of 7.9 MB not taken: ended {n_ended:?} in {elapsed:.1?}, held at most {} MiB, \
         resident {} MiB, before {} MiB",
        mib(held),
        mib(rss),
        mib(before)
    ));
    assert!(rss < RSS_BYTES_MAX, "{} MiB are resident", mib(rss));
    assert!(held > 7 << 20, "some were held: {held}");
    assert!(
        held <= 2 * (32 << 20),
        "two connections may hold 32 MiB each: {held}"
    );
    assert!(n_slow_readers(&gateway).await > 0);
    patiently("nothing is held", async || {
        metric(&gateway, "postern_held_bytes ").await == 0
    })
    .await;
    let tcp = connect(&gateway, CallerTransport::Tcp).await;
    call(&*tcp, "misbehave/Echo", "1")
        .await
        .expect("it serves on");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_max_is_told_and_one_more_is_refused() {
    const REFUSED_STREAM: [u8; 4] = [0, 0, 0, 7];
    let _machine = share().await;
    let gateway = gateway("streams-max = 2\n", "").await;
    let mut frames = Frames::open(gateway.http, WINDOW).await;
    let settings = frames.wait_for(SETTINGS, 0).await;
    // SETTINGS_MAX_CONCURRENT_STREAMS is 3.
    let told = settings
        .chunks(6)
        .any(|setting| setting == [0, 3, 0, 0, 0, 2]);
    assert!(told, "{settings:?}");
    let calls = [1, 3, 5].map(|id| raw::call(id, "misbehave/Burn", "{\"ms\":1000}"));
    frames.send(&calls.concat()).await;
    let (mut refused, mut answered) = (BTreeMap::new(), BTreeSet::new());
    while refused.len() + answered.len() < 3 {
        match frames.next().await.expect("it stays open") {
            // What comes after for a stream that was refused is refused under another code.
            (RST_STREAM, id, code) => {
                refused.entry(id).or_insert(code);
            }
            (DATA, id, octets) if !octets.is_empty() => {
                answered.insert(id);
            }
            _ => {}
        }
    }
    assert_eq!(refused, BTreeMap::from([(5, REFUSED_STREAM.to_vec())]));
    assert_eq!(answered, BTreeSet::from([1, 3]));
    frames.send(&raw::call(7, "misbehave/Echo", "{}")).await;
    assert_eq!(frames.text(7).await, "{}");
}

#[tokio::test(flavor = "multi_thread")]
async fn drain_timeout_bounds_what_a_closed_http_listener_has_left() {
    let _machine = share().await;
    let gateway = gateway("drain-timeout = \"300ms\"\n", "").await;
    let request = post("misbehave/Burn", "", "{\"ms\":25000}");
    let mut one = TcpStream::connect(gateway.http).await.expect("open");
    one.write_all(request.as_bytes()).await.expect("written");
    let mut two = Frames::open(gateway.http, WINDOW).await;
    two.send(&raw::call(1, "misbehave/Burn", "{\"ms\":25000}"))
        .await;
    patiently("both calls are being answered", async || {
        let plugin = gateway.admin_json("/plugins/misbehave").await;
        plugin["instances"].as_u64() > Some(1)
    })
    .await;
    let text = configuration(&gateway);
    let disabled = "[listeners.http]\nenabled = false";
    configure(&gateway, &text.replace("[listeners.http]", disabled)).await;
    // Less than the default of 10 s, and than the calls would take.
    let told = answer(&mut one).await;
    assert!(!told.contains(" 200 "), "{told}");
    two.ended().await;
    let tcp = connect(&gateway, CallerTransport::Tcp).await;
    call(&*tcp, "misbehave/Echo", "1")
        .await
        .expect("it serves on");
}
