//! What the store keeps over a restart, what it gives to whom, and what it does when its disk fails.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    time::Duration,
};

use bytes::Bytes;
use postern_core::{
    Error, Headers, Kind, Text,
    event::{
        Event, Publisher, TopicPattern,
        durable::{
            ConsumerSettings, ConsumerStart, EventConsumer, EventLog, EventReceipt, LogLimits,
            Position, Redelivery, WhenFull,
        },
    },
    mqtt::{Publication, Qos, Receipt, TopicName},
};
use postern_system::clock;
use redb::{StorageBackend, backends::FileBackend};
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::*;

/// A store in a folder of its own, which may be opened again.
struct Fixture {
    folder: TempDir,
    store: EventStore,
}

impl Fixture {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let store = EventStore::open(&folder.path().join("events.redb"), &Arc::default());
        Self {
            store: store.unwrap(),
            folder,
        }
    }

    /// As after a restart.
    fn again(self) -> Self {
        let Self { folder, store } = self;
        drop(store);
        let store = EventStore::open(&folder.path().join("events.redb"), &Arc::default());
        Self {
            store: store.unwrap(),
            folder,
        }
    }

    async fn log(&self, limits: LogLimits) -> Arc<LocalLog> {
        self.store.open_log(of("t.>", limits)).await.unwrap()
    }
}

fn pattern(text: &str) -> TopicPattern {
    TopicPattern::new(text).unwrap()
}

fn of(name: &str, limits: LogLimits) -> LogSettings {
    LogSettings {
        name: name.into(),
        keeps: LogTopics::Of(pattern(name)),
        limits,
        dead_letter: None,
    }
}

fn asked(name: &str) -> LogSettings {
    LogSettings {
        keeps: LogTopics::Asked { pending_max: 1000 },
        ..of(name, LogLimits::default())
    }
}

fn event(topic: &str, payload: impl Into<Bytes>) -> Event {
    Event {
        topic: topic.into(),
        headers: Headers::new(),
        payload: payload.into(),
        publisher: Publisher::default(),
    }
}

fn settings(name: &str, patterns: &[&str]) -> ConsumerSettings {
    ConsumerSettings {
        name: name.into(),
        patterns: patterns.iter().map(|text| pattern(text)).collect(),
        start: ConsumerStart::First,
        ack_wait: Duration::from_secs(60),
        back_off: Vec::new(),
        deliveries_max: 0,
        in_flight_max: 100,
        is_ordered: false,
    }
}

async fn append(log: &LocalLog, topic: &str, payload: &str) -> Position {
    let event = event(topic, payload.to_owned());
    log.append(event).await.unwrap()
}

/// What is taken at once, with the numbers of deliveries.
async fn take(consumer: &dyn EventConsumer) -> Vec<(String, u32)> {
    let events = consumer.take(100).await.unwrap().into_iter();
    events
        .map(|one| {
            let payload = String::from_utf8(one.event.payload.to_vec()).unwrap();
            (payload, one.n_deliveries)
        })
        .collect()
}

fn once(payloads: &[&str]) -> Vec<(String, u32)> {
    payloads.iter().map(|one| ((*one).to_owned(), 1)).collect()
}

#[tokio::test]
async fn what_was_stored_and_not_acknowledged_is_there_after_a_restart() {
    let fixture = Fixture::new();
    let log = fixture.log(LogLimits::default()).await;
    let consumer = log.consumer(settings("c", &["t.>"])).await.unwrap();
    for (n, payload) in (1..).zip(["a", "b", "c"]) {
        assert_eq!(append(&log, "t.x", payload).await, Position(n));
    }
    assert_eq!(take(&*consumer).await, once(&["a", "b", "c"]));
    let acknowledged = consumer.acknowledge(vec![Position(2)]).await;
    assert_eq!(acknowledged.unwrap(), 1);
    drop((log, consumer));
    let fixture = fixture.again();
    let log = fixture.log(LogLimits::default()).await;
    let info = log.info().await.unwrap();
    assert_eq!(
        (info.n_events, info.first, info.last),
        (3, Position(1), Position(3))
    );
    let consumer = log.consumer(settings("c", &["t.>"])).await.unwrap();
    let again = [("a".to_owned(), 2), ("c".to_owned(), 2)];
    assert_eq!(take(&*consumer).await, again);
    assert_eq!(append(&log, "t.x", "d").await, Position(4));
    assert_eq!(take(&*consumer).await, once(&["d"]));
}

