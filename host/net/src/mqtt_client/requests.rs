//! Requests of MQTT 5 (section 4.10): a message with a response topic and correlation data, and the
//! message that answers it.
//!
//! A response whose user property `status` names the kind of an error is a failure, as the MQTT front
//! writes them: `{"error":…,"code":…}`.

use std::collections::HashMap;

use bytes::Bytes;
use parking_lot::Mutex;
use postern_core::{Blame, Error, Kind, Text, json};
use tokio::sync::oneshot;

use super::{config::BrokerClientConfig, message::BrokerMessage};

/// Requests that wait for their responses, by their correlation data.
#[derive(Debug)]
pub(super) struct PendingRequests {
    /// Where responses to this client go.
    pub(super) topic: Text,
    most: usize,
    pending: Mutex<PendingTable>,
}

#[derive(Debug)]
struct PendingTable {
    waiting: HashMap<u64, oneshot::Sender<BrokerMessage>>,
    next: u64,
}

/// A request under way. Dropping it gives up waiting.
#[derive(Debug)]
pub(super) struct PendingRequest<'a> {
    requests: &'a PendingRequests,
    pub(super) number: u64,
    pub(super) response: oneshot::Receiver<BrokerMessage>,
}

impl PendingRequests {
    /// `first` is the first correlation: one that nobody foresees keeps answers to a client before
    /// this one apart.
    pub(super) fn new(config: &BrokerClientConfig, first: u64) -> Self {
        let table = PendingTable {
            waiting: HashMap::new(),
            next: first,
        };
        Self {
            topic: format!("{RESPONSES}{}", level_of(&config.client_id)).into(),
            most: config.requests_max,
            pending: Mutex::new(table),
        }
    }

    /// # Errors
    /// `resource-exhausted` where too many wait.
    pub(super) fn begin(&self) -> Result<PendingRequest<'_>, Error> {
        let (response, taken) = oneshot::channel();
        let mut pending = self.pending.lock();
        let limit = self.most;
        if pending.waiting.len() >= limit {
            let message = format!("{limit} requests wait for the broker, which is the limit");
            return Err(Error::new(Kind::ResourceExhausted, Blame::Gateway, message));
        }
        let number = pending.next;
        pending.next = number.wrapping_add(1);
        pending.waiting.insert(number, response);
        drop(pending);
        Ok(PendingRequest {
            requests: self,
            number,
            response: taken,
        })
    }

    /// The connection is lost that the responses would come on.
    pub(super) fn on_lost(&self) {
        self.pending.lock().waiting.clear();
    }

    /// Whether a message came where responses go. Gives it to whoever waits for it.
    pub(super) fn take(&self, message: &BrokerMessage) -> bool {
        if message.topic != self.topic {
            return false;
        }
        let correlation = message.properties.correlation.as_ref();
        let number = correlation.and_then(number_of);
        let waiting = number.and_then(|number| self.pending.lock().waiting.remove(&number));
        match waiting {
            // Who has given up is told nothing.
            Some(waiting) => drop(waiting.send(message.clone())),
            None => tracing::debug!(topic = %message.topic, "response to no request"),
        }
        true
    }
}

impl Drop for PendingRequest<'_> {
    fn drop(&mut self) {
        self.requests.pending.lock().waiting.remove(&self.number);
    }
}

/// The failure that a response tells of.
pub(super) fn failure_of(response: &BrokerMessage) -> Option<Error> {
    let status = response.user(STATUS).filter(|status| *status != SUCCESS)?;
    let told = json::member(&response.payload, "error").and_then(json::string);
    let message = told.unwrap_or_else(|| String::from_utf8_lossy(&response.payload).into_owned());
    let kind = Kind::from_name(status).unwrap_or(Kind::Unknown);
    Some(Error::of_peer(kind, None, message))
}

fn number_of(correlation: &Bytes) -> Option<u64> {
    let octets = <[u8; 8]>::try_from(&correlation[..]).ok()?;
    Some(u64::from_be_bytes(octets))
}

/// A name as one level of a topic.
fn level_of(client_id: &str) -> String {
    client_id.replace(['/', '+', '#', '\0'], "-")
}

/// Where responses go, followed by the client's name.
const RESPONSES: &str = "postern/responses/";
/// The user property that says what became of a request.
const STATUS: &str = "status";
const SUCCESS: &str = "success";
