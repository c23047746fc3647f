//! Commands for consumer groups.

use std::{sync::Arc, time::Duration};

use postern_core::{
    event::durable::{ConsumerStart, Position},
    resp::{
        ClaimOptions, GroupConsumer, PendingOptions, RangeEnd, ReadOptions, RespError, RespValue,
        StreamId, StreamStart,
        arguments::{is, shown},
        range_from, range_until,
    },
};
use postern_system::clock;

use super::{
    entry::{self, entry_of},
    failure::Refusal,
    groups::{Group, GroupWait},
    pending::Claim,
    stream::Stream,
    streams::StreamJob,
};

impl StreamJob {
    pub(super) async fn answer_group(self) -> Result<RespValue, Refusal> {
        match self.command.name {
            "xreadgroup" => self.read_group().await,
            "xack" => self.acknowledge().await,
            "xpending" => self.pending().await,
            "xclaim" => self.claim().await,
            "xautoclaim" => self.auto_claim().await,
            "xgroup|create" => self.create().await,
            "xgroup|destroy" => self.destroy().await,
            "xgroup|setid" => self.set_id().await,
            "xgroup|createconsumer" => self.create_consumer().await,
            "xgroup|delconsumer" => self.delete_consumer().await,
            "xinfo|stream" => self.stream_info().await,
            "xinfo|groups" => self.groups_info().await,
            "xinfo|consumers" => self.consumers_info().await,
            name => Err(RespError::new(format!("ERR '{name}' is not served")).into()),
        }
    }

    fn in_flight_max(&self) -> usize {
        self.listener.settings.load().redis.pending_max
    }

    /// The stream and its group, where there are both.
    pub(super) async fn find(
        &self,
        stream: &[u8],
        group: &[u8],
    ) -> Result<Option<(Stream, Arc<Group>)>, Refusal> {
        let Some(stream) = self.listener.front.log_of(stream) else {
            return Ok(None);
        };
        let Ok(name) = std::str::from_utf8(group) else {
            return Ok(None);
        };
        let groups = &self.listener.front.groups;
        let group = groups.find(&stream, name, self.in_flight_max()).await?;
        Ok(group.map(|group| (stream, group)))
    }

    async fn read_group(&self) -> Result<RespValue, Refusal> {
        let options = ReadOptions::read(&self.request, true)?;
        let Some(GroupConsumer { group, consumer }) = options.group else {
            return Err(RespError::SYNTAX.into());
        };
        let mut found_groups = Vec::new();
        for (key, start) in &options.streams {
            let found = self.find(key, group).await?;
            let (stream, group) = found.ok_or_else(|| {
                RespError::new(format!(
                    "NOGROUP No such key '{}' or consumer group '{}' in XREADGROUP with GROUP option",
                    shown(key),
                    shown(group)
                ))
            })?;
            if *start == StreamStart::New {
                return Err(NO_NEWS_OF_GROUPS.into());
            }
            group.see(consumer, clock::unix_time_ms())?;
            found_groups.push((stream, group, *start));
        }
        let limit = self.listener.settings.load().redis.entries_max;
        let count = match options.count {
            0 => limit,
            count => count.min(limit),
        };
        let is_unacknowledged = options.is_unacknowledged;
        let found = self
            .read_groups(&found_groups, consumer, count, is_unacknowledged)
            .await?;
        let is_history = |(_, _, start): &(_, _, StreamStart)| *start != StreamStart::Undelivered;
        if !found.is_empty() || found_groups.iter().any(is_history) {
            return Ok(self.answer_of(found));
        }
        let wait = match options.block_ms {
            None => return Ok(RespValue::NullArray),
            Some(0) => GroupWait::ForEver,
            Some(ms) => GroupWait::For(Duration::from_millis(ms)),
        };
        let waiting = found_groups.iter().map(|(stream, group, _)| {
            let reading = group.read_new(stream, consumer, count, wait, is_unacknowledged);
            Box::pin(async move { reading.await.map(|events| (stream, events)) })
        });
        let (first, ..) = futures_util::future::select_all(waiting).await;
        let (stream, events) = first?;
        let found = match events.is_empty() {
            true => Vec::new(),
            false => {
                let key = stream.key.as_bytes();
                let entries = events.iter().map(|stored| entry_of(stored, key)).collect();
                vec![(RespValue::bulk(key.to_vec()), RespValue::Array(entries))]
            }
        };
        Ok(self.answer_of(found))
    }

