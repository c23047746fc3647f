//! Commands about the connection itself.

use std::sync::Arc;

use bytes::Bytes;
use postern_core::{
    BoxFuture, Kind, Text,
    resp::{
        ChannelKind, RespCommand, RespError, RespRequest, RespValue, RespVersion,
        arguments::{count, integer, is, shown},
    },
};
use postern_net::resp::RespAnswer;
use postern_system::clock;

use super::{
    client::{Answers, ClientState, Login, RedisClient},
    failure::{Refusal, settled},
    told,
};

/// Someone who says who they are.
struct Shown {
    user: Option<Text>,
    password: Bytes,
}

impl RedisClient {
    pub(super) fn answer_session(
        &mut self,
        request: &RespRequest,
        row: &'static RespCommand,
    ) -> RespAnswer {
        let value = match row.name {
            "ping" => self.ping(request),
            "echo" => RespValue::Bulk(request.bytes(1)),
            "quit" => return RespAnswer::Last(RespValue::OK),
            "auth" => return self.auth(request),
            "hello" => return self.hello(request),
            "reset" => self.reset(),
            "select" => self.select(request),
            "client|reply" => return self.client_reply(request),
            "unsubscribe" | "punsubscribe" => self.unsubscribe(request, row),
            "pubsub|channels" | "pubsub|numpat" | "pubsub|numsub" => self.pubsub(request, row),
            "multi" | "exec" | "discard" | "watch" | "unwatch" => RespError::new(format!(
                "ERR {} is not possible: there are no transactions here; send the requests in a \
                 pipeline without one",
                row.name.to_uppercase()
            ))
            .into(),
            "command" | "command|info" | "command|docs" | "command|count" | "command|list" => {
                told::command(request, row)
            }
            "info" => told::info(self, request),
            "time" => told::time(),
            _ => self.client_command(request, row),
        };
        RespAnswer::Now(value)
    }

    fn ping(&self, request: &RespRequest) -> RespValue {
        if request.len() > 2 {
            return RespError::wrong_arity("ping").into();
        }
        let is_only_told = !self.subscriptions.is_empty() && self.version() == RespVersion::V2;
        match (is_only_told, request.try_octets(1)) {
            (true, _) => RespValue::Array(vec![
                RespValue::text("pong"),
                RespValue::Bulk(request.bytes(1)),
            ]),
            (false, None) => RespValue::Simple("PONG".into()),
            (false, Some(_)) => RespValue::Bulk(request.bytes(1)),
        }
    }

    fn auth(&self, request: &RespRequest) -> RespAnswer {
        let shown = match request.len() {
            2 => Shown {
                user: None,
                password: request.bytes(1),
            },
            3 => match Text::from_utf8(request.bytes(1)) {
                Ok(user) => Shown {
                    user: Some(user),
                    password: request.bytes(2),
                },
                Err(_) => return RespAnswer::Now(RespError::WRONG_PASS.into()),
            },
            _ => return RespAnswer::Now(RespError::SYNTAX.into()),
        };
        let logging_in = self.log_in(shown);
        let state = Arc::clone(&self.state);
        RespAnswer::Later(Box::pin(async move {
            settled(logging_in.await.map(|login| {
                state.change(|said| said.login = login);
                RespValue::OK
            }))
        }))
    }

    /// Whether what is shown is good, and what goes along with each request from then on: nothing where
    /// nobody looks at it, as the default user of Redis needs no password.
    fn log_in(&self, shown: Shown) -> BoxFuture<Result<Option<Login>, Refusal>> {
        let at_once = |login: Result<Option<Login>, RespError>| -> BoxFuture<_> {
            Box::pin(std::future::ready(login.map_err(Refusal::from)))
        };
        let is_default = |user: &Text| user.is_empty() || user == "default";
        if !self.listener.pipeline.knows_callers() {
            return at_once(match &shown.user {
                None => Err(NO_PASSWORDS),
                Some(user) if is_default(user) => Ok(None),
                Some(_) => Err(RespError::WRONG_PASS),
            });
        }
        let known = self.rules().known.clone();
        let user = shown.user.filter(|user| !is_default(user));
        let Ok(credentials) = known.read(user.as_deref(), Some(&shown.password)) else {
            return at_once(Err(RespError::WRONG_PASS));
        };
        let headers = credentials.headers.clone();
        let identifying = self.listener.identify(&self.peer, headers.clone());
        Box::pin(async move {
            let principal = match identifying.await {
                Ok(principal) => principal,
                Err(error) if error.kind == Kind::Unauthenticated => {
                    return Err(RespError::WRONG_PASS.into());
                }
                Err(error) => return Err(error.into()),
            };
            let fits = known.fits(&credentials, user.as_ref(), principal.as_deref());
            let principal = principal.filter(|_| fits).ok_or(RespError::WRONG_PASS)?;
            let user = principal.name.clone();
            Ok(Some(Login { user, headers }))
        })
    }

