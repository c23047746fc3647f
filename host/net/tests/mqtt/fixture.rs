//! A broker with a backend that does as topics say, and clients in memory.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use postern_core::{
    BoxFuture, Peer, Text,
    event::Publisher,
    mqtt::{Publication, Qos, Reason, SharedFilter, TopicName},
};
use postern_net::{
    Counters, Shutdown,
    mqtt::{
        Acceptance, Broker, BrokerConfig, ClientLimits, ConnectAttempt, MqttAdmission, MqttBackend,
        MqttClient, MqttConfig, MqttFront, MqttRefusal,
    },
};
use postern_system::clock;
use tokio::{io::duplex, task::JoinHandle};

use crate::{
    client::{CLEAN, Client, V3_ACCEPTED, connect_v3},
    store::{SharedStore, Store},
};

/// Topics that begin with `forbidden` may not be published or subscribed to, `late` ones are taken after
/// a second, `full` ones are not taken. User `nobody` may not connect.
#[derive(Debug)]
pub(crate) struct Backend {
    store: Arc<Store>,
    published: Mutex<Vec<(Text, Bytes)>>,
    attempts: Mutex<Vec<ConnectAttempt>>,
}

pub(crate) struct Fixture {
    pub(crate) broker: Broker,
    pub(crate) store: Arc<Store>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) shutdown: Shutdown,
    front: MqttFront,
    backend: Arc<Backend>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        Self::with(ClientLimits::default(), Arc::default()).await
    }

    /// With stored queues.
    pub(crate) async fn durable() -> Self {
        Self::with(ClientLimits::default(), Arc::new(Store::durable())).await
    }

    pub(crate) async fn with(limits: ClientLimits, store: Arc<Store>) -> Self {
        Self::telling(limits, store, None).await
    }

    /// With `$SYS`, published so often.
    pub(crate) async fn telling(
        limits: ClientLimits,
        store: Arc<Store>,
        sys_interval: Option<Duration>,
    ) -> Self {
        let shared = Arc::new(SharedStore(Arc::clone(&store)));
        let config = BrokerConfig {
            sys_interval,
            ..BrokerConfig::default()
        };
        let broker = Broker::open(config, shared).await.expect("a broker");
        let backend = Arc::new(Backend {
            store: Arc::clone(&store),
            published: Mutex::default(),
            attempts: Mutex::default(),
        });
        let counters = Arc::new(Counters::default());
        let config = MqttConfig {
            client: Arc::new(limits),
            ..MqttConfig::default()
        };
        let front = MqttFront::new(
            config,
            broker.clone(),
            Arc::<Backend>::clone(&backend),
            Arc::clone(&counters),
        );
        let fixture = Self {
            broker: broker.clone(),
            store,
            counters,
            shutdown: Shutdown::new(),
            front,
            backend,
            tasks: Mutex::default(),
        };
        let shutdown = fixture.shutdown.clone();
        fixture.own(tokio::spawn(async move { broker.run(shutdown).await }));
        fixture
    }

    /// The next run of a gateway that was killed: nothing but what is stored is left.
    pub(crate) async fn crash(self) -> Self {
        let tasks = std::mem::take(&mut *self.tasks.lock().expect("no panic"));
        for task in tasks {
            task.abort();
            let _ = task.await;
        }
        self.store.crash();
        Self::with(ClientLimits::default(), Arc::clone(&self.store)).await
    }

    fn own(&self, task: JoinHandle<()>) {
        self.tasks.lock().expect("no panic").push(task);
    }

    /// A link to the broker.
    pub(crate) fn open(&self) -> Client {
        let (stream, served) = duplex(1 << 16);
        let (front, shutdown) = (self.front.clone(), self.shutdown.child());
        self.own(tokio::spawn(async move {
            front.serve(served, Peer::default(), shutdown).await;
        }));
        Client { stream }
    }

    /// A client that has said `connect` and was told `expected`.
    pub(crate) async fn connect(&self, connect: &[u8], expected: &[u8]) -> Client {
        let mut client = self.open();
        client.ask(connect, expected).await;
        client
    }

    /// A clean client of 3.1.1.
    pub(crate) async fn v3(&self, id: &str) -> Client {
        self.connect(&connect_v3(id, CLEAN, 0), V3_ACCEPTED).await
    }

    /// One of 5; what CONNACK says is not looked at.
    pub(crate) async fn v5(&self, connect: &[u8]) -> Client {
        let mut client = self.open();
        client.send(connect).await;
        let connack = client.packet().await;
        assert_eq!((connack[0], connack[3]), (0x20, 0), "{connack:02x?}");
        client
    }

    pub(crate) fn published(&self) -> Vec<(Text, Bytes)> {
        self.backend.published.lock().expect("no panic").clone()
    }

    pub(crate) fn attempts(&self) -> Vec<ConnectAttempt> {
        self.backend.attempts.lock().expect("no panic").clone()
    }
}

impl MqttBackend for Backend {
    fn connect(&self, attempt: ConnectAttempt) -> BoxFuture<Result<MqttAdmission, MqttRefusal>> {
        let is_refused = attempt.user_name.as_deref() == Some("nobody");
        self.attempts.lock().expect("no panic").push(attempt);
        Box::pin(async move {
            tokio::task::yield_now().await;
            match is_refused {
                true => Err(MqttRefusal::new(Reason::BAD_CREDENTIALS, "no")),
                false => Ok(MqttAdmission {
                    principal: None,
                    limits: None,
                    response_information: Some("r/".into()),
                }),
            }
        })
    }

    fn rules_version(&self) -> u64 {
        1
    }

    fn may_publish(&self, _: &MqttClient, topic: &TopicName) -> Result<(), Reason> {
        may(&topic.name)
    }

    fn may_subscribe(&self, _: &MqttClient, filter: &SharedFilter) -> Result<(), Reason> {
        may(filter.filter.as_str())
    }

    fn publish(
        &self,
        client: &Arc<MqttClient>,
        publication: &Arc<Publication>,
        is_kept: bool,
    ) -> Acceptance {
        if publication.topic.name.starts_with("full") {
            return Acceptance::Now(Err(MqttRefusal::new(Reason::QUOTA_EXCEEDED, "full")));
        }
        let taken = (publication.topic.name.clone(), publication.payload.clone());
        self.published.lock().expect("no panic").push(taken);
        if publication.is_retained {
            self.store.retain(publication);
        }
        if is_kept && publication.qos != Qos::AtMostOnce {
            let client_id = client.client_id.as_str();
            let event = publication.to_event(clock::now(), Publisher::default(), Some(client_id));
            self.store.append(event);
        }
        if publication.topic.name.starts_with("late") {
            return Acceptance::Later(Box::pin(async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Ok(0)
            }));
        }
        Acceptance::Now(Ok(0))
    }
}

fn may(name: &str) -> Result<(), Reason> {
    match name.starts_with("forbidden") {
        true => Err(Reason::NOT_AUTHORIZED),
        false => Ok(()),
    }
}
