//! The file: its tables, and reading it on threads that may wait for it.
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | `format` | `postern-events 1` |
//! | `logs` | name | `LogState` |
//! | `events NAME` | position | event, as `core::event::durable::record` writes it |
//! | `consumers NAME` | name | `ConsumerState` |
//! | `receipts NAME` | position | `EventReceipt` of an event that was appended with one |

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use postern_core::{
    Text,
    event::durable::{
        ConsumerState, EventMark, EventReceipt, LogState, OrderKey, Position, RecordError,
        Retention, StoredEvent, decode_event, stored_at_ms,
    },
};
use postern_wasm::{GroupCommit, StoreError};
use redb::{
    Database, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata,
    TableDefinition, TableError,
};

use super::settings::{EventStoreError, FORMAT};

pub(super) type Rows<'a> = TableDefinition<'a, &'static str, &'static [u8]>;
pub(super) type Events<'a> = TableDefinition<'a, u64, &'static [u8]>;

pub(super) const LOGS: Rows<'static> = Rows::new("logs");
const META: Rows<'static> = Rows::new("meta");
const FORMAT_KEY: &str = "format";

/// Names of a log's own tables.
#[derive(Debug)]
pub(super) struct LogTables {
    pub events: String,
    pub consumers: String,
    pub receipts: String,
}

/// The file, whose writer is asked `R`.
pub(super) struct Disk<R> {
    pub file: GroupCommit<R>,
}

/// A log as the file has it.
#[derive(Debug, Default)]
pub(super) struct LoadedLog {
    pub state: LogState,
    pub oldest: Option<EventMark>,
    pub consumers: Vec<(Text, Vec<u8>)>,
    /// By interest: every event.
    pub events: Vec<(Position, Text, OrderKey)>,
}

/// Events that lie behind each other.
#[derive(Debug)]
pub(super) struct RangeRead {
    pub events: Vec<StoredEvent>,
    /// Whether there was none behind them.
    pub is_end: bool,
}

/// A read that failed: the file, or what it holds.
#[derive(Debug)]
pub(super) enum ReadError {
    Store(StoreError),
    Record(Position, RecordError),
}

impl LogTables {
    pub(super) fn new(log: &str) -> Self {
        Self {
            events: format!("events {log}"),
            consumers: format!("consumers {log}"),
            receipts: format!("receipts {log}"),
        }
    }
}

impl<R> Disk<R> {
    /// Whether the file is what this version writes; a new one becomes that.
    pub(super) fn check_format(&self, path: &Path) -> Result<(), EventStoreError> {
        check_format(&self.file.opened()?.database, path)
    }

    /// At most `events_max` events of a log from `from` on, and no more than about `bytes_max`.
    pub(super) async fn range(
        &self,
        tables: &Arc<LogTables>,
        from: Position,
        (events_max, bytes_max): (usize, usize),
    ) -> Result<RangeRead, ReadError> {
        let tables = Arc::clone(tables);
        let read = self.file.read(move |transaction| {
            let Some(table) = open(transaction.open_table(Events::new(&tables.events)))? else {
                return Ok((Vec::new(), true));
            };
            let (mut found, mut n_bytes) = (Vec::new(), 0);
            for entry in table.range(from.0..)? {
                if found.len() >= events_max || n_bytes >= bytes_max {
                    return Ok((found, false));
                }
                let (position, record) = entry?;
                let record = Bytes::copy_from_slice(record.value());
                n_bytes += record.len();
                found.push((Position(position.value()), record));
            }
            Ok((found, true))
        });
        let (records, is_end) = read.await.map_err(ReadError::Store)?;
        Ok(RangeRead {
            events: decode_all(records)?,
            is_end,
        })
    }

    /// Those of `positions` that are there.
    pub(super) async fn events(
        &self,
        tables: &Arc<LogTables>,
        positions: Vec<Position>,
    ) -> Result<Vec<StoredEvent>, ReadError> {
        let tables = Arc::clone(tables);
        let read = self.file.read(move |transaction| {
            let Some(table) = open(transaction.open_table(Events::new(&tables.events)))? else {
                return Ok(Vec::new());
            };
            let mut found = Vec::new();
            for position in positions {
                if let Some(record) = table.get(position.0)? {
                    found.push((position, Bytes::copy_from_slice(record.value())));
                }
            }
            Ok(found)
        });
        decode_all(read.await.map_err(ReadError::Store)?)
    }

    /// The log's receipts, the oldest first.
    pub(super) async fn receipts(
        &self,
        tables: &Arc<LogTables>,
    ) -> Result<Vec<EventReceipt>, ReadError> {
        let tables = Arc::clone(tables);
        let read = self.file.read(move |transaction| {
            let Some(table) = open(transaction.open_table(Events::new(&tables.receipts)))? else {
                return Ok(Vec::new());
            };
            let mut found = Vec::new();
            for entry in table.iter()? {
                let (position, receipt) = entry?;
                let receipt = EventReceipt::decode(receipt.value());
                found.push((Position(position.value()), receipt));
            }
            Ok(found)
        });
        let receipts = read.await.map_err(ReadError::Store)?.into_iter();
        let valid = |(position, receipt): (Position, Result<EventReceipt, RecordError>)| {
            receipt.map_err(|error| ReadError::Record(position, error))
        };
        receipts.map(valid).collect()
    }

