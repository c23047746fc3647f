//! Key/value tables in a Redis: each key of a table is one key there, a string.
//!
//! ```text
//! PREFIX kv: TABLE : KEY          in TABLE ":" and "%" are escaped, so that no table reaches into another
//! ```

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use postern_core::{
    Blame, BoxFuture, Error, Kind,
    key_value::{KeyChange, KeyValueStore},
    redis::{RedisNode, escape_glob},
};
use redis::{Cmd, Script, Value};

use super::{
    connection::Request,
    routing::{Repeat, Route, Routing},
};

/// The tables of one store. Clones are the same.
#[derive(Debug, Clone)]
pub struct RedisKeyValues {
    routing: Arc<Routing>,
    swap: Arc<Script>,
}

/// Sets or deletes a key if it has what is expected. A flag stands before each value, since an empty one is
/// a value too.
const SWAP: &str = "local value = redis.call('GET', KEYS[1])
if ARGV[1] == '1' then
  if value ~= ARGV[2] then return 0 end
elseif value then
  return 0
end
if ARGV[3] == '0' then
  redis.call('DEL', KEYS[1])
elseif ARGV[5] == '0' then
  redis.call('SET', KEYS[1], ARGV[4])
else
  redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[5])
end
return 1";

impl RedisKeyValues {
    pub(super) fn new(routing: Arc<Routing>) -> Self {
        Self {
            routing,
            swap: Arc::new(Script::new(SWAP)),
        }
    }

    /// The value of a key by its whole name.
    ///
    /// # Errors
    /// `failed-precondition` where the key is no string; as `KeyValueStore::get`.
    pub async fn get_plain(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        self.clone().read(key.to_owned()).await
    }

    /// Sets a key by its whole name.
    ///
    /// # Errors
    /// As `KeyValueStore::write`.
    pub async fn set_plain(
        &self,
        key: &str,
        value: Vec<u8>,
        ttl: Option<Duration>,
    ) -> Result<(), Error> {
        let key = key.to_owned();
        let change = KeyChange::Set {
            key: key.clone(),
            value,
        };
        self.clone().change(key, change, ttl).await.map(drop)
    }

    async fn read(self, key: String) -> Result<Option<Vec<u8>>, Error> {
        let mut command = redis::cmd("GET");
        command.arg(&key);
        let asking = self.ask(&key, command, Repeat::Harmless);
        let reply = asking.await?;
        redis::from_redis_value(reply).map_err(|error| self.senseless(&error))
    }

    async fn change(
        self,
        key: String,
        change: KeyChange,
        ttl: Option<Duration>,
    ) -> Result<bool, Error> {
        let ttl_ms = ttl.map(|ttl| {
            u64::try_from(ttl.as_millis())
                .unwrap_or(u64::MAX)
                .clamp(1, TTL_MS_MAX)
        });
        match change {
            KeyChange::Set { value, .. } => {
                let mut command = redis::cmd("SET");
                command.arg(&key).arg(value);
                if let Some(ttl_ms) = ttl_ms {
                    command.arg("PX").arg(ttl_ms);
                }
                self.ask(&key, command, Repeat::Never).await?;
                Ok(true)
            }
            KeyChange::Delete { .. } => {
                let mut command = redis::cmd("DEL");
                command.arg(&key);
                let reply = self.ask(&key, command, Repeat::Never).await?;
                self.is_one(reply)
            }
            KeyChange::Swap {
                expected, value, ..
            } => self.swap(&key, expected, value, ttl_ms).await,
        }
    }

    async fn swap(
        &self,
        key: &str,
        expected: Option<Vec<u8>>,
        value: Option<Vec<u8>>,
        ttl_ms: Option<u64>,
    ) -> Result<bool, Error> {
        let swap = |name: &str, script: &str| {
            let mut command = redis::cmd(name);
            command.arg(script).arg(1).arg(key);
            for value in [&expected, &value] {
                let octets = value.as_deref().unwrap_or_default();
                command.arg(u8::from(value.is_some())).arg(octets);
            }
            command.arg(ttl_ms.unwrap_or_default());
            Request::One(command)
        };
        let by_hash = swap("EVALSHA", self.swap.get_hash());
        let route = Route::Key(key.as_bytes());
        let reply = match self.routing.ask_script(route.clone(), &by_hash).await? {
            Some(reply) => reply,
            None => {
                // The server keeps it from here on.
                let by_text = swap("EVAL", SWAP);
                self.routing.ask(route, &by_text, Repeat::Never).await?
            }
        };
        self.is_one(reply)
    }

