//! Subscriptions whose topics change while they last: a client that subscribes to channels one after
//! the other gets the events of all of them in one order.
//!
//! Such a one may ask for the topics of a glob of Redis, which knows no levels. It stands in the table
//! under the narrowest pattern that means all of them, with the glob beside it.

use std::{
    collections::VecDeque,
    sync::Arc,
    task::{self, Poll},
};

use bytes::Bytes;

use super::{
    Hub,
    subscriber::{Subscriber, SubscriberKind, Wanted, Wish},
};
use crate::{
    error::{Blame, Error, Kind},
    event::{Event, QueueBounds, QueueTaken, TopicError, TopicPattern, check_topic},
    resp::glob_literal_prefix,
    text::Text,
};

/// One subscriber's end. Dropping it ends the subscription.
#[derive(Debug)]
pub struct ChangingSubscription {
    hub: Hub,
    subscriber: Arc<Subscriber>,
}

impl Hub {
    /// A subscription of `owner` to nothing yet. It counts as one, whatever it asks for; who opens it
    /// bounds that. An event that several of its wishes mean comes once, and counts as often as there
    /// are such wishes in what `publish` gives.
    ///
    /// # Errors
    /// As `subscribe`.
    pub fn subscribe_changing(
        &self,
        owner: &Text,
        queue: QueueBounds,
    ) -> Result<ChangingSubscription, Error> {
        let mut state = self.write();
        state.admit(owner, 1)?;
        let subscriber = state.add(owner, Vec::new(), Some(queue), SubscriberKind::Changing);
        drop(state);
        Ok(ChangingSubscription {
            hub: self.clone(),
            subscriber,
        })
    }
}

impl ChangingSubscription {
    /// Asks for the events of `topic`, too.
    ///
    /// # Errors
    /// Why there can be no such topic.
    pub fn add_topic(&self, topic: &Text) -> Result<(), Error> {
        check_topic(topic).map_err(|error| error.refuse("channel", topic))?;
        let pattern = TopicPattern::new(topic).map_err(|error| error.refuse("channel", topic))?;
        self.add(Wish::Topic(Text::from(topic.as_str())), pattern, None);
        Ok(())
    }

    /// Asks for the events of every topic that `glob` means.
    ///
    /// # Errors
    /// `invalid-argument` where it is too long.
    pub fn add_glob(&self, glob: &[u8]) -> Result<(), Error> {
        let length = glob.len();
        if length > GLOB_BYTES_MAX {
            let message =
                format!("pattern of {length} octets exceeds the limit of {GLOB_BYTES_MAX}");
            return Err(Error::new(Kind::InvalidArgument, Blame::Client, message));
        }
        let pattern = covering(glob).map_err(|error| error.refuse("pattern", ">"))?;
        let glob = Bytes::copy_from_slice(glob);
        self.add(Wish::Glob(glob.clone()), pattern, Some(glob));
        Ok(())
    }

    /// Asks for the events of every topic that `pattern` matches.
    pub fn add_pattern(&self, pattern: &TopicPattern) {
        let wish = Wish::Topic(Text::from(pattern.as_str()));
        self.add(wish, pattern.clone(), None);
    }

    pub fn remove_topic(&self, topic: &Text) {
        self.remove(&Wish::Topic(topic.clone()));
    }

    pub fn remove_glob(&self, glob: &[u8]) {
        self.remove(&Wish::Glob(Bytes::copy_from_slice(glob)));
    }

    /// Appends all events that wait to `into`.
    pub fn poll_take(
        &mut self,
        cx: &mut task::Context<'_>,
        into: &mut VecDeque<Arc<Event>>,
    ) -> Poll<QueueTaken> {
        match &self.subscriber.changing {
            Some(changing) => changing.queue.poll_take(cx, into),
            None => Poll::Ready(QueueTaken::Ended),
        }
    }

    /// Octets that wait.
    #[must_use]
    pub fn n_bytes(&self) -> usize {
        self.subscriber.queued_bytes()
    }

    fn add(&self, wish: Wish, pattern: TopicPattern, glob: Option<Bytes>) {
        let Some(changing) = &self.subscriber.changing else {
            return;
        };
        let mut state = self.hub.write();
        // One that the hub has ended asks for nothing.
        if !state.subscribers.contains_key(&self.subscriber.id) {
            return;
        }
        let key = state.next_id;
        let mut wishes = changing.lock();
        if wishes.contains_key(&wish) {
            return;
        }
        state.next_id += 1;
        let wanted = Wanted {
            subscriber: Arc::clone(&self.subscriber),
            glob,
        };
        state.table.insert(&pattern, key, wanted);
        wishes.insert(wish, (pattern, key));
    }