    fn hello(&self, request: &RespRequest) -> RespAnswer {
        let asked = match HelloOptions::read(request) {
            Ok(asked) => asked,
            Err(error) => return RespAnswer::Now(error.into()),
        };
        let is_known = self.is_known_or_need_not(super::access::REDIS, "hello");
        if asked.shown.is_none() && !is_known {
            return RespAnswer::Now(HELLO_NO_AUTH.into());
        }
        let logging_in = asked.shown.map(|shown| self.log_in(shown));
        let (id, state, name) = (self.id, Arc::clone(&self.state), asked.name);
        let version = asked.version;
        RespAnswer::Later(Box::pin(async move {
            let login = match logging_in {
                None => None,
                Some(logging_in) => match logging_in.await {
                    Ok(login) => login,
                    Err(refused) => return refused.into(),
                },
            };
            if let Some(version) = version {
                state.set_version(version);
            }
            state.change(|said| {
                said.login = login.or_else(|| said.login.take());
                said.name = name.unwrap_or_else(|| said.name.clone());
            });
            greeting(id, &state)
        }))
    }

    fn reset(&mut self) -> RespValue {
        self.unsubscribe_all();
        self.answers = Answers::On;
        self.state.set_version(RespVersion::V2);
        self.state.change(|said| *said = Default::default());
        RespValue::Simple("RESET".into())
    }

    fn select(&self, request: &RespRequest) -> RespValue {
        let n_databases = self.rules().redis.stores.len().max(1);
        match integer(request.octets(1)) {
            Ok(number) => match usize::try_from(number) {
                Ok(number) if number < n_databases => {
                    self.state.change(|said| said.database = number);
                    RespValue::OK
                }
                Ok(_) | Err(_) => RespValue::error("ERR DB index is out of range"),
            },
            Err(error) => error.into(),
        }
    }

    fn client_reply(&mut self, request: &RespRequest) -> RespAnswer {
        let word = request.octets(2);
        if is(word, "ON") {
            self.answers = Answers::On;
            return RespAnswer::Now(RespValue::OK);
        }
        let stays_off = self.answers == Answers::Off && is(word, "SKIP");
        self.answers = if is(word, "OFF") || stays_off {
            Answers::Off
        } else if is(word, "SKIP") {
            Answers::Skip
        } else {
            return RespAnswer::Now(RespError::SYNTAX.into());
        };
        RespAnswer::Untold
    }

    fn client_command(&self, request: &RespRequest, row: &RespCommand) -> RespValue {
        match row.name {
            "client|id" => RespValue::Integer(i64::try_from(self.id).unwrap_or(i64::MAX)),
            "client|getname" => {
                let name = self.state.said().name;
                RespValue::maybe((!name.is_empty()).then_some(name))
            }
            "client|setname" => match name_of(request.octets(2)) {
                Ok(name) => {
                    self.state.change(|said| said.name = name);
                    RespValue::OK
                }
                Err(error) => error.into(),
            },
            "client|setinfo" => self.set_info(request),
            "client|info" => RespValue::Verbatim(self.line().into()),
            "client|list" => self.list(request),
            // No client is evicted here, and no key has an age of use.
            "client|no-evict" | "client|no-touch" => {
                match is(request.octets(2), "ON") || is(request.octets(2), "OFF") {
                    true => RespValue::OK,
                    false => RespError::SYNTAX.into(),
                }
            }
            name => RespValue::error(format!("ERR '{name}' is not served")),
        }
    }

    fn set_info(&self, request: &RespRequest) -> RespValue {
        let (attribute, value) = (request.octets(2), request.octets(3));
        let is_version = is(attribute, "LIB-VER");
        if !is_version && !is(attribute, "LIB-NAME") {
            let shown = shown(attribute);
            return RespValue::error(format!("ERR Unrecognized option '{shown}'"));
        }
        let attribute = if is_version { "lib-ver" } else { "lib-name" };
        if value.len() > NAME_BYTES_MAX || value.iter().any(|octet| !octet.is_ascii_graphic()) {
            return RespValue::error(format!(
                "ERR {attribute} cannot contain spaces, newlines or special characters."
            ));
        }
        let value = Bytes::copy_from_slice(value);
        self.state.change(|said| match is_version {
            true => said.library_version = value,
            false => said.library = value,
        });
        RespValue::OK
    }

