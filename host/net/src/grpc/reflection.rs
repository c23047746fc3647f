//! The files that describe a service of an instance, as its reflection gives them
//! (`grpc/reflection/v1/reflection.proto`; v1alpha has the same messages under another name).
//!
//! The file of the service is asked for by the service's name, and what it imports by the names of the
//! files, as far as an answer did not bring them along.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use futures_util::stream::poll_fn;
use postern_core::{Blame, Body, BodyStream, Call, Error, Kind, Retry, service::CallKind};
use prost::{Message, Oneof};
use prost_types::FileDescriptorProto;
use tokio::sync::mpsc;

use super::{GrpcUpstream, outcome::broken, request::protobuf_headers};

/// What is taken of one instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReflectionLimits {
    /// Default 1,000.
    pub files_max: usize,
    /// Of all files. Default 16 MiB.
    pub bytes_max: usize,
}

/// Files that describe a service: encoded `google.protobuf.FileDescriptorProto`s, each after what it
/// imports.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReflectedFiles(pub Vec<Bytes>);

/// `grpc.reflection.v1.ServerReflectionRequest`, as far as it is sent.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct ReflectionRequest {
    #[prost(oneof = "Question", tags = "3, 4")]
    pub(super) question: Option<Question>,
}

#[derive(Clone, PartialEq, Eq, Oneof)]
pub(super) enum Question {
    #[prost(string, tag = "3")]
    FileByFilename(String),
    #[prost(string, tag = "4")]
    FileContainingSymbol(String),
}

/// `grpc.reflection.v1.ServerReflectionResponse`, as far as it is read.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct ReflectionResponse {
    #[prost(oneof = "ReflectionAnswer", tags = "4, 7")]
    pub(super) answer: Option<ReflectionAnswer>,
}

#[derive(Clone, PartialEq, Eq, Oneof)]
pub(super) enum ReflectionAnswer {
    #[prost(message, tag = "4")]
    Files(FileDescriptorResponse),
    #[prost(message, tag = "7")]
    Error(ErrorResponse),
}

/// `grpc.reflection.v1.FileDescriptorResponse`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct FileDescriptorResponse {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(super) files: Vec<Bytes>,
}

/// `grpc.reflection.v1.ErrorResponse`.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct ErrorResponse {
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
    #[prost(string, tag = "2")]
    pub(super) message: String,
}

/// A conversation with one instance.
struct Asking {
    questions: mpsc::Sender<Bytes>,
    answers: BodyStream,
}

/// The files that were had so far, by their names.
struct Collection {
    files: BTreeMap<String, File>,
    n_bytes: usize,
    limits: ReflectionLimits,
}

struct File {
    octets: Bytes,
    imports: Vec<String>,
}

impl Default for ReflectionLimits {
    fn default() -> Self {
        Self {
            files_max: 1_000,
            bytes_max: 16 * 1024 * 1024,
        }
    }
}

/// Asks by v1, and by v1alpha where that is not known.
///
/// # Errors
/// As `GrpcUpstream::reflect`.
pub(super) async fn files_of(
    upstream: &GrpcUpstream,
    service: &str,
    limits: ReflectionLimits,
) -> Result<ReflectedFiles, Error> {
    match files_by(upstream, SERVICES[0], service, limits).await {
        Err(error) if error.kind == Kind::Unimplemented => {
            files_by(upstream, SERVICES[1], service, limits).await
        }
        outcome => outcome,
    }
}

async fn files_by(
    upstream: &GrpcUpstream,
    reflection: &'static str,
    service: &str,
    limits: ReflectionLimits,
) -> Result<ReflectedFiles, Error> {
    let first = Question::FileContainingSymbol(service.to_owned());
    let mut asking = Asking::begin(upstream, reflection, first).await?;
    let mut collection = Collection {
        files: BTreeMap::new(),
        n_bytes: 0,
        limits,
    };
    let mut asked = BTreeSet::new();
    collection.take(asking.answer().await?)?;
    while let Some(missing) = collection.missing() {
        if !asked.insert(missing.clone()) {
            let message = format!("the instance answers for {missing:?} with other files");
            return Err(broken(message));
        }
        asking.ask(Question::FileByFilename(missing)).await?;
        collection.take(asking.answer().await?)?;
    }
    collection.in_order()
}

