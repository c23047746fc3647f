//! Stream servers: accept, admit or turn away, drain.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::BytesMut;
use postern_core::{
    Headers, Transport,
    wire::{Frame, FrameType},
};
use tokio::{
    io::AsyncWriteExt,
    task::{JoinError, JoinSet},
};

use super::{Server, Settings, Shared, connection};
use crate::{
    accept::{Advice, Backoff},
    counters::Counters,
    link::{Listener, StreamLink},
    shutdown::Shutdown,
};

/// How long a connection over the limit may take to read why it is turned away.
const REFUSAL: Duration = Duration::from_secs(1);
/// Connections that are being turned away; more are closed without a word.
const REFUSALS_MAX: usize = 64;

/// Serves until `shutdown`; every connection is closed when this returns.
pub(super) async fn serve<L: Listener>(server: Server<L>, shutdown: Shutdown) {
    let Server {
        link: mut listener,
        address,
        transport,
        settings,
        ..
    } = server;
    let mut door = Door::new(transport, settings, shutdown.clone());
    let mut backoff = Backoff::default();
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.draining() => break,
            Some(ended) = door.tasks.join_next() => {
                log_panic(ended);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((link, peer)) => {
                backoff.succeeded();
                door.admit(link, peer);
            }
            Err(error) => match backoff.failed(&error) {
                Advice::Again => tracing::debug!(%address, %error, "connection lost early"),
                Advice::Pause(pause) => {
                    tracing::warn!(%address, %error, ?pause, "cannot accept connections");
                    tokio::select! {
                        () = shutdown.draining() => {}
                        () = tokio::time::sleep(pause) => {}
                    }
                }
            },
        }
    }
    drop(listener);
    let drain_timeout = door.settings.current().config.drain_timeout;
    wind_up(door.tasks, &shutdown, drain_timeout).await;
}

/// Lets connections in while there is room.
struct Door {
    transport: Transport,
    settings: Settings,
    shutdown: Shutdown,
    /// Connections that are open.
    n_open: Arc<AtomicUsize>,
    tasks: JoinSet<()>,
    /// The last connection was turned away; said once.
    is_full: bool,
}

/// Counts an open connection, however its task ends.
struct Opened {
    counters: Arc<Counters>,
    n_open: Arc<AtomicUsize>,
}

impl Door {
    fn new(transport: Transport, settings: Settings, shutdown: Shutdown) -> Self {
        Self {
            transport,
            settings,
            shutdown,
            n_open: Arc::default(),
            tasks: JoinSet::new(),
            is_full: false,
        }
    }

    fn admit<S: StreamLink>(&mut self, link: S, peer: SocketAddr) {
        let mut settings = self.settings.clone();
        // As if asked for the first time: later changes are changes to this.
        let shared = settings.begin();
        if self.n_open.load(Ordering::Acquire) >= shared.config.connections_max {
            self.turn_away(link, peer, &shared);
            return;
        }
        self.is_full = false;
        let opened = Opened::new(Arc::clone(&self.n_open), Arc::clone(&shared.counters));
        let shutdown = self.shutdown.child();
        let from = (peer, self.transport);
        let connection = connection::serve(link, from, shared, settings, shutdown);
        self.tasks.spawn(async move {
            connection.await;
            drop(opened);
        });
    }

    fn turn_away<S: StreamLink>(&mut self, link: S, peer: SocketAddr, shared: &Shared) {
        let limit = shared.config.connections_max;
        shared.counters.connections_refused.add(1);
        if !std::mem::replace(&mut self.is_full, true) {
            tracing::warn!(%peer, limit, "connections are refused: too many are open");
        }
        if self.tasks.len() < limit.saturating_add(REFUSALS_MAX) {
            self.tasks.spawn(refuse(link, limit));
        }
    }
}

