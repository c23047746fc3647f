//! The task that reads a group's entries, on a connection of its own: the server may let it wait.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use postern_core::{Kind, redis::position_of};
use postern_system::random;
use redis::Pipeline;

use super::{IDS_MAX, SharedGroup};
use crate::{
    pool::backoff,
    redis::{
        connection::{RedisConnection, Request},
        failure::Failure,
        log_stream::BLOCK,
        routing::Route,
        stream_replies::{PendingEntry, entries, entries_read, pending},
    },
};

impl SharedGroup {
    /// Reads for ever.
    pub(super) async fn read(self: Arc<Self>) {
        let config = self.log.routing.config();
        let (min, max) = (config.reconnect_min, config.reconnect_max);
        let mut n_failures = 0;
        while !self.is_deleted.load(Relaxed) {
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
            return self.on_failure(&failure);
        }
        loop {
            let room = self.wait_for_room().await;
            let read = self.read_command(room);
            let most = BLOCK + self.log.routing.config().response_timeout;
            match connection.ask(&Request::One(read), most).await {
                Ok(reply) => {
                    *n_failures = 0;
                    self.insert(entries_read(reply), |_| 0);
                }
                Err(failure) => return self.on_failure(&failure),
            }
        }
    }

    /// What this gateway was given before the connection broke, and has not seen.
    async fn recover(&self, connection: &RedisConnection) -> Result<(), Failure> {
        let most = self.log.routing.config().response_timeout;
        let arguments = ["-".to_owned(), "+".to_owned(), IDS_MAX.to_string()];
        let arguments = arguments.into_iter().chain([self.consumer.clone()]);
        let rows = Request::One(self.command("XPENDING", arguments));
        let rows = pending(connection.ask(&rows, most).await?);
        let unseen = self.unseen(rows);
        if unseen.is_empty() {
            return Ok(());
        }
        let mut claims = Pipeline::new();
        for row in &unseen {
            claims.add_command(self.claim_again(row));
        }
        let replies = connection.ask(&Request::Many(claims), most).await?;
        let replies = replies.into_sequence().unwrap_or_default();
        for (row, reply) in unseen.iter().zip(replies) {
            // One of its deliveries was to this gateway, where nobody has heard of it.
            self.insert(entries(reply), |_| row.n_deliveries.saturating_sub(1));
        }
        Ok(())
    }

    /// Rows of entries that are not held here, as many as there is room for.
    fn unseen(&self, rows: Vec<PendingEntry>) -> Vec<PendingEntry> {
        let state = self.state.lock();
        let held = state.deliveries.positions();
        let is_held = |row: &PendingEntry| {
            let position = position_of(&row.id);
            position.is_some_and(|position| held.contains(&position))
        };
        let rows = rows.into_iter().filter(|row| !is_held(row));
        rows.take(state.deliveries.room()).collect()
    }

    /// Gives the entry, and leaves the number of its deliveries as it is.
    fn claim_again(&self, row: &PendingEntry) -> redis::Cmd {
        let arguments = [
            self.consumer.clone(),
            "0".to_owned(),
            row.id.clone(),
            "RETRYCOUNT".to_owned(),
            row.n_deliveries.to_string(),
        ];
        self.command("XCLAIM", arguments)
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

    fn read_command(&self, n_entries: usize) -> redis::Cmd {
        let block = u64::try_from(BLOCK.as_millis()).unwrap_or(u64::MAX);
        let mut command = redis::cmd("XREADGROUP");
        command.arg("GROUP").arg(self.name.as_str());
        command.arg(&self.consumer).arg("COUNT").arg(n_entries);
        command.arg("BLOCK").arg(block);
        command.arg("STREAMS").arg(&self.log.key).arg(">");
        command
    }

    fn on_failure(&self, failure: &Failure) -> String {
        if let Failure::Refused(error) = failure
            && error.kind == Kind::NotFound
        {
            // Somebody deleted the group, or the stream with all of them.
            self.on_deleted();
        }
        if let Failure::Moved { slot, node } = failure {
            self.log.routing.on_moved(*slot, node.clone());
        }
        if matches!(failure, Failure::Later(_) | Failure::Lost(_)) {
            self.log.routing.forget_master();
        }
        failure.to_string()
    }
}

/// Entries that are asked for at a time.
const READ_MAX: usize = 256;