    /// What there is at once: new events, or what the consumer has not acknowledged.
    async fn read_groups(
        &self,
        groups: &[(Stream, Arc<Group>, StreamStart)],
        consumer: &[u8],
        count: usize,
        is_unacknowledged: bool,
    ) -> Result<Vec<(RespValue, RespValue)>, Refusal> {
        let mut found = Vec::new();
        for (stream, group, start) in groups {
            let key = stream.key.as_bytes();
            let entries: Vec<_> = match start {
                StreamStart::After(id) => {
                    let pending = group.pending.lock();
                    let behind = pending
                        .of(consumer)
                        .filter(|(position, _)| *position >= id.next());
                    behind
                        .take(count)
                        .map(|(_, entry)| entry_of(&entry.stored, key))
                        .collect()
                }
                StreamStart::New | StreamStart::Undelivered => {
                    let wait = GroupWait::None;
                    let reading = group.read_new(stream, consumer, count, wait, is_unacknowledged);
                    let events = reading.await?;
                    if events.is_empty() {
                        continue;
                    }
                    events.iter().map(|stored| entry_of(stored, key)).collect()
                }
            };
            found.push((RespValue::bulk(key.to_vec()), RespValue::Array(entries)));
        }
        Ok(found)
    }

    async fn acknowledge(&self) -> Result<RespValue, Refusal> {
        let found = self
            .find(self.request.octets(1), self.request.octets(2))
            .await?;
        let Some((_, group)) = found else {
            return Ok(RespValue::Integer(0));
        };
        let ids = self.request.rest(3).map(|id| StreamId::read(id, 0));
        let ids: Result<Vec<_>, _> = ids.collect();
        let positions: Vec<_> = ids?.into_iter().filter_map(StreamId::event).collect();
        let n_acknowledged = match positions.is_empty() {
            true => 0,
            false => group.acknowledge(positions).await?,
        };
        Ok(number(n_acknowledged))
    }

    async fn pending(&self) -> Result<RespValue, Refusal> {
        let options = PendingOptions::read(&self.request)?;
        let (_, group) = self.find_or_say().await?;
        let Some(options) = options else {
            return Ok(summary(&group));
        };
        let (from, until) = (range_from(options.from)?, range_until(options.until)?);
        let (RangeEnd::At(from), RangeEnd::At(until)) = (from, until) else {
            return Ok(RespValue::Array(Vec::new()));
        };
        let (now, pending) = (clock::unix_time_ms(), group.pending.lock());
        let is_asked = |consumer: &[u8]| options.consumer.is_none_or(|asked| asked == consumer);
        let entries = pending
            .between(from, until)
            .filter_map(|(position, entry)| {
                let idle_ms = now.saturating_sub(entry.delivered_at_ms);
                (idle_ms >= options.idle_ms_min && is_asked(&entry.consumer)).then(|| {
                    RespValue::Array(vec![
                        id(position),
                        RespValue::Bulk(entry.consumer.clone()),
                        number(idle_ms),
                        number(entry.n_deliveries),
                    ])
                })
            });
        Ok(RespValue::Array(entries.take(options.count).collect()))
    }

    async fn claim(&self) -> Result<RespValue, Refusal> {
        let (stream, group) = self.find_or_say().await?;
        let options = ClaimOptions::read(&self.request)?;
        let consumer = self.request.octets(3);
        let now = clock::unix_time_ms();
        group.see(consumer, now)?;
        let claim = claim_of(&options, now);
        let mut pending = group.pending.lock();
        let claimed = options.ids.iter().filter_map(|id| {
            let entry = pending.claim(id.event()?, consumer, claim)?;
            Some(match options.gives_ids_only {
                true => entry::id_of(&entry.stored),
                false => entry_of(&entry.stored, stream.key.as_bytes()),
            })
        });
        Ok(RespValue::Array(claimed.collect()))
    }

