//! The connections with one instance. A call goes to one without calls; where there is none another is opened,
//! up to `connections_max`, and then to the one with the fewest.

use std::{
    fmt,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use postern_core::{Blame, Error};
use tokio::{sync::Notify, task::JoinSet, time::timeout};

use super::{
    config::{VelithonAddress, VelithonUpstreamConfig},
    outgoing::{self, Lease, Outgoing, Waiting},
};

/// Those with one instance. What moves them ends with this.
pub(super) struct Connections {
    address: VelithonAddress,
    config: VelithonUpstreamConfig,
    waiting: Arc<Waiting>,
    open: Mutex<Open>,
    tasks: Mutex<JoinSet<()>>,
    /// One was opened, or could not be.
    opened: Notify,
    n_opened: AtomicU64,
}

#[derive(Debug, Default)]
struct Open {
    connections: Vec<Arc<Outgoing>>,
    n_opening: usize,
}

/// One that is being opened counts until this is dropped.
struct Opening<'a>(&'a Connections);

/// What a call may do for a connection.
enum Choice {
    Take(Lease),
    Open,
    Wait,
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connections").field(&self.address).finish()
    }
}

impl Connections {
    pub(super) fn new(address: VelithonAddress, config: VelithonUpstreamConfig) -> Self {
        Self {
            waiting: Arc::new(Waiting::new(address.clone(), config.calls_in_flight_max)),
            address,
            config,
            open: Mutex::default(),
            tasks: Mutex::default(),
            opened: Notify::new(),
            n_opened: AtomicU64::new(0),
        }
    }

    pub(super) const fn address(&self) -> &VelithonAddress {
        &self.address
    }

    pub(super) const fn config(&self) -> &VelithonUpstreamConfig {
        &self.config
    }

    pub(super) fn waiting(&self) -> &Waiting {
        &self.waiting
    }

    /// A connection for one call.
    ///
    /// # Errors
    /// `unavailable` where none can be had in time. Nothing was sent.
    pub(super) async fn lease(&self) -> Result<Lease, Error> {
        match self.choose() {
            Choice::Take(lease) => return Ok(lease),
            Choice::Open | Choice::Wait => {}
        }
        let limit = self.config.connect_timeout;
        // Boxed: few calls need a connection of their own, and opening one takes room.
        let waiting = Box::pin(self.wait_for_lease());
        timeout(limit, waiting).await.unwrap_or_else(|_| {
            let limit_ms = limit.as_millis();
            let message = format!("cannot connect to {} within {limit_ms} ms", self.address);
            Err(Error::unavailable(Blame::Upstream, message))
        })
    }

    fn choose(&self) -> Choice {
        let mut open = self.open.lock();
        open.connections.retain(|one| !one.is_over());
        let n_all = open.connections.len() + open.n_opening;
        let least = open.connections.iter().min_by_key(|one| one.n_calls());
        match least {
            Some(one) if one.n_calls() == 0 || n_all >= self.config.connections_max => {
                Choice::Take(one.lease())
            }
            Some(_) | None if n_all < self.config.connections_max => Choice::Open,
            Some(_) | None => Choice::Wait,
        }
    }

    async fn wait_for_lease(&self) -> Result<Lease, Error> {
        loop {
            let mut opened = pin!(self.opened.notified());
            // From here on nothing is missed that happens before it is awaited.
            opened.as_mut().enable();
            match self.choose() {
                Choice::Take(lease) => return Ok(lease),
                Choice::Wait => opened.await,
                Choice::Open => return self.open().await,
            }
        }
    }

    async fn open(&self) -> Result<Lease, Error> {
        let opening = Opening::new(self);
        let stream = outgoing::connect(&self.address, &self.config).await?;
        let number = self.n_opened.fetch_add(1, Ordering::Relaxed);
        let (connection, driving) = Outgoing::begin(number, stream, &self.waiting, &self.config);
        {
            let mut tasks = self.tasks.lock();
            while tasks.try_join_next().is_some() {}
            tasks.spawn(driving);
        }
        let lease = connection.lease();
        self.open.lock().connections.push(connection);
        drop(opening);
        Ok(lease)
    }
}

impl<'a> Opening<'a> {
    fn new(connections: &'a Connections) -> Self {
        connections.open.lock().n_opening += 1;
        Self(connections)
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.0.open.lock().n_opening -= 1;
        self.0.opened.notify_waiters();
    }
}
