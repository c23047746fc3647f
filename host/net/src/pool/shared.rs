//! What a pool, its sessions and the calls that wait share: the accounting, and how its steps are
//! carried out.

use std::{collections::HashMap, sync::Arc, time::Instant};

use parking_lot::Mutex;
use tokio::{
    runtime,
    sync::{Notify, oneshot},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    accounting::{Accounting, HostId, Step},
    config::PoolConfig,
    host::{SessionKey, Ticket},
    lease::SessionLease,
    refusal::Refusal,
    session::Session,
    session_task,
};
use crate::{
    client::ClientConfig,
    dial::{Destination, Target},
    driver,
};

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) state: Mutex<State>,
    pub(super) config: PoolConfig,
    pub(super) client: ClientConfig,
    pub(super) runtime: runtime::Handle,
    pub(super) tasks: TaskTracker,
    pub(super) cut: CancellationToken,
    /// An address has failed: its next attempt may be due sooner than anything else.
    pub(super) wake: Notify,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) accounting: Accounting<Session>,
    pub(super) waiting: HashMap<Ticket, oneshot::Sender<Result<SessionLease, Refusal>>>,
    pub(super) targets: HashMap<HostId, Target>,
    pub(super) by_target: HashMap<TargetKey, HostId>,
}

/// Sessions are shared by those who dial the same in the same way.
pub(super) type TargetKey = (&'static str, Destination);

/// What was decided about a call that waited.
struct Settled {
    /// None when nobody waits any more.
    sender: Option<oneshot::Sender<Result<SessionLease, Refusal>>>,
    outcome: Result<SessionLease, Refusal>,
}

impl State {
    pub(super) fn forget(&mut self, id: HostId) {
        if self.accounting.forget(id)
            && let Some(target) = self.targets.remove(&id)
        {
            let key = key_of(&target);
            self.by_target.remove(&key);
        }
    }
}

impl Shared {
    /// With no host, and tasks that run on `runtime`.
    pub(super) fn new(config: PoolConfig, client: ClientConfig, runtime: runtime::Handle) -> Self {
        Self {
            state: Mutex::new(State {
                accounting: Accounting::new(config.clone()),
                waiting: HashMap::new(),
                targets: HashMap::new(),
                by_target: HashMap::new(),
            }),
            config,
            client,
            runtime,
            tasks: TaskTracker::new(),
            cut: CancellationToken::new(),
            wake: Notify::new(),
        }
    }

    /// Changes the state and carries out what follows from it.
    pub(super) fn update<R>(self: &Arc<Self>, change: impl FnOnce(&mut State, Instant) -> R) -> R {
        let now = driver::now();
        let mut state = self.state.lock();
        let result = change(&mut state, now);
        let steps = state.accounting.take_steps();
        if state.accounting.is_closed() {
            self.wake.notify_one();
        }
        if steps.is_empty() {
            return result;
        }
        // What is granted is handed over without the lock: whoever waited may have gone, and then
        // the lease comes back here.
        let settled: Vec<_> = steps
            .into_iter()
            .filter_map(|step| self.carry_out(&mut state, step))
            .collect();
        drop(state);
        for Settled { sender, outcome } in settled {
            drop(sender.map(|sender| sender.send(outcome)));
        }
        result
    }

    /// Whether no call is under way on a session.
    pub(super) fn is_idle(&self, id: HostId, key: SessionKey) -> bool {
        let state = self.state.lock();
        let host = state.accounting.host(id);
        host.is_none_or(|host| host.n_calls_on(key) == 0)
    }

    fn carry_out(self: &Arc<Self>, state: &mut State, step: Step<Session>) -> Option<Settled> {
        match step {
            Step::Connect(id, key) => {
                let target = state.targets.get(&id)?.clone();
                let task = session_task::run(Arc::clone(self), id, key, target);
                self.tasks.spawn_on(task, &self.runtime);
                None
            }
            Step::Grant(ticket, id, key, session) => {
                let sender = state.waiting.remove(&ticket);
                let outcome = Ok(SessionLease::new(Arc::clone(self), id, key, session));
                Some(Settled { sender, outcome })
            }
            Step::Refuse(ticket, refusal) => {
                let sender = state.waiting.remove(&ticket);
                let outcome = Err(refusal);
                Some(Settled { sender, outcome })
            }
            Step::Close(session) => {
                session.close.cancel();
                None
            }
        }
    }
}

pub(super) fn key_of(target: &Target) -> TargetKey {
    (target.transport_name(), target.destination().clone())
}