#[tokio::test]
async fn a_member_waits_for_events_and_another_gets_what_it_leaves() {
    let fixture = Fixture::new();
    let log = fixture.log(LogLimits::default()).await;
    let one = log.consumer(settings("c", &["t.a"])).await.unwrap();
    let other = log.consumer(settings("c", &["t.a"])).await.unwrap();
    let taking = one.take(10);
    let appending = async {
        append(&log, "t.b", "not wanted").await;
        append(&log, "t.a", "wanted").await;
    };
    let (taken, ()) = tokio::join!(taking, appending);
    assert_eq!(taken.unwrap().len(), 1);
    drop(one);
    assert_eq!(take(&*other).await, once(&["wanted"]));
}

#[tokio::test]
async fn who_stops_waiting_loses_nothing() {
    let fixture = Fixture::new();
    let log = fixture.log(LogLimits::default()).await;
    let consumer = log.consumer(settings("c", &["t.a"])).await.unwrap();
    for n in 0..50 {
        let mut taking = consumer.take(1);
        // Polled once, and dropped.
        let now = futures_util::poll!(&mut taking);
        assert!(now.is_pending(), "{n}: {now:?}");
    }
    append(&log, "t.a", "1").await;
    assert_eq!(take(&*consumer).await, once(&["1"]));
}

#[tokio::test]
async fn a_refused_event_comes_again_and_then_goes_to_the_dead_letters() {
    let fixture = Fixture::new();
    let (kept, mut dead) = mpsc::unbounded_channel();
    fixture.store.set_dead_letters(Arc::new(move |event| {
        let sent = kept.send(event);
        Box::pin(async move { sent.map_err(|_| Error::internal("the test has ended")) })
    }));
    let log = fixture.log(LogLimits::default()).await;
    let few = ConsumerSettings {
        deliveries_max: 2,
        is_ordered: true,
        ..settings("c", &["t.a"])
    };
    let consumer = log.consumer(few).await.unwrap();
    append(&log, "t.a", "bad").await;
    append(&log, "t.a", "good").await;
    for n in [1, 2] {
        assert_eq!(take(&*consumer).await, [("bad".to_owned(), n)]);
        let refused = consumer.refuse(Position(1), Redelivery::BackOff, "no".into());
        refused.await.unwrap();
    }
    assert_eq!(take(&*consumer).await, once(&["good"]));
    let letter = dead.recv().await.unwrap();
    assert_eq!(
        (&*letter.topic, &letter.payload[..]),
        ("dead-letter.t.a", &b"bad"[..])
    );
    let reason = letter.headers.get_str("event-dead-reason");
    assert_eq!(reason.as_deref(), Some("no"));
    let info = log.info().await.unwrap();
    assert_eq!(info.consumers[0].n_dead, 1);
}

#[tokio::test]
async fn events_go_by_the_limits_of_their_log() {
    let fixture = Fixture::new();
    let limits = LogLimits {
        events_max: 2,
        ..LogLimits::default()
    };
    let log = fixture.log(limits).await;
    for payload in ["1", "2", "3"] {
        append(&log, "t.a", payload).await;
    }
    let events = log.read(Position(0), 10).await.unwrap();
    let positions: Vec<_> = events.iter().map(|event| event.position.0).collect();
    assert_eq!(positions, [2, 3]);
    let refusing = LogLimits {
        when_full: WhenFull::Refuse,
        ..limits
    };
    log.apply(refusing, None);
    let refused = log.append(event("t.a", "4")).await.unwrap_err();
    assert_eq!(refused.kind, Kind::ResourceExhausted);
    assert_eq!(
        refused.message,
        "topics.\"t.>\": the log holds 2 events, which is the limit (max-messages)"
    );
    let wider = LogLimits {
        events_max: 3,
        ..refusing
    };
    log.apply(wider, None);
    assert_eq!(append(&log, "t.a", "4").await, Position(4));
}

