//! The active health check. It measures; what follows from it is decided elsewhere.

use std::time::{Duration, Instant};

use bytes::Bytes;
use postern_core::{Body, Call, Error, Handler, Retry, Text};

use crate::{
    client::Client,
    dial::Destination,
    driver,
    pool::{Host, SessionLease},
};

/// Priority of a health check: that of PING.
const PRIORITY: u8 = 100;
/// Longest answer of a health check that is kept, in octets.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// How to ask an instance whether it is well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    pub question: ProbeQuestion,
    /// For all of it, an attempt to connect included. Default 2 s.
    pub timeout: Duration,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ProbeQuestion {
    /// VSTP PING: is the gateway there? Peers of the base dialect need not answer.
    #[default]
    Ping,
    /// A call with the body `{}`: is the service there? `method` is `health` by convention.
    Call { service: Text, method: Text },
}

/// What came of it.
#[derive(Debug)]
pub struct Probed {
    /// The address that was asked.
    pub address: Destination,
    /// From the question to the answer, or to the failure; without an attempt to connect.
    pub latency: Duration,
    /// The payload of the answer, empty for PONG. An error with blame `Gateway` says nothing about
    /// the instance.
    pub outcome: Result<Bytes, Error>,
}

impl Default for Probe {
    fn default() -> Self {
        Self {
            question: ProbeQuestion::Ping,
            timeout: Duration::from_secs(2),
        }
    }
}

impl ProbeQuestion {
    /// A call of `service`'s method `health`.
    #[must_use]
    pub fn health(service: impl Into<Text>) -> Self {
        Self::Call {
            service: service.into(),
            method: Text::from_static("health"),
        }
    }
}

/// Asks over `first`, or over the next address where that one takes nothing.
pub(super) async fn ask(first: &Host, others: &[Host], probe: &Probe) -> Probed {
    let deadline = driver::now() + probe.timeout;
    let mut probed = ask_at(first, probe, deadline).await;
    for host in others {
        let was_refused = matches!(&probed.outcome, Err(error) if error.retry == Retry::Elsewhere);
        if !was_refused {
            break;
        }
        probed = ask_at(host, probe, deadline).await;
    }
    probed
}

async fn ask_at(host: &Host, probe: &Probe, deadline: Instant) -> Probed {
    // A session that is open is asked however busy it is, and need not be waited for.
    let open = match host.peek() {
        Some(client) => Ok((client, None)),
        None => host.lease(deadline).await.map(leased),
    };
    let begin = driver::now();
    let outcome = match open {
        Ok((client, lease)) => {
            let left = deadline.saturating_duration_since(begin);
            let outcome = put(&client, probe, left).await;
            drop(lease);
            outcome
        }
        Err(error) => Err(error),
    };
    Probed {
        address: host.target().destination().clone(),
        latency: driver::now() - begin,
        outcome,
    }
}

fn leased(lease: SessionLease) -> (Client, Option<SessionLease>) {
    (lease.client().clone(), Some(lease))
}

async fn put(client: &Client, probe: &Probe, timeout: Duration) -> Result<Bytes, Error> {
    let ProbeQuestion::Call { service, method } = &probe.question else {
        return client.ping(timeout).await.map(|_| Bytes::new());
    };
    let mut call = Call::unary(service.clone(), method.clone(), "{}");
    call.context.deadline = Some(driver::now() + timeout);
    call.context.priority = PRIORITY;
    call.context.depth = 1;
    match client.call(call).await?.body {
        Body::Empty => Ok(Bytes::new()),
        body @ (Body::One(_) | Body::Messages(_) | Body::Octets(_)) => {
            body.into_one(ANSWER_BYTES_MAX).await
        }
    }
}
