//! A listener before octets of a test, and an upstream before a server of a test.

mod instance;
mod listener;

use std::{sync::Arc, time::Duration};

use postern_core::{
    Blame, Body, BodyStream, BoxFuture, Call, Error, Handler, Kind, Reply,
    velithon::{VelithonMessage, read, write},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{Endpoints, VelithonConfig, VelithonServer};
use crate::{ByteBudget, Counters, Shutdown, SocketListener, tcp};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Answers by its method: `echo` with what it was sent, `late` after a moment, `later` after two seconds, `never` not, `gone` with an
/// error, `list` with two messages, `who` with the service.
struct Methods;

impl Handler for Methods {
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        Box::pin(async move {
            match &*call.method {
                "late" => tokio::time::sleep(Duration::from_millis(50)).await,
                "later" => tokio::time::sleep(Duration::from_secs(2)).await,
                "never" => std::future::pending().await,
                "gone" => return Err(Error::not_found("no such user")),
                "who" => return Ok(Reply::one(format!("\"{}\"", call.service))),
                "list" => {
                    let items = ["1", "2"].map(|item| Ok(item.into()));
                    let stream = futures_util::stream::iter(items);
                    let body = Body::Messages(BodyStream::new(stream));
                    return Ok(Reply::new(call.headers, body));
                }
                "broken" => {
                    let error = Error::new(Kind::Unimplemented, Blame::Guest, "not yet");
                    return Err(error);
                }
                _ => {}
            }
            Ok(Reply::one(call.body.into_one(usize::MAX).await?))
        })
    }
}

/// `users` and `orders`, with every method but `nothing`.
struct Known;

impl Endpoints for Known {
    fn has_service(&self, service: &str) -> bool {
        matches!(service, "users" | "orders")
    }

    fn has_method(&self, _: &str, method: &str) -> bool {
        method != "nothing"
    }
}

/// A listener that serves; it drains when this is dropped.
struct Served {
    address: std::net::SocketAddr,
    counters: Arc<Counters>,
    control: super::VelithonReconfigure,
    shutdown: Shutdown,
    task: tokio::task::JoinHandle<()>,
}

fn serve(config: VelithonConfig) -> Served {
    let listener = tcp::listen(([127, 0, 0, 1], 0).into()).expect("a free port");
    let address = listener.local_addr().expect("bound");
    let counters = Arc::<Counters>::default();
    let server = VelithonServer::new(
        SocketListener::Tcp(listener),
        config,
        (Arc::new(Methods), Arc::new(Known)),
        Arc::clone(&counters),
        Arc::new(ByteBudget::unlimited()),
    );
    let server = server.expect("an address");
    let (control, shutdown) = (server.reconfigure(), Shutdown::new());
    let task = tokio::spawn(server.serve(shutdown.clone()));
    Served {
        address,
        counters,
        control,
        shutdown,
        task,
    }
}

/// A peer by hand.
struct Peer(TcpStream);

impl Peer {
    async fn connect(served: &Served) -> Self {
        Self(TcpStream::connect(served.address).await.expect("up"))
    }

    async fn send(&mut self, octets: &[u8]) {
        self.0.write_all(octets).await.expect("sent");
    }

    async fn request(&mut self, id: &str, service: &str, endpoint: &str, body: &str) {
        self.send(&request(id, service, endpoint, body)).await;
    }

    /// The next message.
    async fn message(&mut self) -> VelithonMessage {
        let reading = async {
            let length = self.0.read_u32().await.expect("a length");
            let mut message = vec![0; usize::try_from(length).expect("short")];
            self.0.read_exact(&mut message).await.expect("whole");
            read(&message.into()).expect("readable")
        };
        timeout(PATIENCE, reading).await.expect("in time")
    }

    /// Id and body of the next response.
    async fn response(&mut self) -> (String, String) {
        let message = self.message().await;
        assert!(message.is_response);
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let id = text(&message.header.request_id);
        (id.trim_matches('"').to_owned(), text(&message.body))
    }

    /// Answers the next request with `body`.
    async fn answer(&mut self, body: &str) {
        let request = self.message().await;
        self.send(&write(&request.header, true, body.as_bytes()))
            .await;
    }

    /// Completes when the other end has closed the connection.
    async fn closed(&mut self) {
        let mut rest = Vec::new();
        // A reset is an end, too.
        let ended = timeout(PATIENCE, self.0.read_to_end(&mut rest)).await;
        drop(ended.expect("in time"));
    }
}

fn frame(message: &str) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("short");
    [&length.to_be_bytes()[..], message.as_bytes()].concat()
}

fn request(id: &str, service: &str, endpoint: &str, body: &str) -> Vec<u8> {
    frame(&format!(
        "{{\"header\":{{\"request_id\":\"{id}\",\"service\":\"{service}\",\"endpoint\":\"{endpoint}\",\
         \"is_response\":false}},\"body\":{body}}}"
    ))
}

/// What is asked until it holds.
async fn patiently(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, waiting).await.expect(what);
}
