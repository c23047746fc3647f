//! Publishing: an event into the mailboxes of whoever wants it.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use super::Hub;
use crate::{
    error::{Blame, Error, Kind},
    event::{Delivery, Event, EventTap, OWN_TOPICS},
};

impl Hub {
    /// Puts the event into the queue of every subscriber of its topic and gives how many there were.
    ///
    /// # Errors
    /// Why the event was not taken at all.
    pub fn publish(&self, event: Event) -> Result<u32, Error> {
        self.refuse_own(&event)?;
        self.publish_own(event)
    }

    /// As `publish`, for the tap itself: it is not told.
    ///
    /// # Errors
    /// As `publish`.
    pub fn publish_untapped(&self, event: Event) -> Result<u32, Error> {
        self.refuse_own(&event)?;
        self.publish_with(event, None)
    }

    /// Who is told of every event besides those who subscribed. The first that is set stays.
    pub fn set_tap(&self, tap: Arc<dyn EventTap>) {
        // A second one is a mistake that nobody could tell at run time.
        let _ = self.shared.tap.set(tap);
    }

    fn refuse_own(&self, event: &Event) -> Result<(), Error> {
        if !event.topic.as_str().starts_with(OWN_TOPICS) {
            return Ok(());
        }
        self.shared.refused.fetch_add(1, Relaxed);
        let message = format!("topics that begin with {OWN_TOPICS} are the gateway's own");
        Err(Error::new(Kind::PermissionDenied, Blame::Client, message))
    }

    /// Whether `publish` would take the event, for those who do something with it before.
    ///
    /// # Errors
    /// As `publish`; then it counts as refused.
    pub fn check(&self, event: &Event) -> Result<(), Error> {
        let checked = self.read().config.check(event);
        checked.inspect_err(|_| {
            self.shared.refused.fetch_add(1, Relaxed);
        })
    }

    /// As `publish`, for what the gateway itself has to tell.
    ///
    /// # Errors
    /// As `publish`.
    pub fn publish_own(&self, event: Event) -> Result<u32, Error> {
        self.publish_with(event, self.shared.tap.get())
    }

    fn publish_with(&self, event: Event, tap: Option<&Arc<dyn EventTap>>) -> Result<u32, Error> {
        let subscribers = self.subscribers_of(&event).inspect_err(|_| {
            self.shared.refused.fetch_add(1, Relaxed);
        })?;
        self.shared.published.fetch_add(1, Relaxed);
        let mut n_told = tap.map_or(0, |tap| tap.tell(&event));
        if subscribers.is_empty() {
            self.shared
                .unheard
                .fetch_add(u64::from(n_told == 0), Relaxed);
            return Ok(n_told);
        }
        let event = Arc::new(event.into_compact());
        let mut n_offered = 0;
        for (subscriber, n_times) in subscribers {
            // One that has just ended takes nothing.
            let is_taken = match &subscriber.changing {
                Some(changing) => changing.queue.push(&event),
                None => subscriber.mailbox.push(Delivery {
                    event: Event::clone(&event),
                    missed: 0,
                    subscription: subscriber.name.clone(),
                }),
            };
            if is_taken {
                n_told += n_times;
                n_offered += 1;
            }
        }
        self.shared.offered.fetch_add(n_offered, Relaxed);
        Ok(n_told)
    }
}
