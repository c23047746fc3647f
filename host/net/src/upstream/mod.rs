//! A remote instance as a handler: its calls go over pooled sessions to the first of its addresses
//! that takes them.

mod held;
mod probe;

use std::{sync::Arc, time::Instant};

use postern_core::{
    Blame, Body, BodyStream, BoxFuture, Call, Error, Handler, Kind, Reply, Retry, wire::Undelivered,
};

use self::held::Held;
pub use self::probe::{Probe, ProbeQuestion, Probed};
use crate::{
    dial::{Destination, Target},
    driver,
    pool::{Host, Pool, SessionLease},
};

/// Sessions of one address that a call tries when they end before anything of it is sent.
const SESSIONS_TRIED_MAX: usize = 3;

/// One remote instance. Clones share it; sessions are shared by all upstreams with an address in
/// common.
#[derive(Debug, Clone)]
pub struct Upstream {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    pool: Pool,
    first: Host,
    /// In order of preference.
    others: Vec<Host>,
}

impl Upstream {
    /// The instance at `addresses`, the preferred one first: one per transport, as a rule. Nothing is
    /// sent, and nothing opened but what `PoolConfig::warm` asks for.
    ///
    /// # Errors
    /// `invalid-argument` when there is no address.
    pub fn new(pool: &Pool, addresses: Vec<Target>) -> Result<Self, Error> {
        let mut hosts = addresses.into_iter().map(|target| pool.host(target));
        let first = hosts.next().ok_or_else(|| {
            Error::invalid_argument("an upstream has no address: one is needed at least")
        })?;
        let shared = Shared {
            pool: pool.clone(),
            first,
            others: hosts.collect(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Says that the instance is well, as a directory learns when it comes back: the pause that its
    /// addresses were left alone for is over, and the next call may open a session.
    pub fn revive(&self) {
        self.shared.hosts().for_each(Host::revive);
    }

    /// Where all its addresses lead, in order of preference.
    pub fn destinations(&self) -> impl Iterator<Item = &Destination> {
        self.shared.hosts().map(|host| host.target().destination())
    }

    /// Asks the instance whether it is well, over its preferred address that is up.
    pub async fn probe(&self, probe: &Probe) -> Probed {
        probe::ask(&self.shared.first, &self.shared.others, probe).await
    }
}

impl Handler for Upstream {
    /// Sends the call and waits for its answer, with what is left of its deadline and one more plugin
    /// or gateway in `depth`.
    ///
    /// What fails says how far it came. `Retry::Elsewhere`: nothing began, because no address takes
    /// calls (`unavailable`), a limit of the pool is reached (`resource-exhausted`), or the peer
    /// says so. `Retry::IfIdempotent`: the call was sent, and the session ended before the answer.
    /// `deadline-exceeded`: nobody knows, either.
    ///
    /// A body that is a stream goes over a stream transport if there is one.
    ///
    /// Whoever bounds the call, as the pipeline does, polls it at its deadline; a call without one
    /// has the `call_timeout` of the pool's sessions, to the head of its reply.
    fn call(&self, mut call: Call) -> BoxFuture<Result<Reply, Error>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            if let Some(deadline) = call.context.deadline {
                return shared.call(call, deadline).await;
            }
            let timeout = shared.pool.call_timeout();
            let deadline = driver::now() + timeout;
            call.context.deadline = Some(deadline);
            let answered = tokio::time::timeout_at(deadline.into(), shared.call(call, deadline));
            answered.await.unwrap_or_else(|_| {
                let message = format!("no answer within {} ms", timeout.as_millis());
                Err(Error::deadline_exceeded(Blame::Upstream, message))
            })
        })
    }
}

impl Shared {
    async fn call(&self, mut call: Call, deadline: Instant) -> Result<Reply, Error> {
        call.context.depth = call.context.depth.saturating_add(1);
        let mut refusals = Vec::new();
        for host in self.hosts_for(&call.body) {
            match try_host(host, call, deadline).await {
                Tried::Done(outcome) => return outcome,
                Tried::Unsent(unsent, error) => {
                    refusals.push(error);
                    call = *unsent;
                }
            }
        }
        Err(unreachable(refusals))
    }

    fn hosts(&self) -> impl Iterator<Item = &Host> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// Where a body of that form may go.
    fn hosts_for<'h>(&'h self, body: &Body) -> impl Iterator<Item = &'h Host> + use<'h> {
        let has_stream = self.hosts().any(|host| host.target().is_stream());
        let needs_stream = has_stream && body.is_stream();
        self.hosts()
            .filter(move |host| !needs_stream || host.target().is_stream())
    }
}

/// How far a call came at one address.
enum Tried {
    Done(Result<Reply, Error>),
    /// Nothing of it was sent, for this reason.
    Unsent(Box<Call>, Error),
}

async fn try_host(host: &Host, mut call: Call, deadline: Instant) -> Tried {
    let mut n_tried = 0;
    loop {
        let lease = match host.lease(deadline).await {
            Ok(lease) => lease,
            Err(error) if error.retry == Retry::Elsewhere => {
                return Tried::Unsent(Box::new(call), error);
            }
            Err(error) => return Tried::Done(Err(error)),
        };
        let copy = call.try_clone();
        let client = lease.client().clone();
        n_tried += 1;
        let outcome = exchange(lease, call).await;
        match (outcome, copy) {
            // The session ended in this very moment: another one may be better.
            (Err(error), Some(unsent)) if error.retry == Retry::Elsewhere && !client.is_open() => {
                if n_tried == SESSIONS_TRIED_MAX {
                    return Tried::Unsent(Box::new(unsent), error);
                }
                call = unsent;
            }
            (outcome, _) => return Tried::Done(outcome),
        }
    }
}

/// Makes the call on its session, and keeps the session's place for a reply that streams.
async fn exchange(mut lease: SessionLease, call: Call) -> Result<Reply, Error> {
    match lease.client().session().call(call).await {
        Ok(reply) => {
            lease.on_answer();
            let hold = |body| BodyStream::from_source(Held::new(body, lease));
            let body = reply.body.map_stream(hold);
            Ok(Reply { body, ..reply })
        }
        Err(error) => {
            // After a request that nobody acknowledged, the peer may have been replaced by one that
            // knows nothing of the session.
            if !lease.client().is_open() || is_undelivered(&error) {
                lease.retire();
            } else if error.kind != Kind::DeadlineExceeded {
                lease.on_answer();
            }
            Err(error)
        }
    }
}

/// No acknowledgement came, on a link without connections.
fn is_undelivered(error: &Error) -> bool {
    let source = error.source.as_ref();
    source.is_some_and(|source| source.downcast_ref::<Undelivered>().is_some())
}

/// No address took the call: what each said.
fn unreachable(mut refusals: Vec<Error>) -> Error {
    if refusals.len() == 1
        && let Some(only) = refusals.pop()
    {
        return only;
    }
    // A limit of this gateway is not held against the instance.
    let is_ours = refusals.iter().any(|error| error.blame == Blame::Gateway);
    let blame = if is_ours {
        Blame::Gateway
    } else {
        Blame::Upstream
    };
    let reasons: Vec<_> = refusals.iter().map(|error| &*error.message).collect();
    let message = format!("no address takes the call: {}", reasons.join("; "));
    Error::unavailable(blame, message)
}
