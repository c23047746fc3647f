//! What `XINFO` tells of streams, groups and consumers.

use postern_core::{
    event::durable::StoredEvent,
    resp::{RespError, RespValue, StreamId},
};
use postern_system::clock;

use super::{
    entry::entry_of,
    failure::Refusal,
    group_commands::{id, number},
    groups::groups_of,
    streams::StreamJob,
};

impl StreamJob {
    pub(super) async fn stream_info(&self) -> Result<RespValue, Refusal> {
        let stream = self.stream(2).ok_or(NO_KEY)?;
        let info = stream.log.info().await?;
        let n_events = stream.len(&info).await?;
        let [first, last] = stream.first_and_last().await?;
        let entry = |stored: Option<StoredEvent>| {
            stored.map_or(RespValue::Null, |stored| {
                entry_of(&stored, stream.key.as_bytes())
            })
        };
        let recorded = RespValue::bulk(StreamId::of(info.first).to_string());
        Ok(RespValue::Map(vec![
            (RespValue::text("length"), number(n_events)),
            (RespValue::text("last-generated-id"), id(info.last)),
            (RespValue::text("entries-added"), number(info.last.0)),
            (RespValue::text("recorded-first-entry-id"), recorded),
            (
                RespValue::text("groups"),
                RespValue::count(groups_of(&stream, &info).len()),
            ),
            (RespValue::text("first-entry"), entry(first)),
            (RespValue::text("last-entry"), entry(last)),
        ]))
    }

    pub(super) async fn groups_info(&self) -> Result<RespValue, Refusal> {
        let stream = self.stream(2).ok_or(NO_KEY)?;
        let info = stream.log.info().await?;
        let mut groups = Vec::new();
        for (name, consumer) in groups_of(&stream, &info) {
            let found = self.find(stream.key.as_bytes(), name.as_bytes()).await?;
            let Some((_, group)) = found else {
                continue;
            };
            let pending = group.pending.lock();
            groups.push(RespValue::Map(vec![
                (RespValue::text("name"), RespValue::bulk(name.to_owned())),
                (
                    RespValue::text("consumers"),
                    RespValue::count(pending.n_consumers()),
                ),
                (RespValue::text("pending"), RespValue::count(pending.len())),
                (
                    RespValue::text("last-delivered-id"),
                    id(pending.last_delivered.max(consumer.acknowledged)),
                ),
                (RespValue::text("entries-read"), RespValue::Null),
                (RespValue::text("lag"), number(consumer.n_pending)),
            ]));
        }
        Ok(RespValue::Array(groups))
    }

    pub(super) async fn consumers_info(&self) -> Result<RespValue, Refusal> {
        let stream = self.stream(2).ok_or(NO_KEY)?;
        let group = self.find_group(&stream).await?;
        let now = clock::unix_time_ms();
        let consumers = group.pending.lock().consumers().into_iter();
        let consumers = consumers.map(|(name, seen_at, n_pending)| {
            RespValue::Map(vec![
                (RespValue::text("name"), RespValue::Bulk(name)),
                (RespValue::text("pending"), RespValue::count(n_pending)),
                (RespValue::text("idle"), number(now.saturating_sub(seen_at))),
            ])
        });
        Ok(RespValue::Array(consumers.collect()))
    }
}

const NO_KEY: RespError = RespError::fixed("ERR no such key");