    async fn list(
        self,
        table: String,
        prefix: String,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<String>, Error> {
        let mut found = BTreeSet::new();
        if limit == 0 {
            return Ok(Vec::new());
        }
        let mut left = self.routing.config().scan_keys_max;
        for node in self.routing.masters().await? {
            let mut cursor = 0;
            loop {
                let (next, keys) = self.scan(&node, cursor, &table, &prefix).await?;
                let keys = keys
                    .iter()
                    .filter_map(|key| key.strip_prefix(table.as_bytes()));
                for key in keys.filter_map(|key| std::str::from_utf8(key).ok()) {
                    let is_wanted = after.as_deref().is_none_or(|after| key > after);
                    if is_wanted && key.starts_with(&prefix) {
                        found.insert(key.to_owned());
                        // The smallest are wanted.
                        if found.len() > limit {
                            found.pop_last();
                        }
                    }
                }
                if next == 0 {
                    break;
                }
                left = left
                    .checked_sub(SCAN_COUNT)
                    .ok_or_else(|| self.too_many())?;
                cursor = next;
            }
        }
        Ok(found.into_iter().collect())
    }

    async fn scan(
        &self,
        node: &RedisNode,
        cursor: u64,
        table: &str,
        prefix: &str,
    ) -> Result<(u64, Vec<Vec<u8>>), Error> {
        let mut command = redis::cmd("SCAN");
        let glob = format!("{}{}*", escape_glob(table), escape_glob(prefix));
        command.arg(cursor).arg("MATCH").arg(glob);
        command.arg("COUNT").arg(SCAN_COUNT);
        let request = Request::One(command);
        let route = Route::Node(node);
        let reply = self.routing.ask(route, &request, Repeat::Harmless).await?;
        redis::from_redis_value(reply).map_err(|error| self.senseless(&error))
    }

    async fn ask(&self, key: &str, command: Cmd, repeat: Repeat) -> Result<Value, Error> {
        let (route, request) = (Route::Key(key.as_bytes()), Request::One(command));
        self.routing.ask(route, &request, repeat).await
    }

    fn is_one(&self, reply: Value) -> Result<bool, Error> {
        let number: i64 = redis::from_redis_value(reply).map_err(|error| self.senseless(&error))?;
        Ok(number == 1)
    }

    fn senseless(&self, error: &redis::ParsingError) -> Error {
        let message = format!("store {}: {error}", self.routing.config().name);
        Error::new(Kind::Internal, Blame::Upstream, message)
    }

    fn too_many(&self) -> Error {
        let config = self.routing.config();
        let (name, most) = (&config.name, config.scan_keys_max);
        let message = format!(
            "store {name}: more than {most} keys to look through; raise stores.{name}.scan-keys-max, or give \
             the gateway a database of its own"
        );
        Error::new(Kind::ResourceExhausted, Blame::Gateway, message)
    }

    /// How the keys of `table` begin.
    fn prefix_of(&self, table: &str) -> String {
        let escaped = table.replace('%', "%25").replace(':', "%3A");
        format!("{}kv:{escaped}:", self.routing.config().key_prefix)
    }
}

impl KeyValueStore for RedisKeyValues {
    fn get(&self, table: &str, key: &str) -> BoxFuture<Result<Option<Vec<u8>>, Error>> {
        let key = self.prefix_of(table) + key;
        Box::pin(self.clone().read(key))
    }

    fn keys(
        &self,
        table: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> BoxFuture<Result<Vec<String>, Error>> {
        let (table, prefix) = (self.prefix_of(table), prefix.to_owned());
        let after = after.map(str::to_owned);
        Box::pin(self.clone().list(table, prefix, after, limit))
    }

    fn write(
        &self,
        table: &str,
        change: KeyChange,
        ttl: Option<Duration>,
    ) -> BoxFuture<Result<bool, Error>> {
        let key = self.prefix_of(table) + change.key();
        Box::pin(self.clone().change(key, change, ttl))
    }
}

/// Keys that a server is to look at for one answer, and is asked to look at at a time.
const SCAN_COUNT: u64 = 1000;
/// A server adds it to its clock, whose milliseconds are signed.
const TTL_MS_MAX: u64 = 1 << 52;
