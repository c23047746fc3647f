//! A server of text messages over WebSocket as a broker.

use std::{borrow::Cow, sync::Arc};

use parking_lot::Mutex;
use postern_core::{
    BoxFuture, Call, Error, Reply, Transport,
    event::{
        Event, TopicPattern,
        broker::{BrokerStanding, EventBroker, EventSource},
    },
    websocket::DataKind,
};
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use super::{
    EventBrokerConfig,
    inbox::{InboxSender, inbox},
    keeper::Keeper,
    text_message::TextForm,
    text_session::{TextCommand, TextSession},
};
use crate::{
    dial::{self, Destination, unreachable},
    link::StreamLink,
    tcp,
    tls::{alpn, connect},
    websocket::{AskedWebSocket, CALLS_PROTOCOL, WebSocketConfig, open},
};

/// Whoever takes text messages at a URL. Dropping it closes its connection.
#[derive(Debug)]
pub struct WebSocketBroker {
    shared: Arc<Shared>,
    _keeping: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct Shared {
    config: EventBrokerConfig,
    form: TextForm,
    keeper: Arc<Keeper>,
    /// Of the connection, while there is one.
    commands: Mutex<Option<mpsc::Sender<TextCommand>>>,
    sources: Mutex<Vec<InboxSender>>,
}

impl WebSocketBroker {
    /// Must be called on a runtime, whose task keeps the connection.
    #[must_use]
    pub fn new(config: EventBrokerConfig, form: TextForm) -> Self {
        let shared = Arc::new(Shared {
            keeper: Arc::new(Keeper::new(config.address.to_string())),
            config,
            form,
            commands: Mutex::default(),
            sources: Mutex::default(),
        });
        let keeping = tokio::spawn(keep(Arc::clone(&shared)));
        Self {
            shared,
            _keeping: AbortOnDropHandle::new(keeping),
        }
    }

    /// Asks the connection for something and waits for what came of it.
    fn ask<T: Send + 'static>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, Error>>) -> TextCommand,
    ) -> BoxFuture<Result<T, Error>> {
        let (done, outcome) = oneshot::channel();
        let (command, keeper) = (command(done), Arc::clone(&self.shared.keeper));
        let commands = self.shared.commands.lock().clone();
        Box::pin(async move {
            let commands = commands.ok_or_else(|| keeper.away())?;
            commands.send(command).await.map_err(|_| keeper.away())?;
            // Of a connection that is lost nothing is answered.
            outcome.await.unwrap_or_else(|_| Err(keeper.lost()))
        })
    }
}

impl EventBroker for WebSocketBroker {
    fn protocol(&self) -> &'static str {
        "websocket"
    }

    fn publish(&self, event: Event) -> BoxFuture<Result<(), Error>> {
        self.ask(|done| TextCommand::Publish { event, done })
    }

    fn subscribe(
        &self,
        patterns: Vec<TopicPattern>,
    ) -> BoxFuture<Result<Box<dyn EventSource>, Error>> {
        let (sender, reader) = inbox(patterns, &self.shared.keeper);
        let shared = Arc::clone(&self.shared);
        let inbox = sender.clone();
        let subscribed = self.ask(|done| TextCommand::Subscribe {
            inbox,
            done: Some(done),
        });
        Box::pin(async move {
            subscribed.await?;
            // From the next connection on it is subscribed for as soon as that is made.
            let mut sources = shared.sources.lock();
            sources.retain(InboxSender::is_open);
            sources.push(sender);
            drop(sources);
            Ok(Box::new(reader) as Box<dyn EventSource>)
        })
    }

    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        self.ask(|done| TextCommand::Call {
            call: Box::new(call),
            done,
        })
    }

    /// A server of plain values relays nothing between its clients.
    fn gives_back(&self) -> bool {
        self.shared.form.is_json()
    }

    fn standing(&self) -> BrokerStanding {
        let commands = self.shared.commands.lock();
        let queued = commands.as_ref().map_or(0, |commands| {
            COMMANDS_MAX.saturating_sub(commands.capacity())
        });
        let n_queued = u64::try_from(queued).unwrap_or(u64::MAX);
        drop(commands);
        self.shared.keeper.standing(n_queued)
    }
}

impl Shared {
    /// Makes a connection and serves it until it is lost; says why it was.
    async fn serve(&self) -> Cow<'static, str> {
        match self.connect().await {
            Ok(reason) => reason,
            Err(error) => error.message,
        }
    }

    async fn connect(&self) -> Result<Cow<'static, str>, Error> {
        let address = &self.config.address;
        let targets = dial::targets(address.transport, &address.authority()).await?;
        let is_secure = address.transport == Transport::SecureWebSocket;
        let mut fault = None;
        for target in targets {
            let destination = target.destination();
            let outcome = match is_secure {
                true => {
                    let tls = self.config.tls.config(&[alpn::HTTP_1_1]);
                    let stream = self.in_time(destination, connect(destination, tls)).await;
                    match stream {
                        Ok(stream) => Box::pin(self.serve_stream(destination, stream)).await,
                        Err(error) => Err(error),
                    }
                }
                false => {
                    let address = destination.ip()?;
                    let dialled = async {
                        let stream = tcp::dial(address).await;
                        stream.map_err(|error| unreachable(destination, error))
                    };
                    match self.in_time(destination, dialled).await {
                        Ok(stream) => Box::pin(self.serve_stream(destination, stream)).await,
                        Err(error) => Err(error),
                    }
                }
            };
            match outcome {
                Ok(reason) => return Ok(reason),
                Err(error) => fault = Some(error),
            }
        }
        Err(fault.unwrap_or_else(|| self.keeper.away()))
    }

    async fn serve_stream<S: StreamLink>(
        &self,
        destination: &Destination,
        stream: S,
    ) -> Result<Cow<'static, str>, Error> {
        let token = self.config.token.as_ref();
        let authorization = token.map(|token| format!("Bearer {token}"));
        let asked = AskedWebSocket {
            protocol: self.form.is_json().then_some(CALLS_PROTOCOL),
            path: self.form.usual_path(),
            kind: DataKind::Text,
            message_bytes_max: WebSocketConfig::default().message_bytes_max,
            authorization: authorization.as_deref(),
        };
        let opening = open(stream, destination, &asked);
        let channel = self.in_time(destination, opening).await?;
        let (commands, asked) = mpsc::channel(COMMANDS_MAX);
        let mut session = TextSession::new(channel, self.form.clone(), asked);
        for source in self.sources.lock().iter() {
            session.subscribe(source.clone(), None);
        }
        *self.commands.lock() = Some(commands);
        self.keeper.on_connected();
        let reason = session.run().await;
        Ok(reason.into())
    }

    async fn in_time<T>(
        &self,
        destination: &Destination,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let timeout = self.config.connect_timeout;
        let done = tokio::time::timeout(timeout, work).await;
        done.unwrap_or_else(|_| {
            let message = format!("no WebSocket with {destination} within {timeout:?}");
            Err(Error::unavailable(postern_core::Blame::Upstream, message))
        })
    }
}

async fn keep(shared: Arc<Shared>) {
    loop {
        let fault = shared.serve().await;
        *shared.commands.lock() = None;
        let pause = shared.keeper.on_lost(&fault);
        tokio::time::sleep(pause).await;
    }
}

/// What waits for a connection to take it.
const COMMANDS_MAX: usize = 256;