    async fn auto_claim(&self) -> Result<RespValue, Refusal> {
        let options = ClaimOptions::read_auto(&self.request)?;
        let (stream, group) = self.find_or_say().await?;
        let consumer = self.request.octets(3);
        let now = clock::unix_time_ms();
        group.see(consumer, now)?;
        let start = options.ids.first().copied().unwrap_or_default();
        let from = match start.sequence {
            0 => Position(start.position),
            _ => start.next(),
        };
        let claim = claim_of(&options, now);
        let mut pending = group.pending.lock();
        // Redis looks at ten times as many as it claims.
        let looked_at = pending
            .between(from, Position(u64::MAX))
            .map(|(position, _)| position);
        let looked_at: Vec<_> = looked_at.take(options.count.saturating_mul(10)).collect();
        let (mut claimed, mut next) = (Vec::new(), StreamId::default());
        for (idx, position) in looked_at.iter().enumerate() {
            if claimed.len() >= options.count {
                next = StreamId::of(*position);
                break;
            }
            if let Some(entry) = pending.claim(*position, consumer, claim) {
                claimed.push(match options.gives_ids_only {
                    true => entry::id_of(&entry.stored),
                    false => entry_of(&entry.stored, stream.key.as_bytes()),
                });
            }
            if idx + 1 == looked_at.len() {
                let mut behind = pending.between(Position(position.0 + 1), Position(u64::MAX));
                next = behind
                    .next()
                    .map_or(next, |(position, _)| StreamId::of(position));
            }
        }
        drop(pending);
        Ok(RespValue::Array(vec![
            RespValue::bulk(next.to_string()),
            RespValue::Array(claimed),
            // What is pending is kept here, whatever became of it in the log.
            RespValue::Array(Vec::new()),
        ]))
    }

    async fn create(&self) -> Result<RespValue, Refusal> {
        let mut makes_stream = false;
        let mut idx = 5;
        while let Some(word) = self.request.try_octets(idx) {
            if is(word, "MKSTREAM") {
                makes_stream = true;
                idx += 1;
            } else if is(word, "ENTRIESREAD") && self.request.len() > idx + 1 {
                postern_core::resp::arguments::integer(self.request.octets(idx + 1))?;
                idx += 2;
            } else {
                return Err(RespError::SYNTAX.into());
            }
        }
        let (stream, group) = (self.group_stream(makes_stream)?, self.group_name()?);
        let start = self.group_start()?;
        let groups = &self.listener.front.groups;
        let creating = groups.create(&stream, group, start, self.in_flight_max());
        match creating.await? {
            true => Ok(RespValue::OK),
            false => Err(RespError::BUSY_GROUP.into()),
        }
    }

    async fn destroy(&self) -> Result<RespValue, Refusal> {
        let (stream, group) = (self.group_stream(false)?, self.group_name()?);
        let destroyed = self.listener.front.groups.destroy(&stream, group).await?;
        Ok(RespValue::Integer(destroyed.into()))
    }

    async fn set_id(&self) -> Result<RespValue, Refusal> {
        let stream = self.group_stream(false)?;
        let start = self.group_start()?;
        let group = self.find_group(&stream).await?;
        if group.pending.lock().len() > 0 {
            return Err(RespError::fixed(
                "ERR the group has entries that were not acknowledged; acknowledge them, or destroy it",
            )
            .into());
        }
        let (name, groups) = (self.group_name()?, &self.listener.front.groups);
        groups.destroy(&stream, name).await?;
        groups
            .create(&stream, name, start, self.in_flight_max())
            .await?;
        Ok(RespValue::OK)
    }

    async fn create_consumer(&self) -> Result<RespValue, Refusal> {
        let stream = self.group_stream(false)?;
        let group = self.find_group(&stream).await?;
        let is_new = group.see(self.request.octets(4), clock::unix_time_ms())?;
        Ok(RespValue::Integer(is_new.into()))
    }

