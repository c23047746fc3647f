//! Handles events of durable topics well or badly, as their payloads say, and tells as `seen.TOPIC` what
//! it was given and how often.

use postern_guest::{Event, EventHandler, Failure, Octets, Result, call, events};
use serde::{Deserialize, Serialize};

/// What an event asks for.
#[derive(Deserialize)]
struct Work {
    name: String,
    /// Deliveries that fail.
    #[serde(default)]
    fail: u32,
    /// Deliveries that trap.
    #[serde(default)]
    trap: u32,
}

#[derive(Serialize)]
struct Seen {
    name: String,
    deliveries: u32,
    position: u64,
}

#[derive(Deserialize)]
struct Publication {
    topic: String,
    payload: String,
}

#[derive(Default)]
struct Consumer;

#[postern_guest::service]
impl Consumer {
    /// Publishes an event, and answers once that is done.
    fn publish(publication: Publication) -> Result<Octets> {
        let payload = publication.payload.as_bytes();
        let kind = Some("application/json");
        let subscribers = events::publish_octets(&publication.topic, kind, payload)?;
        Ok(Octets::from(subscribers.to_string()))
    }
}

impl EventHandler for Consumer {
    #[expect(clippy::panic, reason = "it is what the event asks for")]
    fn on_event(&mut self, event: Event) -> Result<()> {
        let topic = format!("seen.{}", event.topic);
        let Work { name, fail, trap } = event.read()?;
        let seen = Seen {
            name,
            deliveries: number("deliveries")?,
            position: number("position")?,
        };
        events::publish(&topic, &seen)?;
        if seen.deliveries <= trap {
            panic!("trap {}", seen.name);
        }
        if seen.deliveries <= fail {
            let message = format!("{} fails the {}. time", seen.name, seen.deliveries);
            return Err(Failure::failed_precondition(message));
        }
        Ok(())
    }
}

postern_guest::export!(Consumer: EventHandler; beside service);

fn number<T: std::str::FromStr>(header: &str) -> Result<T> {
    let number = call::header(header).and_then(|text| text.parse().ok());
    number.ok_or_else(|| Failure::internal(format!("no header {header}")))
}
