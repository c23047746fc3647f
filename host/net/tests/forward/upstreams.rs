//! Upstreams that keep what they are sent, octet by octet, and answer what they are told.

use std::{future::Future, net::Ipv4Addr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::{JoinHandle, JoinSet},
};

use crate::patient;

/// An upstream of raw octets. It ends with the test.
pub(crate) struct RawUpstream {
    pub(crate) port: u16,
    /// What it was sent, a request each.
    seen: mpsc::UnboundedReceiver<String>,
    task: JoinHandle<()>,
}

/// One connection of it.
pub(crate) struct RawConnection {
    pub(crate) stream: TcpStream,
    seen: mpsc::UnboundedSender<String>,
}

impl RawUpstream {
    /// Serves each connection by `serve`, whose argument is its number.
    pub(crate) async fn serving<F>(
        serve: impl Fn(usize, RawConnection) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let (sender, seen) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            for number in 0.. {
                let (stream, _) = listener.accept().await.expect("a connection");
                let seen = sender.clone();
                connections.spawn(serve(number, RawConnection { stream, seen }));
            }
        });
        Self { port, seen, task }
    }

    /// Answers the requests of each connection by `answers`, one after the other, then closes it.
    pub(crate) async fn answering(answers: &'static [&'static str]) -> Self {
        Self::serving(move |_, mut connection| async move {
            for answer in answers {
                if connection.request().await.is_none() {
                    return;
                }
                connection.send(answer).await;
            }
        })
        .await
    }

    /// The next request that it was sent.
    pub(crate) async fn seen(&mut self) -> String {
        patient(self.seen.recv()).await.expect("a request")
    }

    /// Whether it was sent nothing that was not asked for.
    pub(crate) fn has_seen_all(&mut self) -> bool {
        self.seen.try_recv().is_err()
    }
}

impl Drop for RawUpstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl RawConnection {
    /// Reads a request with its body; `None` at the end of the connection. One that ends early is kept
    /// as it is.
    pub(crate) async fn request(&mut self) -> Option<String> {
        let mut octets = Vec::new();
        while !is_whole(&octets) {
            if self.stream.read_buf(&mut octets).await.unwrap_or(0) == 0 {
                break;
            }
        }
        if octets.is_empty() {
            return None;
        }
        let request = String::from_utf8_lossy(&octets).into_owned();
        // The test may have seen enough.
        let _ = self.seen.send(request.clone());
        Some(request)
    }

    /// Reads `n_octets`, whatever they are.
    pub(crate) async fn octets(&mut self, n_octets: usize) {
        let mut octets = vec![0; n_octets];
        let read = self.stream.read_exact(&mut octets).await;
        read.expect("as many");
        let _ = self
            .seen
            .send(String::from_utf8_lossy(&octets).into_owned());
    }

    /// Reads the head of a request only.
    pub(crate) async fn head(&mut self) -> String {
        let mut octets = Vec::new();
        while !octets.ends_with(b"\r\n\r\n") {
            octets.push(self.stream.read_u8().await.expect("a head"));
        }
        let head = String::from_utf8(octets).expect("text");
        let _ = self.seen.send(head.clone());
        head
    }

    pub(crate) async fn send(&mut self, octets: &str) {
        // Who has closed the connection reads nothing.
        let _ = self.stream.write_all(octets.as_bytes()).await;
    }
}

/// Whether a request is there with all of its body.
fn is_whole(octets: &[u8]) -> bool {
    let text = String::from_utf8_lossy(octets);
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let field = |name: &str| {
        let lines = head.lines().filter_map(|line| line.split_once(':'));
        let mut found = lines.filter(|(field, _)| field.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.trim().to_owned())
    };
    if field("transfer-encoding").is_some() {
        return body.starts_with("0\r\n") && body.ends_with("\r\n\r\n")
            || body.contains("\r\n0\r\n") && body.ends_with("\r\n\r\n");
    }
    let length = field("content-length").map_or(0, |length| length.parse().expect("a number"));
    body.len() >= length
}
