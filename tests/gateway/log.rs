//! The log: whoever reads it, or does not, makes no difference to calls; no peer fills it or forges
//! lines in it.

use std::{
    io::{BufRead as _, BufReader},
    time::{Duration, Instant},
};

use postern_core::Handler;
use postern_tests::{CallerTransport, Gateway, Setup, call, connect, patiently};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::{figure, share};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Calls whose lines are more than a pipe and the queue of the log hold.
const CALLERS: usize = 16;
const CALLS_EACH: usize = 1500;

/// Makes calls of `echo`; says how many were answered a second.
async fn calls_a_second(handler: &std::sync::Arc<dyn Handler>) -> u64 {
    let begun = Instant::now();
    let callers = (0..CALLERS).map(|_| {
        let handler = std::sync::Arc::clone(handler);
        tokio::spawn(async move {
            for _ in 0..CALLS_EACH {
                call(&*handler, "echo/Echo", "1").await.expect("an answer");
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        let answered = timeout(PATIENCE, caller).await;
        answered.expect("calls are answered").expect("no panic");
    }
    (CALLERS * CALLS_EACH) as u64 * 1000
        / u64::try_from(begun.elapsed().as_millis())
            .unwrap_or(1)
            .max(1)
}

async fn lines_lost(gateway: &Gateway, reason: &str) -> u64 {
    let (_, metrics) = gateway
        .admin("/metrics")
        .await
        .expect("the admin listener answers");
    let sample = format!("postern_log_lines_lost_total{{reason=\"{reason}\"}} ");
    let value = metrics.lines().find_map(|line| line.strip_prefix(&sample));
    value
        .and_then(|value| value.parse().ok())
        .expect("the family is there")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_reads_stops_nothing() {
    let _machine = share().await;
    let (unread, pipe) = std::io::pipe().expect("a pipe");
    let setup = Setup {
        config: "[log]\naccess = \"info\"\n".to_owned(),
        log_pipe: Some(pipe),
        ..Setup::default()
    };
    let mut gateway = Gateway::start(setup.plugin("echo")).await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    let stalled = calls_a_second(&handler).await;
    let live = timeout(PATIENCE, gateway.admin("/livez")).await;
    assert_eq!(live.expect("in time").map(|(status, _)| status), Ok(200));
    assert!(lines_lost(&gateway, "dropped").await > 0);

    let (sender, lines) = std::sync::mpsc::channel();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let reader = std::thread::spawn(move || {
        let mut reader = BufReader::new(unread);
        let mut line = String::new();
        // Reads until it is told to stall again; the pipe stays open.
        while stopped.try_recv().is_err() && reader.read_line(&mut line).is_ok_and(|n| n > 0) {
            let _ = sender.send(std::mem::take(&mut line));
        }
        reader
    });
    let read = calls_a_second(&handler).await;
    patiently("what was dropped is told", async || {
        lines
            .try_iter()
            .any(|line| line.contains("lines of the log were dropped"))
    })
    .await;
    figure(&format!(
        "calls/s while nobody reads the log: {stalled}, while somebody does: {read}"
    ));

    let _ = stop.send(());
    call(&*handler, "echo/Echo", "1")
        .await
        .expect("a line for the reader to stop at");
    let unread = reader.join().expect("the reader ends");
    calls_a_second(&handler).await;
    assert_eq!(gateway.terminate().await.code(), Some(0));
    drop(unread);
}

#[tokio::test]
async fn no_peer_forges_a_line() {
    let _machine = share().await;
    let setup = Setup {
        config: "[log]\naccess = \"info\"\nformat = \"text\"\n".to_owned(),
        ..Setup::default()
    };
    let gateway = Gateway::start(setup.plugin("probe")).await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    let forged = "2026-01-31T12:00:00.000000Z ERROR forged: \u{1b}[31mx";
    // By the name of a service that is not there, and by what a plugin says.
    let target = format!("a\n{forged}/b");
    call(&*handler, &target, "")
        .await
        .expect_err("no such service");
    let said = format!("said\n{forged}");
    let line = serde_json::json!({"level": "info", "message": said, "fields": {"f": said}});
    call(&*handler, "probe/Log", line.to_string())
        .await
        .expect("it is written");
    patiently("both have left their lines", async || {
        gateway.log().matches("12:00:00").count() >= 3
    })
    .await;
    let log = gateway.log();
    assert!(!log.contains('\u{1b}'), "{log}");
    assert!(
        !log.lines()
            .any(|line| line.starts_with("2026-01-31T12:00:00")),
        "{log}"
    );
}

/// A frame of HTTP/2 without a payload, or with one of 8 octets.
fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("short");
    let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, 0];
    frame.extend_from_slice(payload);
    frame
}

#[tokio::test]
async fn no_peer_fills_the_log_through_a_library() {
    const SETTINGS: u8 = 4;
    const PING: u8 = 6;
    const ACK: u8 = 1;
    let _machine = share().await;
    let gateway = Gateway::start(Setup::default()).await;
    let before = gateway.log().len();
    let mut socket = TcpStream::connect(gateway.http).await.expect("connects");
    let mut octets = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    octets.extend(frame(SETTINGS, 0, &[]));
    // Answers to questions that nobody asked.
    octets.extend(frame(PING, ACK, b"unasked!").repeat(20_000));
    octets.extend(frame(PING, 0, b"the last"));
    socket.write_all(&octets).await.expect("the gateway reads");
    let answered = async {
        let (mut seen, mut buffer) = (Vec::new(), [0; 4096]);
        while !seen.windows(8).any(|octets| octets == b"the last") {
            match socket.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(n_octets) => seen.extend_from_slice(&buffer[..n_octets]),
            }
        }
    };
    timeout(PATIENCE, answered)
        .await
        .expect("everything was read");
    drop(socket);
    // Whatever was logged is in the file when the process has ended.
    let mut gateway = gateway;
    gateway.terminate().await;
    let written = gateway.log().len() - before;
    assert!(written < 100_000, "{written} bytes of log");
}
