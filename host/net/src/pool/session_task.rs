//! The task of one pooled session, from the first attempt to the end: it tells the accounting what
//! happens, closes when the accounting says so, and asks the peer whether it is still there.

use std::{sync::Arc, time::Duration};

use postern_core::{Error, wire::Dialect};
use postern_system::random;
use tokio_util::sync::CancellationToken;

use super::{accounting::HostId, host::SessionKey, session::Session, shared::Shared};
use crate::{client::Client, dial::Target};

/// How long a peer may take to answer BYE when nothing is under way.
const FAREWELL: Duration = Duration::from_secs(1);

/// Why a session is left.
enum Left {
    /// It is to be closed in order.
    Close,
    /// The peer begins nothing more.
    PeerCloses,
    /// No PONG came for this long.
    Silent(Duration),
    /// The pool is gone.
    Cut,
}

/// Opens a session and stays with it until it is over.
pub(super) async fn run(shared: Arc<Shared>, id: HostId, key: SessionKey, target: Target) {
    let connecting = Client::connect(target, shared.client.clone());
    let connected = tokio::select! {
        biased;
        () = shared.cut.cancelled() => Err(Error::internal("the pool was closed meanwhile")),
        connected = Box::pin(connecting) => connected,
    };
    let client = match connected {
        Ok(client) => client,
        Err(error) => {
            tracing::debug!(%error, "no session with an upstream");
            let reason: Arc<str> = error.message.into();
            shared.update(|state, now| {
                let random = random::even();
                state
                    .accounting
                    .on_connect_failed(id, key, reason, now, random);
                state.forget(id);
            });
            shared.wake.notify_one();
            return;
        }
    };
    let (n_calls_full, is_base) = (
        shared.config.calls_per_session_max,
        matches!(client.dialect(), Dialect::Base),
    );
    let n_calls_max = if is_base { 1 } else { n_calls_full };
    let session = Session {
        client: client.clone(),
        close: CancellationToken::new(),
    };
    let close = session.close.clone();
    shared.update(|state, now| {
        state
            .accounting
            .on_connected(id, key, session, n_calls_max, now);
    });
    let upgrade = async {
        if is_base {
            client.greeted().await;
            shared.update(|state, now| {
                state.accounting.on_upgraded(id, key, n_calls_full, now);
            });
        }
        std::future::pending().await
    };
    let reason = tokio::select! {
        reason = stay(&shared, id, key, &client, &close) => reason,
        reason = upgrade => reason,
    };
    tracing::debug!(address = %client.destination(), %reason, "upstream session is over");
    shared.update(|state, now| {
        let random = random::even();
        state.accounting.on_ended(id, key, reason, now, random);
        state.forget(id);
    });
    shared.wake.notify_one();
}

/// Gives the reason of the end.
async fn stay(
    shared: &Arc<Shared>,
    id: HostId,
    key: SessionKey,
    client: &Client,
    close: &CancellationToken,
) -> Arc<str> {
    let left = tokio::select! {
        biased;
        () = close.cancelled() => Left::Close,
        () = shared.cut.cancelled() => Left::Cut,
        () = client.closing() => Left::PeerCloses,
        after = silence(client, shared.config.keep_alive) => Left::Silent(after),
    };
    let ending = async {
        match left {
            Left::Close => {
                let bound = match shared.is_idle(id, key) {
                    true => FAREWELL,
                    false => shared.config.drain_timeout,
                };
                let closing = client.clone().close();
                if tokio::time::timeout(bound, closing).await.is_err() {
                    client.cut(format!("not closed {bound:?} after bye"));
                }
                client.ended().await
            }
            Left::PeerCloses => {
                shared.update(|state, now| state.accounting.on_closing(id, key, now));
                let drain_timeout = shared.config.drain_timeout;
                let ended = tokio::time::timeout(drain_timeout, client.ended());
                match ended.await {
                    Ok(reason) => reason,
                    Err(_) => {
                        client.cut(format!("still busy {drain_timeout:?} after bye"));
                        client.ended().await
                    }
                }
            }
            Left::Silent(after) => {
                client.cut(format!("no PONG within {after:?}"));
                client.ended().await
            }
            Left::Cut => {
                client.cut("the pool is closed");
                client.ended().await
            }
        }
    };
    tokio::select! {
        reason = ending => reason,
        () = shared.cut.cancelled() => {
            client.cut("the pool is closed");
            client.ended().await
        }
    }
}

/// Completes when the peer has not answered a PING before the next was due.
async fn silence(client: &Client, keep_alive: Option<Duration>) -> Duration {
    let Some(every) = keep_alive else {
        return std::future::pending().await;
    };
    // A peer of the base dialect answers no PING; one that is greeted late does from then on.
    client.greeted().await;
    loop {
        tokio::time::sleep(every).await;
        if client.ping(every).await.is_err() {
            return every;
        }
    }
}