#[tokio::test]
async fn by_interest_an_event_is_gone_once_all_have_acknowledged_it() {
    let fixture = Fixture::new();
    let log = fixture.store.open_log(asked("sessions")).await.unwrap();
    assert!(!log.wants("t.a"));
    let one = log.consumer(settings("one", &["t.*"])).await.unwrap();
    let other = log.consumer(settings("other", &["t.a"])).await.unwrap();
    assert!(log.wants("t.a") && log.wants("t.b") && !log.wants("u"));
    append(&log, "t.a", "both").await;
    append(&log, "t.b", "one").await;
    assert_eq!(take(&*one).await, once(&["both", "one"]));
    assert_eq!(take(&*other).await, once(&["both"]));
    one.acknowledge(vec![Position(1), Position(2)])
        .await
        .unwrap();
    assert_eq!(log.info().await.unwrap().n_events, 1);
    drop((log, one, other));
    let fixture = fixture.again();
    let log = fixture.store.open_log(asked("sessions")).await.unwrap();
    assert_eq!(log.info().await.unwrap().n_events, 1);
    assert!(log.delete_consumer(&"other".into()).await.unwrap());
    assert!(!log.delete_consumer(&"other".into()).await.unwrap());
    let one = log.consumer(settings("one", &["t.*"])).await.unwrap();
    // What the deletion has freed goes with the next commit.
    append(&log, "t.b", "next").await;
    assert_eq!(take(&*one).await, once(&["next"]));
    one.acknowledge(vec![Position(3)]).await.unwrap();
    assert_eq!(log.info().await.unwrap().n_events, 0);
}

#[tokio::test]
async fn a_receipt_stays_when_its_event_goes() {
    let fixture = Fixture::new();
    let log = fixture.store.open_log(asked("q")).await.unwrap();
    let consumer = log.consumer(settings("c", &["t.>"])).await.unwrap();
    let topic = TopicName::new("t/x").unwrap();
    let mut publication = Publication::new(topic, Bytes::new(), Qos::ExactlyOnce);
    publication.receipt = Some(Receipt {
        number: 7,
        packet_id: 3,
    });
    let of_client = publication.to_event(clock::now(), Publisher::default(), Some("device"));
    log.append(of_client.clone()).await.unwrap();
    append(&log, "t.y", "of nobody").await;
    assert_eq!(consumer.take(100).await.unwrap().len(), 2);
    let both = vec![Position(1), Position(2)];
    assert_eq!(consumer.acknowledge(both).await.unwrap(), 2);
    assert_eq!(log.info().await.unwrap().n_events, 0);
    drop((log, consumer));
    let fixture = fixture.again();
    let log = fixture.store.open_log(asked("q")).await.unwrap();
    let receipt = EventReceipt {
        client: "device".into(),
        number: 7,
        packet_id: 3,
    };
    assert_eq!(log.receipts().await.unwrap(), [receipt]);
    // A log of the configuration is of those who acknowledge, and repetitions are theirs.
    let log = fixture.log(LogLimits::default()).await;
    log.append(of_client).await.unwrap();
    assert_eq!(log.receipts().await.unwrap(), []);
}

#[tokio::test]
async fn a_consumer_that_was_deleted_says_so_to_its_members() {
    let fixture = Fixture::new();
    let log = fixture.log(LogLimits::default()).await;
    let consumer = log.consumer(settings("c", &["t.>"])).await.unwrap();
    let name = Text::from("c");
    let (taken, deleted) = tokio::join!(consumer.take(1), log.delete_consumer(&name));
    assert!(deleted.unwrap());
    assert_eq!(taken.unwrap_err().kind, Kind::NotFound);
}

#[tokio::test]
async fn many_consumers_that_are_idle_are_all_there_after_a_restart() {
    let fixture = Fixture::new();
    let log = fixture.store.open_log(asked("sessions")).await.unwrap();
    let names: Vec<_> = (0..2000).map(|n| format!("device-{n}")).collect();
    let opened = names.iter().map(|name| {
        let own = format!("t.{name}");
        log.consumer(settings(name, &[&own]))
    });
    futures_util::future::try_join_all(opened).await.unwrap();
    append(&log, "t.device-7", "hello").await;
    drop(log);
    let fixture = fixture.again();
    let log = fixture.store.open_log(asked("sessions")).await.unwrap();
    assert_eq!(log.info().await.unwrap().consumers.len(), 2000);
    let consumer = log.consumer(settings("device-7", &["t.device-7"]));
    let consumer = consumer.await.unwrap();
    assert_eq!(take(&*consumer).await, once(&["hello"]));
}

