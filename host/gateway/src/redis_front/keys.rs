//! Commands for keys, whatever they hold, and the way to the store that a client is granted.

use std::sync::Arc;

use postern_core::{
    key_value::KEYS_MAX,
    resp::{
        ExpireOptions, Expiry, RespCommand, RespError, RespRequest, RespValue, ScanOptions,
        glob_literal_prefix, glob_matches,
    },
};
use postern_net::resp::RespAnswer;
use postern_system::clock;

use super::{
    client::RedisClient,
    failure::{Refusal, settled},
    listener::RedisListener,
    strings,
    table::{KeyTable, LiveEntry, key_of, now_ms},
};

/// A command on its way to a table.
pub(super) struct KeyJob {
    pub listener: Arc<RedisListener>,
    pub table: Arc<KeyTable>,
    pub request: RespRequest,
    pub command: &'static RespCommand,
}

impl RedisClient {
    pub(super) fn key_command(
        &self,
        request: RespRequest,
        command: &'static RespCommand,
    ) -> RespAnswer {
        let rules = self.rules();
        let store = rules.redis.stores.get(self.state.said().database);
        let Some(store) = store else {
            return RespAnswer::Now(NO_STORE.into());
        };
        let job = KeyJob {
            listener: Arc::clone(&self.listener),
            table: self.listener.front.tables.shared(store),
            request,
            command,
        };
        if self.listener.is_clear() && !rules.has_grants() {
            return RespAnswer::Later(Box::pin(async move { settled(job.answer().await) }));
        }
        let permission = self.permission(command);
        RespAnswer::Later(Box::pin(async move {
            match permission.await {
                Ok(principal) if rules.grants(principal.as_deref()) => settled(job.answer().await),
                Ok(principal) => {
                    let user = principal.as_ref().map(|principal| principal.name.as_str());
                    RespValue::error(format!(
                        "NOPERM User {} is not granted the store",
                        user.unwrap_or("default")
                    ))
                }
                Err(refused) => refused,
            }
        }))
    }
}

impl KeyJob {
    async fn answer(self) -> Result<RespValue, Refusal> {
        if self.command.group == "string" && self.is_stream(self.request.octets(1)) {
            return Err(RespError::WRONG_TYPE.into());
        }
        if let Some(answer) = strings::answer(&self).await {
            return answer;
        }
        let key = || key_of(self.request.octets(1));
        match self.command.name {
            "del" | "unlink" => self.delete().await,
            "exists" | "touch" => self.count_existing().await,
            "type" => self.kind().await,
            "expire" | "pexpire" | "expireat" | "pexpireat" => self.expire().await,
            "persist" => self.persist(key()?).await,
            "ttl" | "pttl" | "expiretime" | "pexpiretime" => self.end(key()?).await,
            "keys" => self.keys().await,
            "dbsize" => self.count_keys().await,
            "scan" => self.scan().await,
            name => Err(RespError::new(format!("ERR '{name}' is not served")).into()),
        }
    }

    /// Whether the name is that of a durable topic.
    fn is_stream(&self, name: &[u8]) -> bool {
        self.listener.front.log_of(name).is_some()
    }

    async fn delete(&self) -> Result<RespValue, Refusal> {
        let mut n_deleted = 0;
        for key in self.request.rest(1) {
            if let Ok(key) = key_of(key) {
                n_deleted += usize::from(self.table.delete(key).await?);
            }
        }
        Ok(RespValue::count(n_deleted))
    }

    async fn count_existing(&self) -> Result<RespValue, Refusal> {
        let mut n_existing = 0;
        for name in self.request.rest(1) {
            let is_there = match key_of(name) {
                Ok(key) => self.table.get(&key).await?.is_some(),
                Err(_) => false,
            };
            n_existing += usize::from(is_there || self.is_stream(name));
        }
        Ok(RespValue::count(n_existing))
    }

    async fn kind(&self) -> Result<RespValue, Refusal> {
        let name = self.request.octets(1);
        let is_string = match key_of(name) {
            Ok(key) => self.table.get(&key).await?.is_some(),
            Err(_) => false,
        };
        Ok(RespValue::Simple(match (is_string, self.is_stream(name)) {
            (true, _) => "string".into(),
            (false, true) => "stream".into(),
            (false, false) => "none".into(),
        }))
    }

