//! A broker that does as it is told.

use std::sync::Arc;

use parking_lot::Mutex;
use postern_core::{
    Blame, BoxFuture, Call, Error, Reply, Retry,
    event::{
        Event, TopicPattern,
        broker::{BrokerStanding, EventBroker, EventSource},
    },
};
use tokio::sync::mpsc;

/// A broker that does as it is told.
#[derive(Debug)]
pub(super) struct Double {
    pub(super) state: Mutex<DoubleState>,
}

#[derive(Debug, Default)]
pub(super) struct DoubleState {
    standing: BrokerStanding,
    behaviour: Behaviour,
    published: Vec<Event>,
    pub(super) sources: Vec<mpsc::UnboundedSender<Event>>,
    pub(super) n_calls: usize,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Behaviour {
    #[default]
    Acknowledges,
    /// It takes the event and is silent.
    Hangs,
    /// It takes the event, and the connection breaks.
    Breaks,
    /// It refuses the event for what it is.
    Refuses,
}

#[derive(Debug)]
struct DoubleSource(Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<Event>>>);

impl EventSource for DoubleSource {
    fn next(&mut self) -> BoxFuture<Option<Event>> {
        let receiver = Arc::clone(&self.0);
        Box::pin(async move { receiver.lock().await.recv().await })
    }
}

impl Double {
    pub(super) fn new() -> Arc<Self> {
        let state = DoubleState {
            standing: BrokerStanding {
                is_connected: true,
                n_connects: 1,
                ..BrokerStanding::default()
            },
            ..DoubleState::default()
        };
        Arc::new(Self {
            state: Mutex::new(state),
        })
    }

    pub(super) fn connect(&self, is_connected: bool) {
        let mut state = self.state.lock();
        if is_connected && !state.standing.is_connected {
            state.standing.n_connects += 1;
        }
        state.standing.is_connected = is_connected;
    }

    pub(super) fn behave(&self, behaviour: Behaviour) {
        self.state.lock().behaviour = behaviour;
    }

    pub(super) fn payloads(&self) -> Vec<String> {
        let state = self.state.lock();
        let published = state.published.iter();
        published
            .map(|event| String::from_utf8(event.payload.to_vec()).expect("text"))
            .collect()
    }

    /// Somebody else publishes there.
    pub(super) fn bring(&self, event: &Event) {
        for source in &self.state.lock().sources {
            source.send(event.clone()).expect("somebody reads");
        }
    }

    fn away() -> Error {
        Error::unavailable(Blame::Upstream, "away")
    }
}

impl EventBroker for Double {
    fn protocol(&self) -> &'static str {
        "double"
    }

    fn publish(&self, event: Event) -> BoxFuture<Result<(), Error>> {
        let mut state = self.state.lock();
        if !state.standing.is_connected {
            return Box::pin(std::future::ready(Err(Self::away())));
        }
        state.published.push(event.clone());
        let outcome = match state.behaviour {
            Behaviour::Acknowledges => Ok(()),
            Behaviour::Hangs => return Box::pin(std::future::pending()),
            Behaviour::Breaks => {
                state.standing.is_connected = false;
                Err(Self::away().with_retry(Retry::IfIdempotent))
            }
            Behaviour::Refuses => Err(Error::invalid_argument("no")),
        };
        // As a broker does that is subscribed to as well.
        for source in &state.sources {
            let _ = source.send(event.clone());
        }
        Box::pin(std::future::ready(outcome))
    }

    fn subscribe(&self, _: Vec<TopicPattern>) -> BoxFuture<Result<Box<dyn EventSource>, Error>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.state.lock().sources.push(sender);
        let source = DoubleSource(Arc::new(tokio::sync::Mutex::new(receiver)));
        Box::pin(std::future::ready(Ok(
            Box::new(source) as Box<dyn EventSource>
        )))
    }

    fn call(&self, _: Call) -> BoxFuture<Result<Reply, Error>> {
        let mut state = self.state.lock();
        state.n_calls += 1;
        let outcome = match (state.standing.is_connected, state.behaviour) {
            (false, _) => Err(Self::away()),
            (true, Behaviour::Breaks) => Err(Self::away().with_retry(Retry::IfIdempotent)),
            (true, _) => Ok(Reply::one("{}")),
        };
        Box::pin(std::future::ready(outcome))
    }

    fn standing(&self) -> BrokerStanding {
        self.state.lock().standing.clone()
    }
}