impl Asking {
    async fn begin(
        upstream: &GrpcUpstream,
        reflection: &'static str,
        first: Question,
    ) -> Result<Self, Error> {
        // One question is under way at a time.
        let (questions, mut asked) = mpsc::channel(1);
        let stream = poll_fn(move |cx| asked.poll_recv(cx).map(|one| one.map(Ok)));
        let mut call = Call::unary(reflection, "ServerReflectionInfo", Bytes::new());
        call.headers = protobuf_headers();
        call.body = Body::Messages(BodyStream::new(stream));
        // There is room for one.
        let _ = questions.try_send(encoded(first));
        let reply = upstream
            .call_of_kind(call, Some(CallKind::Bidirectional))
            .await?;
        let answers = reply.body.into_messages(ANSWER_BYTES_MAX);
        Ok(Self { questions, answers })
    }

    /// By `&mut`: what is read beside it cannot be shared between threads.
    async fn ask(&mut self, question: Question) -> Result<(), Error> {
        let sent = self.questions.send(encoded(question)).await;
        sent.map_err(|_| broken("the instance ended its reflection early".to_owned()))
    }

    async fn answer(&mut self) -> Result<Vec<Bytes>, Error> {
        let Some(answer) = self.answers.next().await.transpose()? else {
            return Err(broken("the instance ended its reflection early".to_owned()));
        };
        let answer = ReflectionResponse::decode(answer);
        let answer = answer.map_err(|error| {
            broken(format!("the instance's reflection cannot be read: {error}"))
        })?;
        match answer.answer {
            Some(ReflectionAnswer::Files(files)) => Ok(files.files),
            Some(ReflectionAnswer::Error(error)) => {
                let kind = u8::try_from(error.code).ok().and_then(Kind::from_grpc);
                let kind = kind.unwrap_or(Kind::Unknown);
                let message = format!("the instance's reflection says: {}", error.message);
                Err(Error::of_peer(kind, None, message).with_retry(Retry::Never))
            }
            None => {
                let message = "the instance's reflection answers what was not asked";
                Err(broken(message.to_owned()))
            }
        }
    }
}

fn encoded(question: Question) -> Bytes {
    let request = ReflectionRequest {
        question: Some(question),
    };
    request.encode_to_vec().into()
}

impl Collection {
    fn take(&mut self, files: Vec<Bytes>) -> Result<(), Error> {
        for octets in files {
            let file = FileDescriptorProto::decode(octets.clone()).map_err(|error| {
                broken(format!(
                    "a file of the instance's reflection cannot be read: {error}"
                ))
            })?;
            let name = file.name.unwrap_or_default();
            if self.files.contains_key(&name) {
                continue;
            }
            self.n_bytes += octets.len();
            let ReflectionLimits {
                files_max,
                bytes_max,
            } = self.limits;
            if self.files.len() >= files_max || self.n_bytes > bytes_max {
                let message = format!(
                    "the instance's reflection gives more than {files_max} files or {bytes_max} octets"
                );
                return Err(Error::new(
                    Kind::ResourceExhausted,
                    Blame::Upstream,
                    message,
                ));
            }
            let imports = file.dependency;
            self.files.insert(name, File { octets, imports });
        }
        Ok(())
    }

    /// A file that another imports and that is not there.
    fn missing(&self) -> Option<String> {
        let mut imports = self.files.values().flat_map(|file| &file.imports);
        imports
            .find(|name| !self.files.contains_key(*name))
            .cloned()
    }

    /// Each file after those that it imports.
    ///
    /// # Errors
    /// `internal` where files import each other.
    fn in_order(mut self) -> Result<ReflectedFiles, Error> {
        let mut ordered = Vec::with_capacity(self.files.len());
        let mut done = BTreeSet::new();
        let mut waiting: VecDeque<String> = self.files.keys().cloned().collect();
        let mut n_put_off = 0;
        while let Some(name) = waiting.pop_front() {
            let Some(file) = self.files.get(&name) else {
                continue;
            };
            if !file.imports.iter().all(|import| done.contains(import)) {
                n_put_off += 1;
                if n_put_off > waiting.len() {
                    let message = format!("the files of the instance import each other: {name:?}");
                    return Err(broken(message));
                }
                waiting.push_back(name);
                continue;
            }
            n_put_off = 0;
            if let Some(file) = self.files.remove(&name) {
                ordered.push(file.octets);
            }
            done.insert(name);
        }
        Ok(ReflectedFiles(ordered))
    }
}

/// Names of the service, the newer first.
const SERVICES: [&str; 2] = [
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];
/// Of one answer, where that is no stream of messages, which an instance has no reason for.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