    async fn delete_consumer(&self) -> Result<RespValue, Refusal> {
        let stream = self.group_stream(false)?;
        let group = self.find_group(&stream).await?;
        let released = group.pending.lock().remove_consumer(self.request.octets(4));
        let n_released = released.len();
        group.release(released).await?;
        Ok(RespValue::count(n_released))
    }

    /// The stream and group of the first two arguments.
    async fn find_or_say(&self) -> Result<(Stream, Arc<Group>), Refusal> {
        let (key, group) = (self.request.octets(1), self.request.octets(2));
        let found = self.find(key, group).await?;
        found.ok_or_else(|| {
            let (key, group) = (shown(key), shown(group));
            RespError::new(format!(
                "NOGROUP No such key '{key}' or consumer group '{group}'"
            ))
            .into()
        })
    }

    /// The stream of a command of two words.
    fn group_stream(&self, makes_stream: bool) -> Result<Stream, RespError> {
        self.stream(2).ok_or_else(|| match makes_stream {
            false => RespError::fixed(
                "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may \
                 want to use the MKSTREAM option to create an empty stream automatically.",
            ),
            true => RespError::new(format!(
                "ERR '{0}' is no durable topic; make it one by a table [topics.\"{0}\"]",
                shown(self.request.octets(2))
            )),
        })
    }

    fn group_name(&self) -> Result<&str, RespError> {
        let name = std::str::from_utf8(self.request.octets(3));
        name.map_err(|_| RespError::fixed("ERR the name of the group is not UTF-8"))
    }

    pub(super) async fn find_group(&self, stream: &Stream) -> Result<Arc<Group>, Refusal> {
        let found = self
            .find(stream.key.as_bytes(), self.request.octets(3))
            .await?;
        found.map(|(_, group)| group).ok_or_else(|| {
            let (key, group) = (&stream.key, shown(self.request.octets(3)));
            RespError::new(format!(
                "NOGROUP No such consumer group '{group}' for key name '{key}'"
            ))
            .into()
        })
    }

    /// Where a group begins: behind an id, or with what is new.
    fn group_start(&self) -> Result<ConsumerStart, RespError> {
        let id = self.request.octets(4);
        if id == b"$" {
            return Ok(ConsumerStart::New);
        }
        let id = match id {
            b"-" => StreamId::default(),
            id => StreamId::read(id, 0)?,
        };
        Ok(match id.position {
            0 => ConsumerStart::First,
            position => ConsumerStart::After(Position(position)),
        })
    }
}

fn summary(group: &Group) -> RespValue {
    let pending = group.pending.lock();
    let Some((first, last)) = pending.first_and_last() else {
        let none = RespValue::Null;
        return RespValue::Array(vec![
            RespValue::Integer(0),
            none.clone(),
            none,
            RespValue::NullArray,
        ]);
    };
    let consumers = pending
        .consumers()
        .into_iter()
        .filter(|(_, _, n_pending)| *n_pending > 0);
    let consumers = consumers.map(|(name, _, n_pending)| {
        RespValue::Array(vec![
            RespValue::Bulk(name),
            RespValue::bulk(n_pending.to_string()),
        ])
    });
    RespValue::Array(vec![
        RespValue::count(pending.len()),
        id(first),
        id(last),
        RespValue::Array(consumers.collect()),
    ])
}

fn claim_of(options: &ClaimOptions, now_ms: u64) -> Claim {
    let idle = options.idle_ms.map(|idle| now_ms.saturating_sub(idle));
    Claim {
        now_ms,
        idle_ms_min: options.idle_ms_min,
        delivered_at_ms: options.since_ms.or(idle).unwrap_or(now_ms).min(now_ms),
        n_deliveries: options.n_deliveries,
        counts: !options.gives_ids_only,
    }
}

/// The id of the entry at a position.
pub(super) fn id(position: Position) -> RespValue {
    RespValue::bulk(StreamId::of(position).to_string())
}

/// A number that is never below zero.
pub(super) fn number(number: u64) -> RespValue {
    RespValue::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

const NO_NEWS_OF_GROUPS: RespError = RespError::fixed(
    "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this \
     consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just \
     return an empty result set.",
);