#[test]
fn a_file_that_is_no_store_of_events_is_refused_by_name() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("events.redb");
    std::fs::write(&path, b"garbage that is not a database at all").unwrap();
    assert!(matches!(
        EventStore::check(&path),
        Err(EventStoreError::Store(_))
    ));
    std::fs::remove_file(&path).unwrap();
    // A database of others.
    let database = Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(disk::Rows::new("theirs")).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let refused = EventStore::check(&path).unwrap_err().to_string();
    assert!(
        refused.contains("events.redb: format \"unknown\""),
        "{refused}"
    );
}

/// A file on a disk that fails as it is told.
#[derive(Debug)]
struct Disk {
    file: FileBackend,
    is_full: Arc<AtomicBool>,
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        if self.is_full.load(SeqCst) && length > self.file.len()? {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, octets: &[u8]) -> io::Result<()> {
        self.file.write(offset, octets)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}

#[tokio::test]
async fn a_full_disk_refuses_events_and_takes_them_again_once_there_is_room() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("events.redb");
    let is_full = Arc::<AtomicBool>::default();
    let (file, full) = (path.clone(), Arc::clone(&is_full));
    let health = Arc::<StoreHealth>::default();
    let opened = GroupCommit::open_with::<LogBatches>(&path, &health, move || {
        let mut options = std::fs::File::options();
        let options = options.read(true).write(true).create(true).truncate(false);
        let file = options.open(&file)?;
        Database::builder().create_with_backend(Disk {
            file: FileBackend::new(file)?,
            is_full: Arc::clone(&full),
        })
    });
    let store = EventStore::over(&path, opened.unwrap()).unwrap();
    let log = store
        .open_log(of("t.>", LogLimits::default()))
        .await
        .unwrap();
    let consumer = log.consumer(settings("c", &["t.>"])).await.unwrap();
    append(&log, "t.a", "before").await;
    assert_eq!(take(&*consumer).await, once(&["before"]));
    is_full.store(true, SeqCst);
    // More than the file has room for.
    let large = || event("t.a", vec![7; 8 * 1024 * 1024]);
    let refused = log.append(large()).await.unwrap_err();
    assert_eq!(refused.kind, Kind::ResourceExhausted, "{refused}");
    assert!(health.is_failed());
    // What is read is still there, and what is acknowledged meanwhile is not lost.
    assert_eq!(log.read(Position(0), 10).await.unwrap().len(), 1);
    let acknowledged = consumer.acknowledge(vec![Position(1)]).await;
    assert_eq!(acknowledged.unwrap_err().kind, Kind::ResourceExhausted);
    is_full.store(false, SeqCst);
    let position = loop {
        match log.append(large()).await {
            Ok(position) => break position,
            Err(error) => assert_eq!(error.kind, Kind::ResourceExhausted),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(!health.is_failed());
    let info = log.info().await.unwrap();
    assert_eq!((info.n_events, info.last), (2, position));
    drop((consumer, log, store));
    let store = EventStore::open(&path, &Arc::default()).unwrap();
    let log = store
        .open_log(of("t.>", LogLimits::default()))
        .await
        .unwrap();
    let info = log.info().await.unwrap();
    assert_eq!(info.consumers[0].acknowledged, Position(1));
}

#[tokio::test]
async fn a_store_that_is_closed_refuses() {
    let fixture = Fixture::new();
    let log = fixture.log(LogLimits::default()).await;
    append(&log, "t.a", "1").await;
    fixture.store.close();
    let refused = log.append(event("t.a", "2")).await.unwrap_err();
    assert_eq!(refused.kind, Kind::Unavailable);
    assert_eq!(
        log.read(Position(0), 1).await.unwrap_err().kind,
        Kind::Unavailable
    );
}
