//! What the broker keeps over a restart: retained messages, sessions, and what waits for them.

use std::{fmt, sync::Arc, time::Duration};

use postern_core::{
    BoxFuture, Error, Text,
    event::durable::{
        ConsumerSettings, ConsumerStart, EventConsumer, EventLog, LogLimits, WhenFull,
    },
    mqtt::{Publication, TopicFilter},
};
use postern_net::mqtt::{MqttStore, StoredSession};
use postern_wasm::Records;
use tokio::sync::OnceCell;
use tracing::warn;

use super::{
    record::{read_session, write_session},
    retained::{RetainedMessages, unavailable},
};
use crate::{config::Mqtt, events::DurableTopics};

/// The embedded store of the broker.
pub(super) struct SessionStore {
    pub retained: Arc<RetainedMessages>,
    sessions: Records,
    queues: Arc<SessionQueues>,
}

/// What was published for sessions that outlive their connections: a log that is opened with the first
/// of them.
struct SessionQueues {
    topics: Arc<DurableTopics>,
    log: OnceCell<Arc<dyn EventLog>>,
    limits: LogLimits,
    /// Messages of one session.
    pending_max: usize,
}

impl SessionStore {
    pub(super) fn new(
        retained: Arc<RetainedMessages>,
        sessions: Records,
        topics: Arc<DurableTopics>,
        mqtt: &Mqtt,
    ) -> Self {
        let queues = SessionQueues {
            topics,
            log: OnceCell::new(),
            limits: LogLimits {
                age_max: None,
                events_max: u64::MAX,
                bytes_max: mqtt.kept_bytes_max.octets() as u64,
                when_full: WhenFull::Refuse,
            },
            pending_max: mqtt.queue_messages_max,
        };
        Self {
            retained,
            sessions,
            queues: Arc::new(queues),
        }
    }
}

impl SessionQueues {
    async fn log(&self) -> Result<&Arc<dyn EventLog>, Error> {
        let (limits, pending_max) = (self.limits, self.pending_max);
        let opening = || self.topics.open_asked(LOG, limits, pending_max);
        self.log.get_or_try_init(opening).await
    }
}

impl MqttStore for SessionStore {
    fn retained(&self, filter: &TopicFilter, found: &mut dyn FnMut(Arc<Publication>)) {
        self.retained.find(filter, found);
    }

    fn n_retained(&self) -> u64 {
        self.retained.len() as u64
    }

    fn load_sessions(&self) -> BoxFuture<Result<Vec<StoredSession>, Error>> {
        let (records, queues) = (self.sessions.clone(), Arc::clone(&self.queues));
        Box::pin(async move {
            let all = records.load_all().await;
            let all = all.map_err(|error| unavailable(&error))?;
            let read = |(client_id, record): (String, Vec<u8>)| {
                let session = read_session(client_id.clone(), record);
                let told = session.inspect_err(|error| {
                    warn!(client = client_id, %error, "a session cannot be read, its client begins anew");
                });
                told.ok()
            };
            let sessions: Vec<_> = all.into_iter().filter_map(read).collect();
            if !sessions.is_empty() {
                // From here on it keeps what is published for them.
                queues.log().await?;
            }
            Ok(sessions)
        })
    }

    fn save_session(&self, session: StoredSession) -> BoxFuture<Result<(), Error>> {
        let records = self.sessions.clone();
        Box::pin(async move {
            let record = write_session(&session);
            let put = records.put(session.client_id.to_string(), record).await;
            put.map_err(|error| unavailable(&error))
        })
    }

    fn delete_session(&self, client_id: Text) -> BoxFuture<Result<(), Error>> {
        let (records, queues) = (self.sessions.clone(), Arc::clone(&self.queues));
        Box::pin(async move {
            let deleted = records.delete(client_id.to_string()).await;
            deleted.map_err(|error| unavailable(&error))?;
            match queues.log.get() {
                Some(log) => log.delete_consumer(&client_id).await.map(drop),
                None => Ok(()),
            }
        })
    }

    fn keeps_queues(&self) -> bool {
        true
    }

    fn session_queue(
        &self,
        client_id: Text,
        filters: Vec<TopicFilter>,
        in_flight_max: usize,
    ) -> BoxFuture<Result<Box<dyn EventConsumer>, Error>> {
        let queues = Arc::clone(&self.queues);
        Box::pin(async move {
            let mut patterns = Vec::new();
            for filter in &filters {
                let of_filter = filter.patterns().map_err(|error| {
                    Error::invalid_argument(format!("filter {filter}: {error}"))
                })?;
                patterns.extend(of_filter);
            }
            let settings = ConsumerSettings {
                name: client_id,
                patterns,
                start: ConsumerStart::New,
                ack_wait: Duration::ZERO,
                back_off: Vec::new(),
                deliveries_max: 0,
                in_flight_max,
                is_ordered: false,
            };
            queues.log().await?.consumer(settings).await
        })
    }
}

impl fmt::Debug for SessionStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionStore")
            .field("retained", &self.retained)
            .finish_non_exhaustive()
    }
}

/// The log's name in the store.
const LOG: &str = "mqtt sessions";
