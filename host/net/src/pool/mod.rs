//! Sessions with other gateways, shared by all upstreams. The accounting decides; here its steps are
//! carried out, and calls wait for what it grants them.

mod accounting;
pub(crate) mod backoff;
mod config;
mod host;
mod lease;
mod refusal;
mod session;
mod session_task;
mod shared;
mod snapshot;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use postern_core::Error;
use tokio::{runtime, sync::oneshot};

pub(crate) use self::lease::SessionLease;
use self::{
    accounting::{Admission, HostId},
    lease::LeaseWaiter,
    shared::{Shared, key_of},
};
pub use self::{
    config::{PoolConfig, PoolConfigError},
    snapshot::{HostSnapshot, PoolSnapshot},
};
use crate::{client::ClientConfig, dial::Target, driver};

/// The sessions of all upstreams of a gateway, within the limits of its `PoolConfig`.
///
/// Clones share them. Its tasks run where it was made. When the last clone and the last upstream are
/// dropped, every session is cut; `close` ends them in order.
#[derive(Debug, Clone)]
pub struct Pool {
    owner: Arc<Owner>,
}

/// An address, as an upstream holds it. Its sessions are closed when nobody holds it any more.
#[derive(Debug)]
pub(crate) struct Host {
    pool: Pool,
    id: HostId,
    target: Target,
    /// As errors name it: `tcp 10.0.0.7:9090`.
    name: String,
}

/// Cuts every session when it is dropped.
#[derive(Debug)]
struct Owner {
    shared: Arc<Shared>,
}

impl Pool {
    /// A pool whose sessions speak as `client` says. `connect_timeout` and `calls_in_flight_max`, and
    /// keep-alive, idle and drain times of the session, are those of `config`.
    ///
    /// The pool's tasks stay on the runtime it is made in.
    ///
    /// # Panics
    /// Outside a runtime.
    ///
    /// # Errors
    /// As `PoolConfig::check`.
    pub fn new(config: PoolConfig, client: ClientConfig) -> Result<Self, PoolConfigError> {
        config.check()?;
        let mut client = ClientConfig {
            connect_timeout: config.connect_timeout,
            // One more, so that a health check is never held up by calls.
            calls_in_flight_max: config.calls_per_session_max.saturating_add(1),
            ..client
        };
        client.session.keep_alive = None;
        client.session.idle_timeout = None;
        client.session.drain_timeout = config.drain_timeout;
        let shared = Arc::new(Shared::new(config, client, runtime::Handle::current()));
        let upkeep = upkeep(Arc::clone(&shared));
        shared.tasks.spawn_on(upkeep, &shared.runtime);
        let owner = Arc::new(Owner { shared });
        Ok(Self { owner })
    }

    /// Begins no more calls, finishes those that wait or are under way, and closes every session; cuts
    /// what is left after `drain_timeout`.
    pub async fn close(&self) {
        let shared = &self.owner.shared;
        shared.update(|state, _| state.accounting.close());
        shared.wake.notify_one();
        shared.tasks.close();
        let drain_timeout = shared.config.drain_timeout;
        if tokio::time::timeout(drain_timeout, shared.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                ?drain_timeout,
                "upstream sessions are cut: draining took too long"
            );
            shared.cut.cancel();
            shared.tasks.wait().await;
        }
    }

    /// What there is at present and what has happened so far, all of one moment.
    #[must_use]
    pub fn snapshot(&self) -> PoolSnapshot {
        let shared = &self.owner.shared;
        let now = driver::now();
        snapshot::take(&shared.state.lock(), &shared.config, now)
    }

    #[must_use]
    pub fn config(&self) -> &PoolConfig {
        &self.owner.shared.config
    }

    /// How long calls without a deadline may take.
    pub(crate) fn call_timeout(&self) -> Duration {
        self.owner.shared.client.call_timeout
    }

    /// Takes hold of an address; its warm sessions are opened.
    pub(crate) fn host(&self, target: Target) -> Host {
        let name = format!("{} {}", target.transport_name(), target.destination());
        let key = key_of(&target);
        let id = self.owner.shared.update(|state, now| {
            let accounting = &mut state.accounting;
            let id = *state
                .by_target
                .entry(key)
                .or_insert_with(|| accounting.add());
            state.targets.entry(id).or_insert_with(|| target.clone());
            state.accounting.hold(id, now);
            id
        });
        Host {
            pool: self.clone(),
            id,
            target,
            name,
        }
    }
}

impl Host {
    pub(crate) const fn target(&self) -> &Target {
        &self.target
    }

    /// A session for one call: at once, or after waiting for it until `wait_timeout` or `deadline`.
    ///
    /// # Errors
    /// As `Refusal::into_error`; nothing was sent.
    pub(crate) async fn lease(&self, deadline: Instant) -> Result<SessionLease, Error> {
        let shared = &self.pool.owner.shared;
        let (sender, receiver) = oneshot::channel();
        let admission = shared.update(|state, now| {
            let admission = state.accounting.admit(self.id, now);
            if let Admission::Waits(ticket) = &admission {
                state.waiting.insert(*ticket, sender);
            }
            admission
        });
        let outcome = match admission {
            Admission::Granted(key, session) => {
                return Ok(SessionLease::new(Arc::clone(shared), self.id, key, session));
            }
            Admission::Refused(refusal) => Err(refusal),
            Admission::Waits(ticket) => {
                let waiter = LeaseWaiter::new(Arc::clone(shared), self.id, ticket, receiver);
                waiter.wait(deadline).await
            }
        };
        outcome.map_err(|refusal| refusal.into_error(&self.name))
    }

    /// Ends the pause after failures: the next call may open a session.
    pub(crate) fn revive(&self) {
        let shared = &self.pool.owner.shared;
        shared.update(|state, now| state.accounting.revive(self.id, now));
    }

    /// A session that is open, however busy, for a question that is no call.
    pub(crate) fn peek(&self) -> Option<crate::Client> {
        let state = self.pool.owner.shared.state.lock();
        let host = state.accounting.host(self.id)?;
        host.peek_session().map(|session| session.client)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let id = self.id;
        self.pool.owner.shared.update(|state, _| {
            state.accounting.release(id);
            state.forget(id);
        });
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.cut.cancel();
    }
}

/// Does what is due by time alone until the pool is closed.
async fn upkeep(shared: Arc<Shared>) {
    loop {
        let (now, next, is_closed) = shared.update(|state, now| {
            state.accounting.handle_timeout(now);
            let next = state.accounting.poll_timeout(now);
            (now, next, state.accounting.is_closed())
        });
        if is_closed {
            return;
        }
        // A session that falls idle meanwhile is not due before this.
        let latest = now + shared.config.idle_timeout;
        let next = next.map_or(latest, |next| next.min(latest));
        tokio::select! {
            () = shared.cut.cancelled() => return,
            () = shared.wake.notified() => {}
            () = tokio::time::sleep_until(next.into()) => {}
        }
    }
}