    /// Others are no business of a client.
    fn list(&self, request: &RespRequest) -> RespValue {
        let is_own = match request.try_octets(2) {
            None => true,
            Some(word) if is(word, "TYPE") => {
                let kind = request.octets(3);
                match self.subscriptions.is_empty() {
                    true => is(kind, "NORMAL"),
                    false => is(kind, "PUBSUB"),
                }
            }
            Some(word) if is(word, "ID") => request
                .rest(3)
                .any(|id| count(id).is_ok_and(|id| id as u64 == self.id)),
            Some(_) => return RespError::SYNTAX.into(),
        };
        RespValue::Verbatim(if is_own {
            self.line().into()
        } else {
            Bytes::new()
        })
    }

    /// The line of the connection, as `CLIENT LIST` has it.
    fn line(&self) -> String {
        let said = self.state.said();
        let text = |octets: &Bytes| String::from_utf8_lossy(octets).into_owned();
        let user = said.login.as_ref().map(|login| login.user.as_str());
        let kinds = [ChannelKind::Channel, ChannelKind::Pattern];
        let [n_channels, n_patterns] = kinds.map(|kind| self.subscriptions.count(kind));
        let resp = match self.version() {
            RespVersion::V2 => 2,
            RespVersion::V3 => 3,
        };
        format!(
            "id={} addr={} name={} age={} flags={} db={} sub={n_channels} psub={n_patterns} \
             user={} resp={resp} lib-name={} lib-ver={}\n",
            self.id,
            self.peer.origin,
            text(&said.name),
            clock::since(self.opened_at).as_secs(),
            if self.subscriptions.is_empty() {
                "N"
            } else {
                "P"
            },
            said.database,
            user.unwrap_or("default"),
            text(&said.library),
            text(&said.library_version),
        )
    }

    fn version(&self) -> RespVersion {
        self.state.version()
    }
}

/// What `HELLO` asks for.
struct HelloOptions {
    version: Option<RespVersion>,
    shown: Option<Shown>,
    name: Option<Bytes>,
}

impl HelloOptions {
    fn read(request: &RespRequest) -> Result<Self, RespError> {
        let mut asked = Self {
            version: None,
            shown: None,
            name: None,
        };
        let Some(version) = request.try_octets(1) else {
            return Ok(asked);
        };
        let version = integer(version).map_err(|_| {
            RespError::fixed("ERR Protocol version is not an integer or out of range")
        })?;
        asked.version = Some(match version {
            2 => RespVersion::V2,
            3 => RespVersion::V3,
            _ => return Err(RespError::fixed("NOPROTO unsupported protocol version")),
        });
        let mut idx = 2;
        while let Some(word) = request.try_octets(idx) {
            if is(word, "AUTH") && request.len() > idx + 2 {
                let user = Text::from_utf8(request.bytes(idx + 1));
                asked.shown = Some(Shown {
                    user: Some(user.map_err(|_| RespError::WRONG_PASS)?),
                    password: request.bytes(idx + 2),
                });
                idx += 3;
            } else if is(word, "SETNAME") && request.len() > idx + 1 {
                asked.name = Some(name_of(request.octets(idx + 1))?);
                idx += 2;
            } else {
                return Err(RespError::new(format!(
                    "ERR Syntax error in HELLO option '{}'",
                    shown(word)
                )));
            }
        }
        Ok(asked)
    }
}

fn greeting(id: u64, state: &ClientState) -> RespValue {
    let version = match state.version() {
        RespVersion::V2 => 2,
        RespVersion::V3 => 3,
    };
    let text = RespValue::text;
    RespValue::Map(vec![
        (text("server"), text("postern")),
        (text("version"), text(told::REDIS_VERSION)),
        (text("proto"), RespValue::Integer(version)),
        (
            text("id"),
            RespValue::Integer(i64::try_from(id).unwrap_or(i64::MAX)),
        ),
        (text("mode"), text("standalone")),
        (text("role"), text("master")),
        (text("modules"), RespValue::Array(Vec::new())),
    ])
}

/// A name that stands in a list.
fn name_of(octets: &[u8]) -> Result<Bytes, RespError> {
    let is_plain = octets.iter().all(u8::is_ascii_graphic) && octets.len() <= NAME_BYTES_MAX;
    match is_plain {
        true => Ok(Bytes::copy_from_slice(octets)),
        false => Err(RespError::fixed(
            "ERR Client names cannot contain spaces, newlines or special characters.",
        )),
    }
}

const NO_PASSWORDS: RespError = RespError::fixed(
    "ERR AUTH <password> called without any password configured for the default user. Are you \
     sure your configuration is correct?",
);
const HELLO_NO_AUTH: RespError = RespError::fixed(
    "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO \
     <proto> AUTH <user> <pass> option can be used to authenticate the client and select the \
     RESP protocol version at the same time",
);
/// Longest name of a connection.
const NAME_BYTES_MAX: usize = 256;