    /// What there is of the log `name`.
    pub(super) async fn load(
        &self,
        name: Text,
        tables: &Arc<LogTables>,
        retention: Retention,
    ) -> Result<LoadedLog, EventStoreError> {
        let (tables, log) = (Arc::clone(tables), name.clone());
        let read = self
            .file
            .read(move |transaction| load(transaction, &log, &tables, retention));
        let faulty = |(what, source)| EventStoreError::Record {
            log: name,
            what,
            source,
        };
        read.await?.map_err(faulty)
    }
}

impl ReadError {
    pub(super) fn to_error(&self, log: &Text) -> postern_core::Error {
        match self {
            Self::Store(error) => error.to_error(),
            Self::Record(position, source) => EventStoreError::Record {
                log: log.clone(),
                what: format!("event {position}"),
                source: *source,
            }
            .to_error(),
        }
    }
}

/// The oldest event of a table.
pub(super) fn oldest(
    events: &impl ReadableTable<u64, &'static [u8]>,
) -> Result<Option<EventMark>, redb::StorageError> {
    let Some((position, record)) = events.first()? else {
        return Ok(None);
    };
    let record = record.value();
    Ok(Some(EventMark {
        position: Position(position.value()),
        record_bytes: record.len() as u64,
        // What cannot be read goes as the oldest there is.
        stored_at_ms: stored_at_ms(record).unwrap_or(0),
    }))
}

fn load(
    transaction: &ReadTransaction,
    log: &Text,
    tables: &LogTables,
    retention: Retention,
) -> Result<Result<LoadedLog, (String, RecordError)>, redb::Error> {
    let mut loaded = LoadedLog::default();
    let Some(logs) = open(transaction.open_table(LOGS))? else {
        return Ok(Ok(loaded));
    };
    if let Some(state) = logs.get(log.as_str())? {
        match LogState::decode(state.value()) {
            Ok(state) => loaded.state = state,
            Err(error) => return Ok(Err(("its state".to_owned(), error))),
        }
    }
    if let Some(consumers) = open(transaction.open_table(Rows::new(&tables.consumers)))? {
        for entry in consumers.iter()? {
            let (name, record) = entry?;
            let (name, record) = (Text::from(name.value()), record.value().to_vec());
            if let Err(error) = ConsumerState::decode(name.clone(), &record) {
                return Ok(Err((format!("consumer {name}"), error)));
            }
            loaded.consumers.push((name, record));
        }
    }
    let Some(events) = open(transaction.open_table(Events::new(&tables.events)))? else {
        return Ok(Ok(loaded));
    };
    loaded.oldest = oldest(&events)?;
    loaded.state.n_events = events.len()?;
    if retention == Retention::Limits {
        return Ok(Ok(loaded));
    }
    for entry in events.iter()? {
        let (position, record) = entry?;
        let position = Position(position.value());
        match decode_event(position, Bytes::copy_from_slice(record.value())) {
            Ok(StoredEvent { event, .. }) => {
                // The text is a part of the record, which is not to stay.
                let topic = Text::from(event.topic.as_str());
                loaded.events.push((position, topic, OrderKey::of(&event)));
            }
            Err(error) => return Ok(Err((format!("event {position}"), error))),
        }
    }
    Ok(Ok(loaded))
}

/// Whether `database` is what this version writes; an empty one becomes that.
pub(super) fn check_format(database: &Database, path: &Path) -> Result<(), EventStoreError> {
    let found = format_of(database).map_err(|error| StoreError::Database(Arc::new(error)))?;
    match found {
        Some(found) if found == FORMAT => Ok(()),
        Some(found) => Err(EventStoreError::Format {
            path: path.display().to_string(),
            found,
        }),
        None => {
            let written = write_format(database);
            Ok(written.map_err(|error| StoreError::Database(Arc::new(error)))?)
        }
    }
}

/// What the file says it is; none of an empty one.
fn format_of(database: &Database) -> Result<Option<String>, redb::Error> {
    let transaction = database.begin_read()?;
    let Some(meta) = open(transaction.open_table(META))? else {
        let n_tables = transaction.list_tables()?.count();
        return Ok((n_tables > 0).then(|| "unknown".to_owned()));
    };
    let found = meta.get(FORMAT_KEY)?;
    let text = found.map(|found| String::from_utf8_lossy(found.value()).into_owned());
    Ok(Some(text.unwrap_or_default()))
}

fn write_format(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut meta = transaction.open_table(META)?;
        meta.insert(FORMAT_KEY, FORMAT.as_bytes())?;
        transaction.open_table(LOGS)?;
    }
    transaction.commit()?;
    Ok(())
}

/// The table, where anything was written to it yet.
fn open<T>(opened: Result<T, TableError>) -> Result<Option<T>, redb::Error> {
    match opened {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn decode_all(records: Vec<(Position, Bytes)>) -> Result<Vec<StoredEvent>, ReadError> {
    let decode = |(position, record)| {
        decode_event(position, record).map_err(|error| ReadError::Record(position, error))
    };
    records.into_iter().map(decode).collect()
}
