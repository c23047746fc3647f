//! One member of a consumer group, as whoever takes events has it.

use std::sync::Arc;

use postern_core::{
    BoxFuture, Error, Text,
    event::durable::{EventConsumer, Position, Redelivery, StoredEvent},
};

use super::group::Group;

/// A member. What it has not acknowledged comes again when it is dropped.
#[derive(Debug)]
pub(super) struct RedisConsumer {
    group: Arc<Group>,
    member: u64,
}

impl RedisConsumer {
    pub(super) fn new(group: Arc<Group>) -> Self {
        let member = group.join();
        Self { group, member }
    }
}

impl EventConsumer for RedisConsumer {
    fn take(&self, events_max: usize) -> BoxFuture<Result<Vec<StoredEvent>, Error>> {
        let (group, member) = (Arc::clone(&self.group), self.member);
        Box::pin(async move { group.take(member, events_max).await })
    }

    fn acknowledge(&self, positions: Vec<Position>) -> BoxFuture<Result<u64, Error>> {
        let group = Arc::clone(&self.group);
        Box::pin(async move { group.acknowledge(positions).await })
    }

    fn refuse(
        &self,
        position: Position,
        redelivery: Redelivery,
        reason: Text,
    ) -> BoxFuture<Result<(), Error>> {
        // It is with the group's task from here on, which tells the server.
        self.group.refuse(position, redelivery, reason);
        Box::pin(async { Ok(()) })
    }
}

impl Drop for RedisConsumer {
    fn drop(&mut self) {
        self.group.leave(self.member);
    }
}
