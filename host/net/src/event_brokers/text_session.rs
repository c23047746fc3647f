//! One connection to a server of text messages: what is asked for becomes messages, messages become
//! outcomes and events.

use std::{
    collections::{BTreeMap, HashMap},
    future::poll_fn,
    io,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use postern_core::{Blame, Call, Error, Kind, Reply, Text, event::Event, websocket::ClosedBy};
use tokio::sync::{mpsc, oneshot};

use super::{
    inbox::InboxSender,
    text_message::{ServerText, TextForm},
};
use crate::{link::StreamLink, websocket::Channel};

/// What is asked of a connection.
pub(super) enum TextCommand {
    Publish {
        event: Event,
        done: Done<()>,
    },
    Subscribe {
        inbox: InboxSender,
        /// None where nobody waits: it was subscribed for before the connection.
        done: Option<Done<()>>,
    },
    Call {
        call: Box<Call>,
        done: Done<Reply>,
    },
}

pub(super) type Done<T> = oneshot::Sender<Result<T, Error>>;

pub(super) struct TextSession<S> {
    channel: Channel<S>,
    form: TextForm,
    /// The message that is being read.
    message: BytesMut,
    commands: mpsc::Receiver<TextCommand>,
    /// Of requests.
    next_id: u64,
    pending: BTreeMap<u64, Asked>,
    /// Sent without an answer to come: done when they are written.
    unwritten: Vec<Done<()>>,
    /// By subscription; those of a form without subscriptions have numbers of our own.
    sources: HashMap<Text, InboxSender>,
}

/// What an answer is for.
enum Asked {
    Publish(Done<()>),
    Subscribe(InboxSender, Option<Done<()>>),
    Call(Done<Reply>),
}

/// What comes next on a connection.
enum TextStep {
    Message(Bytes),
    Command(TextCommand),
    Over(String),
}

impl<S: StreamLink> TextSession<S> {
    pub(super) fn new(
        channel: Channel<S>,
        form: TextForm,
        commands: mpsc::Receiver<TextCommand>,
    ) -> Self {
        Self {
            channel,
            form,
            message: BytesMut::new(),
            commands,
            next_id: 1,
            pending: BTreeMap::new(),
            unwritten: Vec::new(),
            sources: HashMap::new(),
        }
    }

    /// Until the connection is over; says why it is.
    pub(super) async fn run(mut self) -> String {
        loop {
            match poll_fn(|cx| self.poll(cx)).await {
                TextStep::Message(message) => self.on_message(&message),
                TextStep::Command(command) => self.on_command(command),
                TextStep::Over(reason) => return reason,
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<TextStep> {
        match self.channel.poll_send(cx) {
            Poll::Ready(Ok(())) => {
                for done in self.unwritten.drain(..) {
                    // Whoever waited may have gone.
                    let _ = done.send(Ok(()));
                }
            }
            Poll::Ready(Err(error)) => return Poll::Ready(TextStep::Over(error.to_string())),
            Poll::Pending => {}
        }
        loop {
            match self.channel.poll_piece(cx) {
                Poll::Pending => break,
                Poll::Ready(Ok(Some(piece))) => {
                    self.message.extend_from_slice(&piece.octets);
                    if piece.is_last {
                        let message = self.message.split().freeze();
                        return Poll::Ready(TextStep::Message(message));
                    }
                }
                Poll::Ready(ended) => return Poll::Ready(TextStep::Over(self.reason(ended.err()))),
            }
        }
        // Pongs leave by the way; what cannot leave is met above.
        let _ = self.channel.poll_send(cx);
        // What is not taken from here on is held up where it is asked for.
        if self.channel.queued().0 >= QUEUED_MAX || self.pending.len() >= PENDING_MAX {
            return Poll::Pending;
        }
        match self.commands.poll_recv(cx) {
            Poll::Ready(Some(command)) => Poll::Ready(TextStep::Command(command)),
            Poll::Ready(None) => Poll::Ready(TextStep::Over("the broker is closed".to_owned())),
            Poll::Pending => Poll::Pending,
        }
    }

    fn reason(&self, error: Option<io::Error>) -> String {
        match (error, self.channel.closed_by()) {
            (Some(error), _) => error.to_string(),
            (None, Some(ClosedBy::Fault(fault))) => fault.to_string(),
            (None, Some(ClosedBy::Peer(Some(close)))) => format!("the peer has closed it: {close}"),
            (None, Some(ClosedBy::Peer(None) | ClosedBy::Us(_)) | None) => {
                "the connection has ended".to_owned()
            }
        }
    }

    fn on_command(&mut self, command: TextCommand) {
        match command {
            TextCommand::Publish { event, done } => match self.form.publish(self.next_id, &event) {
                Ok(message) if self.form.is_json() => self.ask(message, Asked::Publish(done)),
                Ok(message) => {
                    self.channel.send(message);
                    self.unwritten.push(done);
                }
                Err(error) => drop(done.send(Err(error))),
            },
            TextCommand::Subscribe { inbox, done } => self.subscribe(inbox, done),
            TextCommand::Call { call, done } => match self.form.call(self.next_id, *call) {
                Ok(message) => self.ask(message, Asked::Call(done)),
                Err(error) => drop(done.send(Err(error))),
            },
        }
    }

    /// Subscribes for a source.
    pub(super) fn subscribe(&mut self, inbox: InboxSender, done: Option<Done<()>>) {
        match self.form.subscribe(self.next_id, &inbox.patterns()) {
            Some(message) => self.ask(message, Asked::Subscribe(inbox, done)),
            None => {
                self.sources.insert(self.next_id.to_string().into(), inbox);
                self.next_id += 1;
                done.into_iter().for_each(|done| drop(done.send(Ok(()))));
            }
        }
    }

    fn ask(&mut self, message: Bytes, asked: Asked) {
        self.channel.send(message);
        self.pending.insert(self.next_id, asked);
        self.next_id += 1;
        // Callers that gave up free what was kept for them.
        if self.pending.len() >= PENDING_MAX {
            self.pending.retain(|_, asked| !asked.is_given_up());
        }
    }

    fn on_message(&mut self, message: &Bytes) {
        match self.form.read(message) {
            Some(ServerText::Event {
                subscription,
                event,
                missed,
            }) => {
                self.on_event(subscription.as_ref(), event, missed);
            }
            Some(ServerText::Reply { id, reply }) => self.on_reply(id, Ok(reply)),
            Some(ServerText::Error { id, error }) => self.on_reply(id, Err(error)),
            None => tracing::debug!(
                length = message.len(),
                "a message of the broker is not read"
            ),
        }
    }

    fn on_event(&mut self, subscription: Option<&Text>, event: Event, missed: u64) {
        let is_for = |id: &Text, source: &InboxSender| match subscription {
            Some(subscription) => id == subscription,
            None => source.wants(&event.topic),
        };
        self.sources
            .retain(|id, source| !is_for(id, source) || source.push(event.clone(), missed));
    }

    fn on_reply(&mut self, id: u64, outcome: Result<Box<Reply>, Error>) {
        // Whoever asked may have gone, here and below.
        match self.pending.remove(&id) {
            Some(Asked::Publish(done)) => drop(done.send(outcome.map(drop))),
            Some(Asked::Call(done)) => drop(done.send(outcome.map(|reply| *reply))),
            Some(Asked::Subscribe(inbox, done)) => {
                let subscribed = outcome.and_then(|reply| TextForm::subscription(&reply));
                let subscribed = subscribed.map(|id| drop(self.sources.insert(id, inbox)));
                match done {
                    Some(done) => drop(done.send(subscribed)),
                    None => {
                        if let Err(error) = subscribed {
                            tracing::warn!(%error, "a subscription was not renewed");
                        }
                    }
                }
            }
            None => {}
        }
    }
}

impl Asked {
    fn is_given_up(&self) -> bool {
        match self {
            Self::Publish(done) => done.is_closed(),
            Self::Subscribe(_, done) => done.as_ref().is_some_and(oneshot::Sender::is_closed),
            Self::Call(done) => done.is_closed(),
        }
    }
}

/// The form has no such thing.
pub(super) fn unimplemented(what: &'static str) -> Error {
    let message = format!("{what} cannot be asked for over plain text messages");
    Error::new(Kind::Unimplemented, Blame::Client, message)
}

/// Frames that wait for the server.
const QUEUED_MAX: usize = 256;
/// Requests without an answer.
const PENDING_MAX: usize = 1024;
