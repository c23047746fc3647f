//! Bodies of a GiB each way, by what the gateway holds of them.

use std::{
    convert::Infallible,
    fs::File,
    net::SocketAddr,
    os::unix::fs::FileExt as _,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Body, Frame, SizeHint};
use postern_tests::{Gateway, rss_bytes};
use serde_json::Value;
use tokio::{net::TcpStream, task::JoinHandle, time::timeout};

use super::{
    HttpBin, Nginx,
    asked::{AUTHORITY, Protocol, send},
    in_front_of,
};
use crate::{figure, own};

const MIB: u64 = 1 << 20;
const LENGTH: u64 = 1024 * MIB;
/// Before anything is measured: buffers and threads of the gateway are there then.
const WARM_UP: u64 = 32 * MIB;
/// What the gateway may hold of a body, in octets: a thirty-second part.
const GROWTH_MAX: u64 = 32 * MIB;
const PATIENCE: Duration = Duration::from_secs(180);

/// So many octets, none of which is kept.
struct Long {
    left: u64,
    piece: Bytes,
}

impl Long {
    fn new(length: u64) -> Self {
        Self {
            left: length,
            piece: vec![0x5a; 256 << 10].into(),
        }
    }
}

impl Body for Long {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let length = self.left.min(self.piece.len() as u64);
        self.left -= length;
        let piece = self.piece.slice(..usize::try_from(length).expect("short"));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// The most resident memory of a process while something goes on.
struct Peak {
    is_over: Arc<AtomicBool>,
    peak: Arc<AtomicU64>,
    task: JoinHandle<()>,
    before: u64,
}

impl Peak {
    fn watch(gateway: &Gateway) -> Self {
        let (is_over, peak) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (ended, highest, id) = (Arc::clone(&is_over), Arc::clone(&peak), gateway.id());
        let task = tokio::task::spawn_blocking(move || {
            while !ended.load(Ordering::Relaxed) {
                highest.fetch_max(rss_bytes(id), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        Self {
            is_over,
            peak,
            task,
            before: rss_bytes(gateway.id()),
        }
    }

    /// How many octets it was more than before.
    async fn growth(self) -> u64 {
        self.is_over.store(true, Ordering::Relaxed);
        self.task.await.expect("no panic");
        let peak = self.peak.load(Ordering::Relaxed);
        peak.saturating_sub(self.before)
    }
}

/// Every MiB of a file says at its beginning where it stands; between there is nothing on the disk.
fn write_marked(nginx: &Nginx, name: &str, length: u64) {
    let file = File::create(nginx.folder.path().join("www").join(name)).expect("created");
    file.set_len(length).expect("room for nothing");
    for at in (0..length).step_by(usize::try_from(MIB).expect("short")) {
        file.write_all_at(&(at + 1).to_le_bytes(), at)
            .expect("written");
    }
}

/// Reads the file `name` through the gateway and looks at every mark.
async fn download(address: SocketAddr, name: &str, length: u64) {
    let request = Request::get(format!("/{name}")).header("host", AUTHORITY);
    let request = request.body(Empty::<Bytes>::new()).expect("a request");
    let stream = TcpStream::connect(address).await.expect("it listens");
    let response = send(stream, Protocol::Http1, request).await;
    let mut body = response.expect("a response").into_body();
    let mut at = 0;
    // Of the mark that is being read: a piece may end within it.
    let mut mark = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.expect("whole").into_data() else {
            continue;
        };
        let mut data = &data[..];
        while !data.is_empty() {
            let of_mib = at % MIB;
            let n_left = if of_mib < 8 { 8 - of_mib } else { MIB - of_mib };
            let n_octets = data.len().min(usize::try_from(n_left).expect("short"));
            let (octets, rest) = data.split_at(n_octets);
            if of_mib < 8 {
                mark.extend_from_slice(octets);
                if mark.len() == 8 {
                    let expected = (at - of_mib + 1).to_le_bytes();
                    assert_eq!(mark, expected, "the MiB at {at}");
                    mark.clear();
                }
            }
            at += n_octets as u64;
            data = rest;
        }
    }
    assert_eq!(at, length);
}

async fn upload(address: SocketAddr, length: u64) {
    let request = Request::post("/upload").header("host", AUTHORITY);
    let request = request.header("content-length", length);
    let request = request.body(Long::new(length)).expect("a request");
    let stream = TcpStream::connect(address).await.expect("it listens");
    let response = send(stream, Protocol::Http1, request).await;
    let response = response.expect("a response");
    assert_eq!(response.status(), 200);
    let told = response.into_body().collect().await.expect("whole");
    let told: Value = serde_json::from_slice(&told.to_bytes()).expect("JSON");
    assert_eq!(told["bytes_received"].as_u64(), Some(length), "{told}");
}

/// Checks what the gateway grows by while `exchange` goes on.
async fn measure(gateway: &Gateway, what: &str, exchange: impl Future<Output = ()>) {
    let peak = Peak::watch(gateway);
    let begin = Instant::now();
    let done = timeout(PATIENCE, exchange).await;
    done.unwrap_or_else(|_| panic!("{what} is not over after {PATIENCE:?}"));
    let elapsed = begin.elapsed();
    let growth = peak.growth().await;
    figure(&format!(
        "proxy, a GiB {what}: {elapsed:.1?}, {} KiB more in memory at most",
        growth / 1024
    ));
    assert!(growth < GROWTH_MAX, "{what}: {growth} octets more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gib_from_nginx_passes_at_flat_memory() {
    let _machine = own().await;
    let nginx = Nginx::start().await;
    write_marked(&nginx, "short", WARM_UP);
    write_marked(&nginx, "long", LENGTH);
    let gateway = in_front_of(nginx.address).await;
    download(gateway.http, "short", WARM_UP).await;
    measure(&gateway, "down", download(gateway.http, "long", LENGTH)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gib_to_go_httpbin_passes_at_flat_memory() {
    let _machine = own().await;
    let upstream = HttpBin::start().await;
    let gateway = in_front_of(upstream.address).await;
    upload(gateway.http, WARM_UP).await;
    measure(&gateway, "up", upload(gateway.http, LENGTH)).await;
}