    async fn expire(&self) -> Result<RespValue, Refusal> {
        let (request, name) = (&self.request, self.command.name);
        let options = ExpireOptions::read(request)?;
        let (is_seconds, is_absolute) = (!name.starts_with('p'), name.ends_with("at"));
        let expiry = Expiry::of_any(request.octets(2), is_seconds, is_absolute, name)?;
        let now = clock::unix_time_ms();
        let at = expiry.at(now, name)?;
        let Ok(key) = key_of(request.octets(1)) else {
            return Ok(RespValue::Integer(0));
        };
        let decide = |before: Option<&LiveEntry>| {
            let changed = before.filter(|before| options.allow(before.ends_at, at));
            let wanted = changed.map(|before| {
                Some(LiveEntry {
                    value: before.value.clone(),
                    ends_at: Some(at),
                })
            });
            Ok((wanted, RespValue::Integer(changed.is_some().into())))
        };
        self.table.update(&key, decide).await
    }

    async fn persist(&self, key: String) -> Result<RespValue, Refusal> {
        let decide = |before: Option<&LiveEntry>| {
            let changed = before.filter(|before| before.ends_at.is_some());
            let wanted = changed.map(|before| {
                Some(LiveEntry {
                    value: before.value.clone(),
                    ends_at: None,
                })
            });
            Ok((wanted, RespValue::Integer(changed.is_some().into())))
        };
        self.table.update(&key, decide).await
    }

    async fn end(&self, key: String) -> Result<RespValue, Refusal> {
        let Some(entry) = self.table.get(&key).await? else {
            return Ok(RespValue::Integer(if self.is_stream(key.as_bytes()) {
                -1
            } else {
                -2
            }));
        };
        let Some(at) = entry.ends_at else {
            return Ok(RespValue::Integer(-1));
        };
        let left = at.saturating_sub(now_ms()).max(0);
        Ok(RespValue::Integer(match self.command.name {
            // As Redis rounds it.
            "ttl" => left.saturating_add(500) / 1000,
            "pttl" => left,
            "expiretime" => at.saturating_add(500) / 1000,
            _ => at,
        }))
    }

    async fn keys(&self) -> Result<RespValue, Refusal> {
        let pattern = self.request.octets(1);
        let keys = self.matching(pattern).await?;
        Ok(RespValue::Array(
            keys.into_iter().map(RespValue::bulk).collect(),
        ))
    }

    async fn count_keys(&self) -> Result<RespValue, Refusal> {
        Ok(RespValue::count(self.matching(b"*").await?.len()))
    }

    /// All keys of a pattern, within a bound.
    async fn matching(&self, pattern: &[u8]) -> Result<Vec<String>, Refusal> {
        let limit = self.listener.settings.load().redis.keys_max;
        let (mut after, mut found, mut n_seen) = (None::<String>, Vec::new(), 0);
        loop {
            let keys = self
                .table
                .keys(prefix_of(pattern), after.as_deref(), KEYS_MAX)
                .await?;
            n_seen += keys.len();
            let is_last = keys.len() < KEYS_MAX;
            after = keys.last().cloned();
            let live = keys.into_iter().filter(|key| self.is_meant(pattern, key));
            found.extend(live);
            if n_seen > limit {
                return Err(RespError::new(format!(
                    "ERR there are more than {limit} keys to look at; use SCAN"
                ))
                .into());
            }
            if is_last {
                return Ok(found);
            }
        }
    }

    fn is_meant(&self, pattern: &[u8], key: &str) -> bool {
        glob_matches(pattern, key.as_bytes()) && !self.table.is_over(key)
    }

    async fn scan(&self) -> Result<RespValue, Refusal> {
        let options = ScanOptions::read(&self.request)?;
        let cursors = &self.listener.front.cursors;
        let after = match options.cursor {
            0 => None,
            number => Some(cursors.key_of(number).ok_or(RespError::INVALID_CURSOR)?),
        };
        let pattern = options.pattern.unwrap_or(b"*");
        let count = options.count.min(KEYS_MAX);
        let keys = self
            .table
            .keys(prefix_of(pattern), after.as_deref(), count)
            .await?;
        let next = match keys.last() {
            Some(last) if keys.len() == count => cursors.give(last.clone()),
            Some(_) | None => 0,
        };
        let is_kind = options
            .kind
            .is_none_or(|kind| kind.eq_ignore_ascii_case(b"string"));
        let meant = keys
            .into_iter()
            .filter(|key| is_kind && self.is_meant(pattern, key));
        Ok(RespValue::Array(vec![
            RespValue::bulk(next.to_string()),
            RespValue::Array(meant.map(RespValue::bulk).collect()),
        ]))
    }
}

/// What every key that `pattern` means begins with.
fn prefix_of(pattern: &[u8]) -> &str {
    let literal = glob_literal_prefix(pattern);
    match std::str::from_utf8(literal) {
        Ok(text) => text,
        Err(error) => {
            let whole = literal.get(..error.valid_up_to()).unwrap_or_default();
            std::str::from_utf8(whole).unwrap_or_default()
        }
    }
}

const NO_STORE: RespError = RespError::fixed(
    "NOPERM no store is granted here; name one in the key redis.stores of the listener",
);
