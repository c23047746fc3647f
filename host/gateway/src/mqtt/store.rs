//! What the broker keeps over a restart: retained messages, sessions, and what waits for them.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::Arc,
    time::Duration,
};

use postern_core::{
    BoxFuture, Error, Text,
    event::{
        Event, Published, Publisher,
        durable::{
            ConsumerSettings, ConsumerStart, EventConsumer, EventLog, LogLimits, Position, WhenFull,
        },
    },
    mqtt::{COMPLETED_ID, Publication, Qos, Reason, SharedFilter, TopicFilter},
};
use postern_net::mqtt::{Acceptance, MqttRefusal, MqttStore, StoredSession};
use postern_system::clock;
use postern_wasm::Records;
use tokio::sync::OnceCell;
use tracing::warn;

use super::{
    record::{read_session, write_session},
    refusal::refusal,
    retained::{RetainedMessages, unavailable},
    shares,
};
use crate::{
    config::Mqtt,
    events::{DurableTopics, EventService},
};

/// The embedded store of the broker.
pub(super) struct SessionStore {
    pub retained: Arc<RetainedMessages>,
    sessions: Records,
    queues: Arc<SessionQueues>,
    events: EventService,
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
        events: EventService,
        mqtt: &Mqtt,
    ) -> Self {
        let queues = SessionQueues {
            topics: Arc::clone(events.topics()),
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
            events,
        }
    }

    /// Takes a publication that is no call: everything that its QoS promises, but for MQTT subscribers.
    /// `by` is who publishes it, and the client's name.
    pub(super) fn take(
        &self,
        (publisher, client_id): (Publisher, &str),
        publication: &Arc<Publication>,
        is_kept: bool,
    ) -> Acceptance {
        let is_kept = is_kept && publication.qos != Qos::AtMostOnce;
        // What is kept says whose it was: its client may want nothing of its own.
        let client_id = is_kept.then_some(client_id);
        let event = publication.to_event(clock::now(), publisher, client_id);
        let retaining = match self.retain(publication, &event) {
            Ok(retaining) => retaining,
            Err(refused) => return Acceptance::Now(Err(refused)),
        };
        let published = self.events.publisher().publish_of_tap(event, is_kept);
        match (published, retaining) {
            (Err(error), _) => Acceptance::Now(Err(refusal(&error))),
            (Ok(Published::Told(n_told)), None) => Acceptance::Now(Ok(n_told)),
            (Ok(published), retaining) => Acceptance::Later(Box::pin(async move {
                if let Some(written) = retaining {
                    written.await.map_err(|error| refusal(&error))?;
                }
                published.stored().await.map_err(|error| refusal(&error))
            })),
        }
    }

    /// Retains a publication that asks for it; what is to be waited for with QoS 1 and 2.
    fn retain(
        &self,
        publication: &Arc<Publication>,
        event: &Event,
    ) -> Result<Option<BoxFuture<Result<(), Error>>>, MqttRefusal> {
        if !publication.is_retained {
            return Ok(None);
        }
        let checked = self.events.hub().check(event);
        checked.map_err(|error| refusal(&error))?;
        let written = self.retained.set(publication)?;
        // With QoS 0 nobody waits for the disk.
        Ok((publication.qos != Qos::AtMostOnce).then_some(written))
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
            let mut sessions: Vec<_> = all.into_iter().filter_map(read).collect();
            if !sessions.is_empty() {
                // From here on it keeps what is published for them.
                let log = queues.log().await?;
                forget_gone(&**log, &mut sessions).await?;
                // What was found is a session's from here on.
                for idx in find_receipts(&**log, &mut sessions).await? {
                    if let Some(session) = sessions.get(idx) {
                        let name = session.client_id.to_string();
                        let put = records.put(name, write_session(session)).await;
                        put.map_err(|error| unavailable(&error))?;
                    }
                }
                shares::settle(&**log, &sessions).await?;
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
                Some(log) => {
                    let name = shares::name_of_client(&client_id);
                    log.delete_consumer(&name).await.map(drop)
                }
                None => Ok(()),
            }
        })
    }

    fn publish_will(
        &self,
        client_id: &Text,
        publication: &Arc<Publication>,
        is_kept: bool,
    ) -> Acceptance {
        if publication.topic.name.as_str().starts_with('$') {
            let text = "nobody calls any more";
            return Acceptance::Now(Err(MqttRefusal::new(Reason::NOT_AUTHORIZED, text)));
        }
        self.take(
            (Publisher::default(), client_id.as_str()),
            publication,
            is_kept,
        )
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
            let name = shares::name_of_client(&client_id);
            let settings = queue_settings(name, &filters, in_flight_max)?;
            queues.log().await?.consumer(settings).await
        })
    }

    fn share_queue(
        &self,
        filter: SharedFilter,
    ) -> BoxFuture<Result<Box<dyn EventConsumer>, Error>> {
        let queues = Arc::clone(&self.queues);
        Box::pin(async move { shares::open(&**queues.log().await?, &filter).await })
    }

    fn delete_share(&self, filter: SharedFilter) -> BoxFuture<Result<(), Error>> {
        let queues = Arc::clone(&self.queues);
        Box::pin(async move {
            match queues.log.get() {
                Some(log) => {
                    let name = shares::name_of_share(&filter);
                    log.delete_consumer(&name).await.map(drop)
                }
                None => Ok(()),
            }
        })
    }
}

/// A consumer that is not ordered, has no `ack_wait` and no bound of deliveries.
pub(super) fn queue_settings(
    name: Text,
    filters: &[TopicFilter],
    in_flight_max: usize,
) -> Result<ConsumerSettings, Error> {
    let mut patterns = Vec::new();
    for filter in filters {
        let of_filter = filter
            .patterns()
            .map_err(|error| Error::invalid_argument(format!("filter {filter}: {error}")))?;
        patterns.extend(of_filter);
    }
    Ok(ConsumerSettings {
        name,
        patterns,
        start: ConsumerStart::New,
        ack_wait: Duration::ZERO,
        back_off: Vec::new(),
        deliveries_max: 0,
        in_flight_max,
        is_ordered: false,
    })
}

/// Publications with QoS 2 that were stored, and whose identifiers were not kept when the gateway was
/// killed: their clients will send them again, and they are not to be taken twice. Gives the sessions
/// that have any.
async fn find_receipts(
    log: &dyn EventLog,
    sessions: &mut [StoredSession],
) -> Result<BTreeSet<usize>, Error> {
    let mut found = BTreeSet::new();
    let taken = sessions
        .iter()
        .enumerate()
        .map(|(idx, session)| (session.client_id.clone(), (idx, session.taken_receipt)));
    let taken: HashMap<Text, (usize, u64)> = taken.collect();
    for receipt in log.receipts().await? {
        let Some((idx, taken_receipt)) = taken.get(&receipt.client) else {
            continue;
        };
        if receipt.number > *taken_receipt
            && let Some(session) = sessions.get_mut(*idx)
        {
            found.insert(*idx);
            session.received.push(receipt.packet_id);
            session.taken_receipt = session.taken_receipt.max(receipt.number);
        }
    }
    Ok(found)
}

/// What clients have completed need not be remembered once it has left the log.
async fn forget_gone(log: &dyn EventLog, sessions: &mut [StoredSession]) -> Result<(), Error> {
    let info = log.info().await?;
    let is_there = |position: Position| info.n_events > 0 && position >= info.first;
    for session in sessions {
        let released = &mut session.released;
        released.retain(|(id, at)| *id != COMPLETED_ID || at.is_some_and(is_there));
    }
    Ok(())
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
