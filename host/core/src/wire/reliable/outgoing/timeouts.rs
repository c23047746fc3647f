//! What happens to messages of which nothing is heard in time.

use std::time::Instant;

use super::Outgoing;
use crate::wire::{endpoint::Undelivered, fragment::Numbering};

impl Outgoing {
    /// Does what is due at `now`. Unless `may_repeat`, nothing is sent again, and what was sent is
    /// given up when it would have been.
    pub(in crate::wire) fn handle_timeout(&mut self, now: Instant, may_repeat: bool) {
        while let Some(&(at, id)) = self.deadlines.first() {
            if at > now {
                return;
            }
            self.set_deadline(id, None);
            if !may_repeat {
                self.wait_on(now, id);
                continue;
            }
            match self.messages.get(&id).map(|message| message.numbering) {
                Some(Numbering::Base) => self.on_base_timeout(id),
                Some(Numbering::Wide) => self.on_wide_timeout(now, id),
                None => {}
            }
        }
    }

    fn wait_on(&mut self, now: Instant, id: u64) {
        let Some(message) = self.messages.get(&id) else {
            return;
        };
        let until = message.progress_at.unwrap_or(now) + self.retry.give_up_after();
        if until <= now {
            self.fail(id, Undelivered::NotAcknowledged { attempts: 1 });
            return;
        }
        self.set_deadline(id, Some(until.min(now + self.retry.ack_timeout)));
    }

    fn on_base_timeout(&mut self, id: u64) {
        let fragment_id = self.take_fragment_id();
        let Some(message) = self.messages.get_mut(&id) else {
            return;
        };
        if message.n_silent >= self.retry.max_retries {
            let attempts = message.n_silent + 1;
            self.fail(id, Undelivered::NotAcknowledged { attempts });
            return;
        }
        message.n_silent += 1;
        message.next_new = 0;
        message.split.set_id(fragment_id, Numbering::Base);
        self.make_ready(id);
    }

    fn on_wide_timeout(&mut self, now: Instant, id: u64) {
        let (heard_at, next_sequence) = (self.heard_at, self.next_sequence);
        let Some(message) = self.messages.get_mut(&id) else {
            return;
        };
        let given_up_at = message
            .progress_at
            .map(|at| at + self.retry.give_up_after());
        let attempts = message.n_silent + 1;
        if attempts > self.retry.max_retries && given_up_at.is_some_and(|at| at <= now) {
            self.fail(id, Undelivered::NotAcknowledged { attempts });
            return;
        }
        message.n_silent += 1;
        self.is_silent |= message.n_silent > 1;
        let flights = std::mem::take(&mut message.flights);
        message.lost.extend(flights.keys());
        let newest = flights.values().max_by_key(|flight| flight.sequence);
        if let Some(newest) = newest.filter(|newest| heard_at.is_some_and(|at| at > newest.at)) {
            // Others get through, so this is loss and not silence.
            self.congestion.on_lost(newest.sequence, next_sequence);
            self.congestion.on_gone(flights.len() - 1);
        } else {
            self.congestion.on_gone(flights.len());
            self.congestion.on_silence(next_sequence);
        }
        self.make_ready(id);
    }
}