impl Opened {
    fn new(n_open: Arc<AtomicUsize>, counters: Arc<Counters>) -> Self {
        n_open.fetch_add(1, Ordering::AcqRel);
        counters.connections_opened.add(1);
        Self { counters, n_open }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.n_open.fetch_sub(1, Ordering::AcqRel);
        self.counters.connections_closed.add(1);
    }
}

/// Says why and closes.
async fn refuse<S: StreamLink>(mut link: S, limit: usize) {
    let mut headers = Headers::new();
    let reason = format!("{limit} connections are open, which is the limit");
    let mut octets = BytesMut::new();
    let complete = headers.push("code", "too-many-connections").is_ok()
        && headers.push("reason", reason).is_ok()
        && Frame {
            headers,
            ..Frame::new(FrameType::Err)
        }
        .encode(&mut octets)
        .is_ok();
    debug_assert!(complete, "two short headers fit in a frame");
    let farewell = async {
        link.write_all(&octets).await?;
        link.shutdown().await
    };
    // Whether the peer reads it is its own affair.
    let _ = tokio::time::timeout(REFUSAL, farewell).await;
}

/// Awaits what drains; cuts what is left when the time is over or the end has come.
async fn wind_up(mut tasks: JoinSet<()>, shutdown: &Shutdown, drain_timeout: Duration) {
    let drained = async {
        while let Some(ended) = tasks.join_next().await {
            log_panic(ended);
        }
    };
    tokio::select! {
        biased;
        () = shutdown.ended() => {}
        () = drained => {}
        () = tokio::time::sleep(drain_timeout) => {
            tracing::warn!(?drain_timeout, "connections are cut: draining took too long");
        }
    }
    tasks.shutdown().await;
}

fn log_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection's task panicked");
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, io};

    use postern_core::{BoxFuture, Call, Error, Handler, Reply};

    use super::*;
    use crate::{
        client::{Client, ClientConfig},
        memory::{Conditions, MemoryListener, MemoryStream, Network},
        server::ServerConfig,
    };

    /// `EMFILE` on Linux and the BSDs.
    const TOO_MANY_OPEN_FILES: i32 = 24;

    /// Fails as scripted before it accepts.
    struct Failing {
        errors: VecDeque<io::Error>,
        listener: MemoryListener,
    }

    impl Listener for Failing {
        type Link = MemoryStream;

        async fn accept(&mut self) -> io::Result<(MemoryStream, SocketAddr)> {
            match self.errors.pop_front() {
                Some(error) => Err(error),
                None => self.listener.accept().await,
            }
        }
    }

    struct Echo;

    impl Handler for Echo {
        fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
            Box::pin(async { Ok(Reply::new(call.headers, call.body)) })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn accepting_goes_on_after_descriptors_ran_out() {
        let network = Network::new(1, Conditions::default());
        let listener = network.listen();
        let address = listener.local_addr();
        let short = || io::Error::from_raw_os_error(TOO_MANY_OPEN_FILES);
        let early = || io::Error::from(io::ErrorKind::ConnectionAborted);
        let errors = [early(), short(), short(), early(), short()].into();
        let shared = Shared::new(
            Arc::new(ServerConfig::default()),
            Arc::new(Echo),
            Arc::default(),
        );
        let link = Failing { errors, listener };
        let server = Server::new(link, address, Transport::Memory, shared);
        let shutdown = Shutdown::new();
        let serving = tokio::spawn(serve(server, shutdown.clone()));
        let begin = tokio::time::Instant::now();
        let target = network.target(address);
        let client = Client::connect(target, ClientConfig::default())
            .await
            .expect("accepted");
        assert!(client.call(Call::unary("s", "m", "x")).await.is_ok());
        // 5, 10 and 20 ms for the three that need a pause.
        assert!(
            begin.elapsed() >= Duration::from_millis(35),
            "{:?}",
            begin.elapsed()
        );
        client.close().await;
        shutdown.drain();
        serving.await.expect("no panic");
    }
}
