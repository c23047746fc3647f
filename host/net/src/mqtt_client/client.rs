//! A client of a broker: what others hold of it. `driver.rs` is its connection.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use postern_core::{
    Blame, Error,
    event::{QueueBounds, broker::BrokerStanding},
};
use postern_system::{clock, random};
use tokio::sync::{mpsc, oneshot};

use super::{
    config::BrokerClientConfig,
    driver::BrokerDriver,
    message::BrokerMessage,
    observer::BrokerObserver,
    queue::{BrokerQueueFull, Waiting},
    shared::{ClientShared, Command},
    written::BrokerSubscription,
};

/// What a client is made of beside its configuration.
#[derive(Debug)]
pub struct BrokerClientParts {
    /// Kept up over connections.
    pub subscriptions: Vec<BrokerSubscription>,
    pub observer: Option<Arc<dyn BrokerObserver>>,
    /// What may wait for the broker.
    pub queue: QueueBounds,
    pub when_full: BrokerQueueFull,
}

/// A client of one broker. Clones are the same one.
#[derive(Debug, Clone)]
pub struct BrokerClient {
    pub(super) shared: Arc<ClientShared>,
    pub(super) commands: mpsc::Sender<Command>,
}

/// Numbers of a client since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BrokerClientNumbers {
    /// Messages that the broker has acknowledged, or that were written with QoS 0.
    pub published: u64,
    /// Messages that it refused or that do not fit.
    pub refused: u64,
    pub received: u64,
}

impl BrokerClient {
    /// A client, and its driver, which somebody has to run.
    #[must_use]
    pub fn new(config: BrokerClientConfig, parts: BrokerClientParts) -> (Self, BrokerDriver) {
        let (commands, taken) = mpsc::channel(COMMANDS_MAX);
        let bounds = (parts.queue, parts.when_full);
        let shared = ClientShared::new(config, bounds, random::even(), clock::now());
        let shared = Arc::new(shared);
        let driver = BrokerDriver::new(
            Arc::clone(&shared),
            taken,
            (parts.subscriptions, parts.observer),
        );
        (Self { shared, commands }, driver)
    }

    #[must_use]
    pub fn config(&self) -> &BrokerClientConfig {
        &self.shared.config
    }

    /// Puts a message into the queue, where it waits for the broker, over connections. Says how many
    /// the queue has lost for it.
    pub fn enqueue(&self, message: BrokerMessage) -> u64 {
        let done = None;
        self.shared.queue.push(Waiting { message, done })
    }

    /// As `enqueue`, past the bounds of the queue, which never drops it: resolves when the broker has
    /// acknowledged it.
    ///
    /// # Errors
    /// What the broker refuses it for; `unavailable` once the driver is gone.
    pub async fn deliver(&self, message: BrokerMessage) -> Result<(), Error> {
        let (done, told) = oneshot::channel();
        let done = Some(done);
        self.shared.queue.push(Waiting { message, done });
        told.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Publishes a message on the connection that there is.
    ///
    /// # Errors
    /// `unavailable` where there is none, and where it breaks before the acknowledgement; what the
    /// broker refuses it for.
    pub async fn publish(&self, message: BrokerMessage) -> Result<(), Error> {
        self.check_connected()?;
        let (done, told) = oneshot::channel();
        self.ask(Command::Publish { message, done }).await?;
        told.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Asks for messages, which go to readers of `Sources`.
    ///
    /// # Errors
    /// As `publish`.
    pub(super) async fn subscribe(
        &self,
        subscriptions: Vec<BrokerSubscription>,
    ) -> Result<(), Error> {
        self.check_connected()?;
        let (done, told) = oneshot::channel();
        self.ask(Command::Subscribe {
            subscriptions,
            done,
        })
        .await?;
        told.await.unwrap_or_else(|_| Err(closed()))
    }

    #[must_use]
    pub fn numbers(&self) -> BrokerClientNumbers {
        BrokerClientNumbers {
            published: self.shared.n_published.load(Relaxed),
            refused: self.shared.n_refused.load(Relaxed),
            received: self.shared.n_received.load(Relaxed),
        }
    }

    #[must_use]
    pub fn link(&self) -> BrokerStanding {
        self.shared.standing(clock::now())
    }

    /// Whether the broker keeps what it gets from this client from coming back to it.
    #[must_use]
    pub fn suppresses_echo(&self) -> bool {
        self.shared.suppresses_echo()
    }

    async fn ask(&self, command: Command) -> Result<(), Error> {
        let asked = self.commands.send(command).await;
        asked.map_err(|_| closed())
    }

    fn check_connected(&self) -> Result<(), Error> {
        match self.shared.is_connected() {
            true => Ok(()),
            false => Err(self.shared.away()),
        }
    }
}

/// The driver is gone.
fn closed() -> Error {
    Error::unavailable(Blame::Gateway, "the broker's client is closed")
}

/// Commands that may wait for the driver; more wait to be sent.
const COMMANDS_MAX: usize = 256;
