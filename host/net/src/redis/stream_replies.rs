//! What servers answer about streams, read into what the log needs. What makes no sense is left out.

use bytes::Bytes;
use postern_core::{event::durable::Position, redis::position_of};
use redis::{FromRedisValue, Value};

/// An entry of a stream. Its fields are none where it was deleted or trimmed while somebody had it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StreamEntry {
    pub(super) id: String,
    pub(super) fields: Option<Vec<(Bytes, Bytes)>>,
}

/// An entry that somebody was given and has not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PendingEntry {
    pub(super) id: String,
    pub(super) n_deliveries: u32,
}

/// What `XAUTOCLAIM` gives.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Claimed {
    /// Where to go on; `0-0` at the end.
    pub(super) cursor: String,
    pub(super) entries: Vec<StreamEntry>,
}

impl StreamEntry {
    pub(super) fn position(&self) -> Option<Position> {
        position_of(&self.id)
    }
}

/// Entries of `XRANGE`, and of one stream of `XREADGROUP`.
pub(super) fn entries(reply: Value) -> Vec<StreamEntry> {
    let rows = reply.into_sequence().unwrap_or_default().into_iter();
    rows.filter_map(entry).collect()
}

/// Entries of the one stream that was read; none where the wait was for nothing.
pub(super) fn entries_read(reply: Value) -> Vec<StreamEntry> {
    // RESP3 has a map from streams to entries, RESP2 pairs.
    let rows = if let Value::Map(streams) = reply {
        streams.into_iter().next().map(|(_, rows)| rows)
    } else {
        let streams = reply.into_sequence().unwrap_or_default();
        let first = streams.into_iter().next();
        let pair = first.and_then(|pair| pair.into_sequence().ok());
        pair.and_then(|pair| pair.into_iter().nth(1))
    };
    rows.map_or_else(Vec::new, entries)
}

pub(super) fn claimed(reply: Value) -> Claimed {
    let mut parts = reply.into_sequence().unwrap_or_default().into_iter();
    Claimed {
        cursor: parts.next().and_then(text).unwrap_or_default(),
        entries: parts.next().map_or_else(Vec::new, entries),
    }
}

/// Rows of `XPENDING` with a range: id, consumer, idle time, deliveries.
pub(super) fn pending(reply: Value) -> Vec<PendingEntry> {
    let rows = reply.into_sequence().unwrap_or_default().into_iter();
    let row = |row: Value| {
        let mut row = row.into_sequence().ok()?.into_iter();
        let id = text(row.next()?)?;
        let n_deliveries = number(row.nth(2)?)?;
        Some(PendingEntry {
            id,
            n_deliveries: u32::try_from(n_deliveries).unwrap_or(u32::MAX),
        })
    };
    rows.filter_map(row).collect()
}

/// The value of `name` in a map, or in a list of names and values.
pub(super) fn value_of(reply: &Value, name: &str) -> Option<Value> {
    let is_named = |value: &Value| text(value.clone()).is_some_and(|text| text == name);
    if let Value::Map(pairs) = reply {
        let found = pairs.iter().find(|(key, _)| is_named(key));
        return found.map(|(_, value)| value.clone());
    }
    let values = reply.as_sequence()?;
    let mut pairs = values.chunks_exact(2);
    let found = pairs.find(|pair| pair.first().is_some_and(is_named))?;
    found.get(1).cloned()
}

pub(super) fn text(value: Value) -> Option<String> {
    String::from_redis_value(value).ok()
}

pub(super) fn number(value: Value) -> Option<u64> {
    u64::from_redis_value(value).ok()
}

fn entry(row: Value) -> Option<StreamEntry> {
    let mut row = row.into_sequence().ok()?.into_iter();
    let id = text(row.next()?)?;
    let fields = row.next().filter(|fields| *fields != Value::Nil);
    let fields = fields.and_then(|fields| fields.into_sequence().ok());
    let fields = fields.map(|fields| {
        let mut octets = fields.into_iter().map(octets);
        let mut pairs = Vec::new();
        while let (Some(name), Some(value)) = (octets.next(), octets.next()) {
            pairs.push((name, value));
        }
        pairs
    });
    Some(StreamEntry { id, fields })
}

fn octets(value: Value) -> Bytes {
    Vec::<u8>::from_redis_value(value).map_or_else(|_| Bytes::new(), Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(reply: &str) -> Value {
        redis::parse_redis_value(reply.as_bytes()).expect("a reply")
    }

    const ROW: &str =
        "*2\r\n$3\r\n7-1\r\n*4\r\n$5\r\ntopic\r\n$1\r\na\r\n$7\r\npayload\r\n$0\r\n\r\n";

    fn check_entry(entries: &[StreamEntry]) {
        let pair =
            |name: &'static str, value: &'static str| (Bytes::from(name), Bytes::from(value));
        let fields = Some(vec![pair("topic", "a"), pair("payload", "")]);
        let id = "7-1".to_owned();
        assert_eq!(entries, [StreamEntry { id, fields }]);
    }

    #[test]
    fn entries_are_read_from_both_protocols() {
        check_entry(&entries(value(&format!("*1\r\n{ROW}"))));
        check_entry(&entries_read(value(&format!(
            "%1\r\n$1\r\ns\r\n*1\r\n{ROW}"
        ))));
        check_entry(&entries_read(value(&format!(
            "*1\r\n*2\r\n$1\r\ns\r\n*1\r\n{ROW}"
        ))));
        assert_eq!(entries_read(value("_\r\n")), []);
    }

    #[test]
    fn an_entry_that_is_gone_has_no_fields() {
        let read = entries(value("*1\r\n*2\r\n$3\r\n7-1\r\n*-1\r\n"));
        assert_eq!(read[0].fields, None);
    }

    #[test]
    fn claims_and_pending_rows_are_read() {
        let claimed = claimed(value(&format!("*3\r\n$3\r\n9-0\r\n*1\r\n{ROW}*0\r\n")));
        assert_eq!(claimed.cursor, "9-0");
        check_entry(&claimed.entries);
        let rows = pending(value("*1\r\n*4\r\n$3\r\n7-1\r\n$1\r\nc\r\n:5\r\n:3\r\n"));
        let id = "7-1".to_owned();
        assert_eq!(
            rows,
            [PendingEntry {
                id,
                n_deliveries: 3
            }]
        );
    }

    #[test]
    fn a_value_is_found_by_its_name() {
        for reply in [
            "%1\r\n$6\r\nlength\r\n:4\r\n",
            "*2\r\n$6\r\nlength\r\n:4\r\n",
        ] {
            assert_eq!(value_of(&value(reply), "length").and_then(number), Some(4));
        }
        assert_eq!(value_of(&value("*0\r\n"), "length"), None);
    }
}
