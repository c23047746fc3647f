//! Which nodes a cluster has, and which slots they have: asked of any of them, and corrected by those that a
//! command was wrongly sent to.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use postern_core::redis::{RedisNode, RedisTopology, SlotMap, SlotRange};
use postern_system::clock;
use redis::Value;

use super::{connection::Request, node_pool::Choice, routing::Routing};

impl Routing {
    pub(super) fn on_moved(&self, slot: u16, node: RedisNode) {
        self.slots.rcu(|slots| {
            let mut slots = SlotMap::clone(slots);
            slots.on_moved(slot, node.clone());
            slots
        });
    }

    /// Asks the nodes of a cluster who has which slot, unless that was asked a moment ago.
    pub(super) async fn refresh(&self, end: Instant) {
        let RedisTopology::Cluster(seeds) = &self.config.location.topology else {
            return;
        };
        let mut refreshed = self.refreshing.lock().await;
        let is_recent = refreshed.is_some_and(|at| clock::since(at) < REFRESH_PAUSE);
        if is_recent && !self.slots.load().is_empty() {
            return;
        }
        let known = self.slots.load().masters();
        let others = seeds.iter().filter(|seed| !known.contains(*seed));
        let mut failed = None;
        for node in known.iter().chain(others) {
            if clock::now() >= end {
                break;
            }
            match self.slots_as_told_by(node).await {
                Ok(slots) => {
                    self.slots.store(Arc::new(slots));
                    *refreshed = Some(clock::now());
                    return;
                }
                Err(reason) => failed = Some(reason),
            }
        }
        *refreshed = Some(clock::now());
        if let Some(reason) = failed {
            self.standing.on_failure(&reason);
        }
    }

    async fn slots_as_told_by(&self, node: &RedisNode) -> Result<SlotMap, String> {
        let connection = self.acquire(node, Choice::LeastBusy).await;
        let connection = connection.map_err(|error| error.message.into_owned())?;
        let mut command = redis::cmd("CLUSTER");
        command.arg("SLOTS");
        let request = Request::One(command);
        let asked = connection.ask(&request, self.config.response_timeout);
        let reply = asked.await.map_err(|failure| failure.to_string())?;
        let slots = SlotMap::new(ranges_of(reply, node));
        match slots.is_empty() {
            true => Err(format!("{node} knows of no slot")),
            false => Ok(slots),
        }
    }
}

/// `CLUSTER SLOTS`: first and last slot, then the master and its replicas, each with address and port.
fn ranges_of(reply: Value, asked: &RedisNode) -> Vec<SlotRange> {
    let rows = reply.into_sequence().unwrap_or_default().into_iter();
    rows.filter_map(|row| range_of(row, asked)).collect()
}

fn range_of(row: Value, asked: &RedisNode) -> Option<SlotRange> {
    let mut row = row.into_sequence().ok()?.into_iter();
    let slot = |value: Value| redis::from_redis_value::<u16>(value).ok();
    let (first, last) = (slot(row.next()?)?, slot(row.next()?)?);
    let mut master = row.next()?.into_sequence().ok()?.into_iter();
    let host = redis::from_redis_value::<Option<String>>(master.next()?).ok()?;
    let port: u16 = redis::from_redis_value(master.next()?).ok()?;
    // A node that does not know its own address leaves it out: it is the one that was asked.
    let host = host.filter(|host| !host.is_empty() && host != "?");
    let host = host.or_else(|| asked.host().map(str::to_owned))?;
    let node = RedisNode::of_authority(&format!("{host}:{port}"))?;
    Some(SlotRange { first, last, node })
}

/// From one question for the slots to the next.
const REFRESH_PAUSE: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    fn check(reply: &str, expected: &[(u16, u16, &str)]) {
        let reply = redis::parse_redis_value(reply.as_bytes()).expect("a reply");
        let asked = RedisNode::of_authority("asked:1").expect("a node");
        let ranges = ranges_of(reply, &asked);
        let ranges: Vec<_> = ranges
            .iter()
            .map(|range| (range.first, range.last, range.node.to_string()))
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(first, last, node)| (*first, *last, (*node).to_owned()))
            .collect();
        assert_eq!(ranges, expected);
    }

    #[test]
    fn each_range_is_its_masters() {
        let reply = "*2\r\n*4\r\n:0\r\n:5\r\n*3\r\n$9\r\n127.0.0.1\r\n:7000\r\n$1\r\na\r\n\
                     *3\r\n$9\r\n127.0.0.1\r\n:7003\r\n$1\r\nb\r\n\
                     *3\r\n:6\r\n:9\r\n*3\r\n$0\r\n\r\n:7001\r\n$1\r\nc\r\n";
        check(reply, &[(0, 5, "127.0.0.1:7000"), (6, 9, "asked:7001")]);
    }

    #[test]
    fn what_makes_no_sense_is_left_out() {
        check("*0\r\n", &[]);
        check("+OK\r\n", &[]);
        check("*2\r\n*1\r\n:0\r\n*3\r\n:0\r\n:70000\r\n*0\r\n", &[]);
    }
}
