//! This gateway as a module of VYRA, as all its functions share it.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use postern_core::{
    Blame, Call, Context, Error, Handler, Headers, Origin, Peer, Transport, vyra::VyraModule,
};
use postern_system::clock;
use tokio::sync::Semaphore;
use tracing::warn;

use super::redis::VyraRedis;
use crate::{
    channels::ChannelEvents,
    config::{Secret, Vyra},
};

/// This gateway as a module, as all its functions share it.
pub(super) struct OwnModule {
    pub(super) module: VyraModule,
    pub(super) config: Vyra,
    pub(super) body_bytes_max: usize,
    pub(super) redis: Option<Arc<dyn VyraRedis>>,
    pub(super) handler: Arc<dyn Handler>,
    pub(super) events: Arc<dyn ChannelEvents>,
    /// 8 hex digits, by which answers find this gateway.
    pub(super) client: String,
    pub(super) permits: Arc<Semaphore>,
    pub(super) counts: BTreeMap<String, FunctionCounts>,
}

/// What was asked of one function.
#[derive(Debug, Default)]
pub(super) struct FunctionCounts {
    /// Requests, goals or events that were taken.
    pub(super) taken: AtomicU64,
    pub(super) failed: AtomicU64,
    /// Messages that are none, or that there was no room for.
    pub(super) passed_over: AtomicU64,
}

impl OwnModule {
    /// The call that a request or a goal of function `name` is.
    pub(super) fn call(
        &self,
        name: &str,
        data: Bytes,
        origin: Option<Origin>,
    ) -> Result<Call, Error> {
        let settings = self.config.functions.get(name);
        let settings = settings.ok_or_else(|| Error::internal("a function without settings"))?;
        let service = settings.service.clone().unwrap_or_default();
        let method = settings.method.clone();
        let method = method.unwrap_or_else(|| settings.function_name(name));
        let peer = match origin {
            Some(origin) => Peer::new(Transport::Unix, origin),
            None => Peer::new(Transport::Tcp, Origin::Local),
        };
        let mut call = Call::unary(service, method, data);
        call.context = Context::of(Arc::new(peer.with_session(format!("vyra {name}"))));
        call.headers = json_headers(self.config.token.as_ref().map(Secret::expose))?;
        Ok(call)
    }

    pub(super) fn socket_folder(&self) -> PathBuf {
        self.config.socket_folder.clone()
    }

    pub(super) fn counts(&self, name: &str) -> Option<&FunctionCounts> {
        self.counts.get(name)
    }

    /// A message of function `name` that is none, or that there is no room for.
    pub(super) fn pass_over(&self, name: &str) {
        let Some(counts) = self.counts(name) else {
            return;
        };
        let n_passed = counts.passed_over.fetch_add(1, Relaxed);
        if n_passed == 0 {
            warn!(
                function = name,
                "a message is passed over: it is none, or too many are answered (vyra.calls-max)"
            );
        }
    }
}

impl FunctionCounts {
    pub(super) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Relaxed);
    }
}

/// Of a call, which shows `token` where there is one.
pub(super) fn json_headers(token: Option<&str>) -> Result<Headers, Error> {
    let mut headers = Headers::new();
    let unfit = |error| Error::internal(format!("vyra.token: {error}"));
    headers
        .push("content-type", "application/json")
        .map_err(unfit)?;
    if let Some(token) = token {
        headers
            .push("authorization", format!("Bearer {token}"))
            .map_err(unfit)?;
    }
    Ok(headers)
}

/// Runs `work` again and again, until it ends by itself: each time after a pause, and told once.
pub(super) async fn persist<F: Future<Output = Result<(), Error>>>(
    what: String,
    mut work: impl FnMut() -> F,
) {
    let mut told = None;
    loop {
        match work().await {
            Ok(()) => {}
            Err(error) => {
                let reason = error.to_string();
                if told.as_ref() != Some(&reason) {
                    warn!(what, %error, "not served; it is tried again");
                    told = Some(reason);
                }
            }
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

/// There is no Redis to speak over.
pub(super) fn no_redis() -> Error {
    Error::unavailable(Blame::Gateway, "the store of vyra.store is not there")
}

/// Until when an answer is waited for that is due in `timeout`, or by the caller's own deadline.
pub(super) fn deadline(call: &Call, timeout: Duration) -> Instant {
    let own = clock::now() + timeout;
    call.context
        .deadline
        .map_or(own, |deadline| deadline.min(own))
}

/// Between two tries of what failed.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
