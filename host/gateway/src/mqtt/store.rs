//! What the broker keeps over a restart: retained messages, sessions, and what waits for them.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwapOption;
use postern_core::{
    BoxFuture, Error, Text,
    event::durable::{ConsumerSettings, ConsumerStart, EventConsumer, EventLog},
    mqtt::{Publication, TopicFilter},
};
use postern_net::mqtt::{MqttStore, StoredSession};
use postern_wasm::Records;
use tracing::warn;

use super::{
    record::{read_session, write_session},
    retained::{RetainedMessages, unavailable},
};

/// The embedded store of the broker.
pub(super) struct SessionStore {
    pub retained: Arc<RetainedMessages>,
    sessions: Records,
    /// What was published for sessions that outlive their connections.
    log: ArcSwapOption<LogOfSessions>,
}

/// The log, in a box of known size.
struct LogOfSessions(Arc<dyn EventLog>);

impl SessionStore {
    pub(super) fn new(retained: Arc<RetainedMessages>, sessions: Records) -> Self {
        Self {
            retained,
            sessions,
            log: ArcSwapOption::empty(),
        }
    }

    /// Sessions keep what waits for them in `log`.
    pub(super) fn set_log(&self, log: Arc<dyn EventLog>) {
        self.log.store(Some(Arc::new(LogOfSessions(log))));
    }

    /// Where what waits for sessions is appended; none where it is kept in memory.
    pub(super) fn log(&self) -> Option<Arc<dyn EventLog>> {
        let log = self.log.load();
        log.as_ref().map(|log| Arc::clone(&log.0))
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
        let records = self.sessions.clone();
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
            Ok(all.into_iter().filter_map(read).collect())
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
        let (records, log) = (self.sessions.clone(), self.log());
        Box::pin(async move {
            let deleted = records.delete(client_id.to_string()).await;
            deleted.map_err(|error| unavailable(&error))?;
            if let Some(log) = log {
                log.delete_consumer(&client_id).await?;
            }
            Ok(())
        })
    }

    fn session_queue(
        &self,
        client_id: Text,
        filters: Vec<TopicFilter>,
        in_flight_max: usize,
    ) -> BoxFuture<Result<Option<Box<dyn EventConsumer>>, Error>> {
        let log = self.log();
        Box::pin(async move {
            let Some(log) = log else { return Ok(None) };
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
                ack_wait: std::time::Duration::ZERO,
                back_off: Vec::new(),
                deliveries_max: 0,
                in_flight_max,
                is_ordered: false,
            };
            log.consumer(settings).await.map(Some)
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
