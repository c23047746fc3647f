//! A module of others as a service: its functions are methods, those that take goals answer a stream.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use postern_core::{
    Blame, BoxFuture, Call, Error, Handler, Kind, Reply, Text,
    vyra::{
        VyraAnswer, VyraGoal, VyraModule, VyraRequest, VyraResponse, VyraTopic, dumps, is_object,
        uuid4,
    },
};
use postern_net::vyra as sockets;
use postern_system::random;
use tokio::task::JoinSet;

use super::{
    goals::{GoalOfPeer, PursuedGoal},
    module::{OwnModule, deadline, json_headers, no_redis},
    redis::VyraRedis,
    requests::VyraAnswers,
};
use crate::config::{VyraPeer, VyraTransport};

/// A module of others. It is spoken with as this gateway's own module.
pub(super) struct PeerService(Arc<Inner>);

struct Inner {
    own: Arc<OwnModule>,
    module: VyraModule,
    settings: VyraPeer,
    functions: Vec<Text>,
    goals: Vec<Text>,
    timeout: Duration,
    /// Tasks that follow goals.
    pursued: Mutex<JoinSet<()>>,
    /// None where nothing is spoken over Redis.
    redis: Option<OverRedis>,
}

struct OverRedis {
    redis: Arc<dyn VyraRedis>,
    responses: VyraAnswers,
    answers: VyraAnswers,
}

impl PeerService {
    /// None where the settings do not say which module it is, which the configuration was checked for.
    pub(super) fn new(own: &Arc<OwnModule>, settings: &VyraPeer) -> Option<Self> {
        let module = settings.vyra_module()?.ok()?;
        let names = |names: &[String]| names.iter().map(|name| Text::from(name.as_str())).collect();
        let redis = own.redis.clone().map(|redis| OverRedis {
            responses: VyraAnswers::new(Arc::clone(&redis), read_response),
            answers: VyraAnswers::new(Arc::clone(&redis), read_answer),
            redis,
        });
        Some(Self(Arc::new(Inner {
            module,
            functions: names(&settings.functions),
            goals: names(&settings.goals),
            timeout: settings.timeout.unwrap_or(own.config.timeout),
            settings: settings.clone(),
            pursued: Mutex::default(),
            own: Arc::clone(own),
            redis,
        })))
    }

    pub(super) fn functions(&self) -> impl Iterator<Item = &Text> {
        self.0.functions.iter()
    }

    pub(super) fn goal_names(&self) -> impl Iterator<Item = &Text> {
        self.0.goals.iter()
    }

    pub(super) fn prefix(&self) -> String {
        self.0.module.prefix()
    }

    pub(super) fn over(&self) -> &'static str {
        self.0.settings.over.name()
    }
}

impl Handler for PeerService {
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            let is_goal = inner.goals.contains(&call.method);
            let is_known = inner.functions.contains(&call.method)
                || (inner.functions.is_empty() && inner.goals.is_empty());
            match (is_goal, is_known) {
                (true, _) => inner.goal(call).await,
                (false, true) => inner.request(call).await,
                (false, false) => {
                    let message = format!(
                        "module {} has no function {}",
                        inner.module.prefix(),
                        call.method.escape_debug()
                    );
                    Err(Error::new(Kind::Unimplemented, Blame::Client, message))
                }
            }
        })
    }
}

impl Inner {
    async fn request(&self, call: Call) -> Result<Reply, Error> {
        let topic = self.topic(&call.method)?;
        let until = deadline(&call, self.timeout);
        let data = self.object(call).await?;
        let reply = match self.settings.over {
            VyraTransport::Redis => {
                let over = self.redis.as_ref().ok_or_else(no_redis)?;
                let id = Text::from(uuid4(random::secret()));
                let channel = topic.responses(&self.own.client);
                let request = VyraRequest {
                    request_id: id.clone(),
                    data,
                    response_channel: channel.as_str().into(),
                };
                let message = (topic.requests(), request.write());
                over.responses.ask(id, message, channel, until).await?
            }
            VyraTransport::Sockets => {
                let file = self.module.request_socket(&topic);
                let path = self.own.socket_folder().join(file);
                let limit = self.own.config.message_bytes_max.octets();
                let asking = sockets::request(&path, &data, limit);
                let asked = tokio::time::timeout_at(until.into(), asking).await;
                asked.unwrap_or_else(|_| {
                    let message = format!("{} did not answer in time", path.display());
                    Err(Error::deadline_exceeded(Blame::Upstream, message))
                })?
            }
        };
        let mut answer = Reply::one(reply);
        answer.headers = json_headers(None)?;
        Ok(answer)
    }

    async fn goal(&self, call: Call) -> Result<Reply, Error> {
        let topic = self.topic(&call.method)?;
        let until = deadline(&call, self.timeout);
        let goal = self.object(call).await?;
        let over = self.redis.as_ref().ok_or_else(no_redis)?;
        let id = Text::from(uuid4(random::secret()));
        let answers = topic.goal_answers(&self.own.client);
        // Before the goal is sent: its first feedback may be there before its acceptance.
        let updates = over
            .redis
            .subscribe(vec![topic.of_goal(&id, "updates")])
            .await?;
        let message = VyraGoal {
            goal_id: id.clone(),
            goal,
            response_channel: answers.as_str().into(),
        };
        let message = (topic.goals(), message.write());
        let answer = over
            .answers
            .ask(id.clone(), message, answers.clone(), until)
            .await?;
        if &answer[..] != ACCEPTED {
            let message = format!("module {} does not accept the goal", self.module.prefix());
            return Err(Error::new(
                Kind::FailedPrecondition,
                Blame::Upstream,
                message,
            ));
        }
        let goal = GoalOfPeer {
            redis: Arc::clone(&over.redis),
            topic,
            id,
            answers,
            state_interval: self.own.config.state_interval,
        };
        let goal = PursuedGoal { goal, updates };
        let headers = json_headers(None)?;
        let mut pursued = self.pursued.lock();
        while pursued.try_join_next().is_some() {}
        Ok(goal.into_reply(headers, &mut pursued))
    }

    fn topic(&self, method: &str) -> Result<VyraTopic, Error> {
        let topic = self
            .module
            .topic(self.settings.namespace.as_deref(), method, None);
        topic.map_err(|error| {
            let shown: String = method.escape_debug().take(METHOD_CHARS_MAX).collect();
            Error::not_found(format!("{shown:?} is no function of VYRA: {error}"))
        })
    }

    /// The message of a call, which is an object in every request of VYRA.
    async fn object(&self, call: Call) -> Result<Bytes, Error> {
        let message = call.body.into_one(self.own.body_bytes_max).await?;
        if message.is_empty() {
            return Ok(Bytes::from_static(b"{}"));
        }
        let written = dumps(&message).ok().filter(|_| is_object(&message));
        written
            .map(Bytes::from)
            .ok_or_else(|| Error::invalid_argument("a function of VYRA takes a JSON object"))
    }
}

fn read_response(message: &Bytes) -> Option<(Text, Bytes)> {
    let response = VyraResponse::read(message)?;
    Some((response.request_id, response.data))
}

fn read_answer(message: &Bytes) -> Option<(Text, Bytes)> {
    let answer = VyraAnswer::read(message)?;
    let word = if answer.is_accepted {
        ACCEPTED
    } else {
        REFUSED
    };
    Some((answer.goal_id, Bytes::from_static(word)))
}

/// How an answer to a goal is handed on.
const ACCEPTED: &[u8] = b"accepted";
const REFUSED: &[u8] = b"refused";
/// Of a stranger's text, shown back to it.
const METHOD_CHARS_MAX: usize = 64;
