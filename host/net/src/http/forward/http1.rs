//! A connection of HTTP/1.1: it answers one request at a time, and waits for the next in between.
//!
//! ```text
//! opened ─▶ leased ─▶ given back ─▶ ready ─▶ kept ─▶ leased ...
//!              └ not given back        └ closed  └ `keep_timeout`: closed
//! ```

use std::{
    future::pending,
    pin::pin,
    sync::{Arc, Weak},
};

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use postern_system::clock;
use tokio::{sync::mpsc, time::sleep_until};
use tracing::debug;

use super::{
    connections::{Connections, OpenConnection},
    request_body::RequestBody,
};
use crate::{
    http::head::{FIELDS_MAX, HEAD_BYTES_MAX},
    link::StreamLink,
};

pub(super) type Http1Sender = http1::SendRequest<RequestBody>;

/// A connection without a request. Dropping it closes the connection.
pub(super) struct FreeHttp1 {
    /// Names it among those of its address.
    pub(super) id: u64,
    pub(super) sender: Http1Sender,
    giving_back: mpsc::Sender<Self>,
    _open: Arc<OpenConnection>,
}

/// A connection with a request. Dropping it closes the connection, whatever is under way.
pub(super) struct Http1Lease {
    free: FreeHttp1,
    pub(super) is_reused: bool,
}

impl FreeHttp1 {
    pub(super) const fn lease(self, is_reused: bool) -> Http1Lease {
        Http1Lease {
            free: self,
            is_reused,
        }
    }
}

impl Http1Lease {
    pub(super) const fn sender(&mut self) -> &mut Http1Sender {
        &mut self.free.sender
    }

    /// The exchange is over in both directions.
    pub(super) fn give_back(self) {
        let giving_back = self.free.giving_back.clone();
        // Who drives it is gone where the connection is closed.
        let _ = giving_back.try_send(self.free);
    }
}

/// Begins HTTP/1.1 on `stream`.
///
/// # Errors
/// What hyper says.
pub(super) async fn open(
    connections: &Arc<Connections>,
    stream: Box<dyn StreamLink>,
    id: u64,
    open: Arc<OpenConnection>,
) -> hyper::Result<FreeHttp1> {
    let mut builder = http1::Builder::new();
    builder.max_headers(FIELDS_MAX).max_buf_size(HEAD_BYTES_MAX);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    let (giving_back, given_back) = mpsc::channel(1);
    let driver = Driver {
        connections: Arc::downgrade(connections),
        id,
        given_back,
        _open: Arc::clone(&open),
    };
    connections.spawn(driver.drive(connection));
    Ok(FreeHttp1 {
        id,
        sender,
        giving_back,
        _open: open,
    })
}

struct Driver {
    connections: Weak<Connections>,
    id: u64,
    given_back: mpsc::Receiver<FreeHttp1>,
    _open: Arc<OpenConnection>,
}

impl Driver {
    /// The connection moves first, so that one which was just given back is ready when it is asked.
    async fn drive(
        mut self,
        connection: http1::Connection<TokioIo<Box<dyn StreamLink>>, RequestBody>,
    ) {
        let mut connection = pin!(connection.with_upgrades());
        let mut returned: Option<FreeHttp1> = None;
        let mut kept_until = None;
        loop {
            let is_returned = returned.is_some();
            let ready = async {
                match &mut returned {
                    Some(free) => free.sender.ready().await,
                    None => pending().await,
                }
            };
            let expired = async {
                match kept_until {
                    Some(at) => sleep_until(at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        debug!(%error, "connection with an upstream failed");
                    }
                    break;
                }
                ready = ready, if is_returned => {
                    let Some(connections) = self.connections.upgrade() else { break };
                    if let Some(free) = returned.take().filter(|_| ready.is_ok()) {
                        let until = clock::now() + connections.config().keep_timeout;
                        kept_until = Some(until.into());
                        connections.keep(free);
                    }
                }
                free = self.given_back.recv(), if !is_returned => match free {
                    Some(free) => {
                        kept_until = None;
                        returned = Some(free);
                    }
                    // Nobody can send a request any more.
                    None => break,
                },
                () = expired => {
                    kept_until = None;
                    if let Some(connections) = self.connections.upgrade() {
                        connections.forget(self.id);
                    }
                }
            }
        }
        if let Some(connections) = self.connections.upgrade() {
            connections.forget(self.id);
        }
    }
}
