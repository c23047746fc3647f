//! The task that reads a group's entries, on a connection of its own: the server may let it wait.

use std::{collections::HashMap, sync::Arc};

use postern_core::Kind;
use postern_system::random;

use super::SharedGroup;
use crate::{
    pool::backoff,
    redis::{
        connection::{RedisConnection, Request},
        failure::Failure,
        log::BLOCK,
        routing::Route,
        stream_replies::{entries_read, pending},
    },
};

impl SharedGroup {
    /// Reads for ever.
    pub(super) async fn read(self: Arc<Self>) {
        let config = self.log.routing.config();
        let (min, max) = (config.reconnect_min, config.reconnect_max);
        let mut n_failures = 0;
        while !self.is_deleted.load(std::sync::atomic::Ordering::Relaxed) {
            let route = Route::Key(self.log.key.as_bytes());
            let reason = match self.log.routing.connect_alone(route, None).await {
                Ok(connection) => self.read_from(&connection, &mut n_failures).await,
                Err(error) => error.to_string(),
            };
            tracing::debug!(group = %self.name, key = %self.log.key, reason, "reading is begun again");
            n_failures += 1;
            tokio::time::sleep(backoff::pause(min, max, n_failures, random::even())).await;
        }
    }

    /// Reads until the connection is of no more use; says why.
    async fn read_from(&self, connection: &RedisConnection, n_failures: &mut u32) -> String {
        if let Err(failure) = self.recover(connection).await {
            return self.on_failure(failure).await;
        }
        loop {
            let room = self.wait_for_room().await;
            let read = self.read_command(">", room, true);
            let most = BLOCK + self.log.routing.config().response_timeout;
            match connection.ask(&Request::One(read), most).await {
                Ok(reply) => {
                    *n_failures = 0;
                    self.insert(entries_read(reply), |_| 0);
                }
                Err(failure) => return self.on_failure(failure).await,
            }
        }
    }

    /// What this gateway was given before the connection broke, and has not seen.
    async fn recover(&self, connection: &RedisConnection) -> Result<(), Failure> {
        let most = self.log.routing.config().response_timeout;
        let room = self.state.lock().deliveries.room().clamp(1, READ_MAX);
        let arguments = ["-", "+"].map(str::to_owned).into_iter();
        let arguments = arguments.chain([room.to_string(), self.consumer.clone()]);
        let counts = Request::One(self.command("XPENDING", arguments));
        let counts = pending(connection.ask(&counts, most).await?);
        if counts.is_empty() {
            return Ok(());
        }
        let read = Request::One(self.read_command("0", room, false));
        let entries = entries_read(connection.ask(&read, most).await?);
        // One of them was this gateway's own, of which nobody has heard.
        let counts = counts.into_iter();
        let counts: HashMap<_, _> = counts.map(|one| (one.id, one.n_deliveries)).collect();
        self.insert(entries, |id| {
            counts.get(id).copied().unwrap_or(1).saturating_sub(1)
        });
        Ok(())
    }

    async fn wait_for_room(&self) -> usize {
        loop {
            let room_comes = self.room.notified();
            let room = self.state.lock().deliveries.room();
            if room > 0 {
                return room.min(READ_MAX);
            }
            room_comes.await;
        }
    }

    fn read_command(&self, from: &str, n_entries: usize, waits: bool) -> redis::Cmd {
        let mut command = redis::cmd("XREADGROUP");
        command
            .arg("GROUP")
            .arg(self.name.as_str())
            .arg(&self.consumer);
        command.arg("COUNT").arg(n_entries);
        if waits {
            let block = u64::try_from(BLOCK.as_millis()).unwrap_or(u64::MAX);
            command.arg("BLOCK").arg(block);
        }
        command.arg("STREAMS").arg(&self.log.key).arg(from);
        command
    }

    async fn on_failure(&self, failure: Failure) -> String {
        if let Failure::Refused(error) = &failure
            && error.kind == Kind::NotFound
        {
            // Somebody deleted the group, or the stream with all of them.
            self.on_deleted();
        }
        if let Failure::Moved { slot, node } = &failure {
            self.log.routing.on_moved(*slot, node.clone());
        }
        if matches!(failure, Failure::Later(_) | Failure::Lost(_)) {
            self.log.routing.forget_master();
        }
        format!("{failure:?}")
    }
}

/// Entries that are asked for at a time.
const READ_MAX: usize = 256;
