//! Answers the calls of `tests/vectors/guests.json` in Rust.

use postern_guest::{
    Event, EventHandler, Failure, Incoming, Kind, Octets, Outgoing, Result, call, client, config,
    events, kv,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Deserialize)]
struct Values {
    values: Vec<i64>,
}

#[derive(Default, Serialize)]
struct Total {
    sum: i64,
    count: usize,
}

#[derive(Deserialize)]
struct Refusal {
    kind: String,
    message: String,
    details: Option<Value>,
}

#[derive(Deserialize)]
struct Message {
    message: String,
}

#[derive(Deserialize)]
struct Name {
    name: String,
}

#[derive(Deserialize)]
struct Key {
    key: String,
}

#[derive(Deserialize)]
struct Entry {
    key: String,
    value: String,
}

#[derive(Serialize)]
struct Stored {
    stored: String,
}

#[derive(Serialize)]
struct Found {
    value: Option<String>,
}

#[derive(Deserialize)]
struct Relayed {
    service: Option<String>,
    method: String,
    text: String,
}

#[derive(Serialize)]
struct Reply {
    reply: String,
}

#[derive(Deserialize)]
struct Publication {
    topic: String,
    payload: Value,
}

#[derive(Serialize)]
struct Subscribers {
    subscribers: u32,
}

#[derive(Deserialize, Serialize)]
struct Number {
    value: i64,
}

#[derive(Deserialize)]
struct Range {
    to: i64,
    then: Option<String>,
}

#[derive(Deserialize, Serialize)]
struct Line {
    text: String,
}

#[derive(Default)]
struct TableRust;

/// What every guest language can do.
#[postern_guest::service]
impl TableRust {
    /// Gives back what it got.
    #[method(idempotent)]
    fn echo(message: Octets) -> Octets {
        message
    }

    /// Adds numbers.
    fn sum(Values { values }: Values) -> Total {
        let mut total = Total::default();
        for value in values {
            total.add(value);
        }
        total
    }

    /// Fails as it is told.
    fn fail(refusal: Refusal) -> Result<()> {
        let failure = Failure::new(kind(&refusal.kind)?, refusal.message);
        Err(match &refusal.details {
            Some(details) => failure.with_details(details),
            None => failure,
        })
    }

    /// Panics.
    #[expect(clippy::panic, reason = "it is what the case is about")]
    fn throw(Message { message }: Message) {
        panic!("{message}");
    }

    /// Reads a header and adds one.
    fn header(Name { name }: Name) -> Result<Found> {
        let value = call::header(&name);
        if let Some(value) = &value {
            call::add_header("x-out", value)?;
        }
        Ok(Found { value })
    }

    /// Reads a key of the manifest.
    fn setting(Key { key }: Key) -> Found {
        Found {
            value: config::text(&key),
        }
    }

    /// Keeps a text.
    fn store(Entry { key, value }: Entry) -> Result<Stored> {
        kv::octets::set(&key, value.as_bytes())?;
        Ok(Stored { stored: key })
    }

    /// Finds a text.
    fn find(Key { key }: Key) -> Result<Found> {
        let octets = kv::octets::get(&key)?;
        let octets = octets.ok_or_else(|| Failure::not_found(format!("no value `{key}`")))?;
        Ok(Found {
            value: Some(String::from_utf8(octets)?),
        })
    }

    /// Calls a service.
    fn relay(relayed: Relayed) -> Result<Reply> {
        let service = relayed.service.as_deref().unwrap_or("table-rust");
        let text = Octets::from(relayed.text);
        let reply: Octets = client::call(service, &relayed.method, text)?;
        Ok(Reply {
            reply: String::from_utf8(reply.0)?,
        })
    }

    /// Publishes an event.
    fn publish(publication: Publication) -> Result<Subscribers> {
        let subscribers = events::publish(&publication.topic, &publication.payload)?;
        Ok(Subscribers { subscribers })
    }

    /// Never ends.
    fn spin(_: Octets) {
        loop {
            std::hint::spin_loop();
        }
    }

    /// Adds numbers as they come.
    fn collect(numbers: Incoming<Number>) -> Result<Total> {
        let mut total = Total::default();
        for number in numbers {
            total.add(number?.value);
        }
        Ok(total)
    }

    /// Counts up, and may fail at the end.
    fn count(Range { to, then }: Range, mut out: Outgoing<Number>) -> Result<()> {
        call::add_header("x-first", "1")?;
        for value in 1..=to {
            out.send(Number { value })?;
        }
        if let Some(then) = then {
            return Err(Failure::new(kind(&then)?, format!("ended after {to}")));
        }
        call::add_trailer("x-count", &to.to_string())
    }

    /// Answers each line in capitals.
    #[expect(clippy::panic, reason = "it is what the case is about")]
    fn chat(lines: Incoming<Line>, mut out: Outgoing<Line>) -> Result<()> {
        for line in lines {
            let text = line?.text;
            if text == "throw" {
                panic!("{text}");
            }
            out.send(Line {
                text: text.to_uppercase(),
            })?;
        }
        Ok(())
    }

    /// Gives back each message.
    fn pass(messages: Incoming<Octets>, mut out: Outgoing<Octets>) -> Result<()> {
        for message in messages {
            out.send(message?)?;
        }
        Ok(())
    }
}

impl Total {
    fn add(&mut self, value: i64) {
        self.sum += value;
        self.count += 1;
    }
}

impl EventHandler for TableRust {
    fn on_event(&mut self, event: Event) -> Result<()> {
        kv::octets::set(&format!("event:{}", event.topic), &event.payload)
    }
}

postern_guest::export!(TableRust: EventHandler; beside service);

fn kind(name: &str) -> Result<Kind> {
    let unknown = || Failure::invalid_argument(format!("no kind `{name}`"));
    Kind::from_name(name).ok_or_else(unknown)
}