    fn remove(&self, wish: &Wish) {
        let Some(changing) = &self.subscriber.changing else {
            return;
        };
        let mut state = self.hub.write();
        let removed = changing.lock().remove(wish);
        let removed = removed.and_then(|(pattern, key)| state.table.remove(&pattern, key));
        drop(state);
        drop(removed);
    }
}

impl Drop for ChangingSubscription {
    fn drop(&mut self) {
        let removed = self.hub.write().remove(self.subscriber.id);
        drop(removed);
    }
}

/// The narrowest pattern that matches every topic that `glob` means: the levels that it writes out, and
/// whatever follows.
fn covering(glob: &[u8]) -> Result<TopicPattern, TopicError> {
    let literal = glob_literal_prefix(glob);
    let text = std::str::from_utf8(literal).unwrap_or_default();
    if literal.len() == glob.len() && check_topic(text).is_ok() {
        return TopicPattern::new(text);
    }
    let levels = text.rsplit_once('.').map(|(levels, _)| levels);
    let levels = levels.filter(|levels| check_topic(levels).is_ok());
    let pattern = levels.map(|levels| TopicPattern::new(&format!("{levels}.>")));
    match pattern {
        Some(Ok(pattern)) => Ok(pattern),
        // Too long or too deep to be narrow.
        Some(Err(_)) | None => TopicPattern::new(">"),
    }
}

/// Longest glob, in octets: as long as a topic, and each of its signs escaped.
const GLOB_BYTES_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::tests::event;

    #[track_caller]
    fn check(glob: &str, expected: &str) {
        let pattern = covering(glob.as_bytes()).expect("a pattern");
        assert_eq!(pattern.as_str(), expected, "{glob}");
    }

    #[test]
    fn a_glob_stands_below_the_levels_that_it_writes_out() {
        check("orders.*", "orders.>");
        check("orders.new*", "orders.>");
        check("a.b.c?", "a.b.>");
        check("orders*", ">");
        check("*", ">");
        check("orders.created", "orders.created");
        check("a..b*", ">");
        check("a\\*", ">");
    }

    fn taken(subscription: &mut ChangingSubscription) -> Vec<String> {
        let mut cx = task::Context::from_waker(task::Waker::noop());
        let mut events = VecDeque::new();
        while subscription.poll_take(&mut cx, &mut events) == Poll::Ready(QueueTaken::Events) {}
        events.iter().map(|event| event.topic.to_string()).collect()
    }

    #[test]
    fn events_of_all_wishes_come_once_and_in_order() {
        let hub = Hub::default();
        let owner = Text::from_static("client");
        let mut subscription = hub
            .subscribe_changing(&owner, QueueBounds::default())
            .expect("room");
        assert_eq!(hub.publish(event("a.b", "")).expect("taken"), 0);
        subscription.add_topic(&"a.b".into()).expect("a topic");
        subscription.add_glob(b"a.*").expect("a glob");
        subscription.add_glob(b"a.?").expect("a glob");
        assert_eq!(hub.publish(event("a.b", "")).expect("taken"), 3);
        assert_eq!(hub.publish(event("a.cc", "")).expect("taken"), 1);
        assert_eq!(hub.publish(event("b", "")).expect("taken"), 0);
        assert_eq!(taken(&mut subscription), ["a.b", "a.cc"]);
        subscription.remove_glob(b"a.*");
        subscription.remove_topic(&"a.b".into());
        assert_eq!(hub.publish(event("a.b", "")).expect("taken"), 1);
        assert_eq!(hub.publish(event("a.cc", "")).expect("taken"), 0);
        assert_eq!(hub.totals().offered, 3);
    }

    #[test]
    fn what_has_ended_leaves_nothing_in_the_table() {
        let hub = Hub::default();
        let owner = Text::from_static("client");
        let queue = QueueBounds::default();
        let subscription = hub.subscribe_changing(&owner, queue).expect("room");
        subscription.add_topic(&"a".into()).expect("a topic");
        subscription.add_topic(&"a".into()).expect("a topic");
        subscription.add_glob(b"*").expect("a glob");
        assert!(subscription.add_topic(&"a b".into()).is_err());
        assert!(subscription.add_glob(&[b'*'; 513]).is_err());
        assert_eq!(hub.patterns().len(), 2);
        drop(subscription);
        assert_eq!((hub.patterns().len(), hub.n_owners()), (0, 0));
    }
}
