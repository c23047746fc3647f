//! Roles `wasi:http/incoming-handler` (0.2) and `wasi:http/handler` (0.3): a request of HTTP in, a response
//! out, by components that were made for any host.
//!
//! ```text
//! Call ─▶ request.rs ─▶ incoming.rs, service.rs: the guest ─▶ head, body ─▶ reply.rs ─▶ Reply
//! ```
//! The guest runs where its reply is read, as in `stream.rs`: it goes no faster than the client takes its
//! octets. One that has answered before its first wait costs no more than a unary call, and its reply is
//! at hand. One that has not holds a permit of the streams from its head on.

mod incoming;
mod reply;
mod request;
mod service;

use std::sync::{
    Arc,
    atomic::{
        AtomicBool, AtomicU8,
        Ordering::{Relaxed, Release},
    },
};

use http::Response;
use postern_core::{Blame, Call, Error, Kind, Reply};
use postern_system::clock;
use tokio::sync::oneshot;

pub(crate) use self::{incoming::HandleIncoming, service::HandleRequest};
use self::{reply::WebReply, request::WebRequest};
use crate::{
    exports::Functions,
    generation::WorkerShard,
    handles::Handles,
    http_bodies::GuestBody,
    instance::no_role,
    lease::Lease,
    offload::{self, Purpose},
    outcome::Outcome,
    progress::Progress,
    reply_draft::Drafted,
    role::Role,
    state::{AmbientCall, CallContext},
    waited::Waited,
};

/// Handles that an instance may have open behind a call. One with more is not used again: a guest that
/// forgets some with every request would run out of them in the middle of one.
const HANDLES_LEFT_MAX: usize = 256;

/// A response, or what the guest says in its place.
type Answer = Result<Response<GuestBody>, String>;

/// Where a guest answers, and how it is known what it has said.
struct Answering {
    answer: oneshot::Sender<Answer>,
    said: Arc<AtomicU8>,
    /// Told, or dropped, when the body of the response has been read.
    was_read: oneshot::Receiver<()>,
}

impl Answering {
    const NOTHING: u8 = 0;
    const RESPONSE: u8 = 1;
    const ERROR: u8 = 2;

    /// Takes what the guest says.
    fn say(answer: oneshot::Sender<Answer>, said: &AtomicU8, what: Answer) {
        let kind = match &what {
            Ok(_) => Self::RESPONSE,
            Err(_) => Self::ERROR,
        };
        said.store(kind, Relaxed);
        // Whoever asked may have gone away.
        let _ = answer.send(what);
    }

    fn outcome(said: &AtomicU8) -> Outcome {
        match said.load(Relaxed) {
            Self::RESPONSE => Outcome::Ok,
            _ => Outcome::Failed,
        }
    }
}

/// Answers a forwarded call by the guest's `handle`.
pub(crate) async fn call(shard: Arc<WorkerShard>, mut call: Box<Call>) -> Result<Reply, Error> {
    let guest = Arc::clone(&shard.generation().guest);
    let plugin = &guest.plugin;
    if !call.is_forwarded() {
        let message = format!(
            "plugin {plugin} answers requests of http, and no calls: ask for a path that a route leads there"
        );
        return Err(Error::new(Kind::Unimplemented, Blame::Client, message));
    }
    let (progress, waited) = (Arc::<Progress>::default(), Arc::<Waited>::default());
    let request = WebRequest::take(&mut call, &progress, &waited)?;
    let streams = Arc::clone(&shard.generation().streams);
    let deadline = call.context.deadline;
    let permit = match request.is_stream() {
        true => Some(streams.permit(&guest, deadline).await?),
        false => None,
    };
    let (answer, answered) = oneshot::channel();
    let (read, was_read) = oneshot::channel();
    let answering = Answering {
        answer,
        said: Arc::default(),
        was_read,
    };
    let purpose = Purpose::call(call.service.clone(), call.method.clone());
    let is_cut = Arc::<AtomicBool>::default();
    let seen = (Arc::clone(&waited), Arc::clone(&is_cut));
    let entered = run(shard, call, request, answering, seen);
    let work = offload::run(&guest, purpose, Err, Box::pin(entered));
    let ends = (answered, read, is_cut);
    let reply = WebReply::new(work, ends, (guest, streams), (progress, waited));
    reply.answer(permit, deadline).await
}

/// The guest's side: runs until it returns. Notes when its body has ended because it was stopped: to who reads
/// that, the end of a store looks like the end of the body.
async fn run(
    shard: Arc<WorkerShard>,
    mut call: Box<Call>,
    request: WebRequest,
    answering: Answering,
    (waited, is_cut): (Arc<Waited>, Arc<AtomicBool>),
) -> Result<Drafted, Error> {
    let mut lease = Lease::for_async(Arc::clone(&shard), call.context.deadline).await?;
    if call.context.is_deadline_of_head {
        // Whoever bounds the call waits for its head.
        call.context.deadline = None;
    }
    let said = Arc::clone(&answering.said);
    let is_service = shard.generation().has(Role::HttpHandler);
    let instance = lease.begin(Some(CallContext::new(AmbientCall::Owned(call))));
    instance.state().waited = Some(waited);
    instance.state().begin_stream(clock::now());
    let (role, result) = if is_service {
        let (store, service) = instance.parts::<HandleRequest>();
        let result = match service {
            Some(service) => service.enter(store, request, answering).await,
            None => Err(no_role::<HandleRequest>()),
        };
        (HandleRequest::ROLE, result)
    } else {
        let unread = request.unread();
        let (store, incoming) = instance.parts::<HandleIncoming>();
        let result = match incoming {
            Some(incoming) => incoming.enter(store, request, answering).await,
            None => Err(no_role::<HandleIncoming>()),
        };
        // A guest that keeps the body beyond its call keeps nothing of the client.
        unread.close();
        (HandleIncoming::ROLE, result)
    };
    match instance.finish(result) {
        Ok(()) => {
            instance.end();
            // What kept it from saying anything may stay in its memory.
            let is_silent = said.load(Relaxed) == Answering::NOTHING;
            if is_silent || Handles::count(&mut instance.state().kept) > HANDLES_LEFT_MAX {
                instance.retire();
            }
            lease.finish(Answering::outcome(&said));
            Ok(None)
        }
        Err(trapped) => {
            is_cut.store(true, Release);
            Err(lease.trap(trapped, role))
        }
    }
}
