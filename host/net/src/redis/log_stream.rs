//! The stream of a log: its keys, and commands to whoever has them.

use std::{fmt, sync::Arc, time::Duration};

use postern_core::{BoxFuture, Error, Text, event::durable::StoredEvent};
use redis::{Cmd, Value};

use super::{
    config::RedisLogConfig,
    connection::Request,
    routing::{Repeat, Route, Routing},
};

/// Keeps each event that is not given out again: the event, its group and the reason. It stays with the group
/// until that has succeeded.
pub type DeadLetters =
    Arc<dyn Fn(StoredEvent, Text, Text) -> BoxFuture<Result<(), Error>> + Send + Sync>;

/// A stream and where it is.
pub(super) struct LogStream {
    pub(super) routing: Arc<Routing>,
    pub(super) config: RedisLogConfig,
    pub(super) key: String,
    /// Of its dead letters.
    pub(super) dead_key: String,
    pub(super) dead_letters: Option<DeadLetters>,
}

impl LogStream {
    pub(super) fn new(
        routing: Arc<Routing>,
        config: RedisLogConfig,
        dead_letters: Option<DeadLetters>,
    ) -> Self {
        let key = format!("{}log:{{{}}}", routing.config().key_prefix, config.name);
        Self {
            dead_key: format!("{key}:dead"),
            key,
            routing,
            config,
            dead_letters,
        }
    }

    pub(super) async fn ask(&self, command: Cmd, repeat: Repeat) -> Result<Value, Error> {
        let route = Route::Key(self.key.as_bytes());
        self.routing
            .ask(route, &Request::One(command), repeat)
            .await
    }
}

impl fmt::Debug for LogStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogStream")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// How long the server may wait for entries before it answers that there are none.
pub(super) const BLOCK: Duration = Duration::from_secs(2);
