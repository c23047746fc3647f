//! The built-in services `grpc.reflection.v1.ServerReflection` and, the same under its older name,
//! `grpc.reflection.v1alpha.ServerReflection` (grpc/doc/server-reflection.md): over the schemas of
//! everything that is loaded at the moment of each question.
//!
//! Services without a schema are not listed, since nobody could be told what they are. What is not loaded is
//! UNAVAILABLE, and not NOT_FOUND, before all plugins are deployed.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use futures_util::StreamExt as _;
use postern_core::{Body, BodyStream, BoxFuture, Call, Error, Handler, Headers, Kind, Reply};
use prost::Message as _;
use prost_reflect::{DescriptorPool, FileDescriptor};

use super::{HealthService, coded};
use crate::proto::LoadedSchemas;

/// The service.
pub(super) struct Reflection {
    schemas: Arc<LoadedSchemas>,
    /// Knows whether all that a start brings is there.
    health: Arc<HealthService>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ServerReflectionRequest {
    #[prost(string, tag = "1")]
    host: String,
    #[prost(oneof = "Question", tags = "3, 4, 5, 6, 7")]
    question: Option<Question>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Question {
    #[prost(string, tag = "3")]
    FileByFilename(String),
    #[prost(string, tag = "4")]
    FileContainingSymbol(String),
    #[prost(message, tag = "5")]
    FileContainingExtension(ExtensionRequest),
    #[prost(string, tag = "6")]
    AllExtensionNumbersOfType(String),
    #[prost(string, tag = "7")]
    ListServices(String),
}

#[derive(Clone, PartialEq, prost::Message)]
struct ExtensionRequest {
    #[prost(string, tag = "1")]
    containing_type: String,
    #[prost(int32, tag = "2")]
    extension_number: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ServerReflectionResponse {
    #[prost(string, tag = "1")]
    valid_host: String,
    #[prost(message, optional, tag = "2")]
    original_request: Option<ServerReflectionRequest>,
    #[prost(oneof = "Answer", tags = "4, 5, 6, 7")]
    answer: Option<Answer>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Answer {
    #[prost(message, tag = "4")]
    Files(FileDescriptorResponse),
    #[prost(message, tag = "5")]
    Extensions(ExtensionNumberResponse),
    #[prost(message, tag = "6")]
    Services(ListServiceResponse),
    #[prost(message, tag = "7")]
    Error(ErrorResponse),
}

#[derive(Clone, PartialEq, prost::Message)]
struct FileDescriptorResponse {
    #[prost(bytes = "vec", repeated, tag = "1")]
    file_descriptor_proto: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ExtensionNumberResponse {
    #[prost(string, tag = "1")]
    base_type_name: String,
    #[prost(int32, repeated, tag = "2")]
    extension_number: Vec<i32>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ListServiceResponse {
    #[prost(message, repeated, tag = "1")]
    service: Vec<ServiceResponse>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ServiceResponse {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ErrorResponse {
    #[prost(int32, tag = "1")]
    error_code: i32,
    #[prost(string, tag = "2")]
    error_message: String,
}

impl Reflection {
    pub(super) const fn new(schemas: Arc<LoadedSchemas>, health: Arc<HealthService>) -> Self {
        Self { schemas, health }
    }
}

impl Handler for Reflection {
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        let (schemas, health) = (Arc::clone(&self.schemas), Arc::clone(&self.health));
        let questions = match call.body {
            // One question where there are no streams.
            Body::Empty => BodyStream::once(Bytes::new(), None),
            body @ (Body::One(_) | Body::Messages(_) | Body::Octets(_)) => {
                body.into_messages(QUESTION_BYTES_MAX)
            }
        };
        let answers = questions.map(move |question| {
            let question: ServerReflectionRequest = coded::read(&question?)?;
            let absent = match health.is_starting() {
                true => Kind::Unavailable,
                false => Kind::NotFound,
            };
            Ok(respond(&schemas, absent, question).encode_to_vec().into())
        });
        let body = Body::Messages(BodyStream::new(answers));
        Box::pin(std::future::ready(Ok(Reply::new(Headers::new(), body))))
    }
}

/// The answer to a question; `absent` is the kind of failure of what is not loaded.
fn respond(
    schemas: &LoadedSchemas,
    absent: Kind,
    request: ServerReflectionRequest,
) -> ServerReflectionResponse {
    let answer = match &request.question {
        Some(question) => answer(schemas, absent, question),
        None => Err((Kind::InvalidArgument, "the request asks nothing".to_owned())),
    };
    let answer = answer.unwrap_or_else(|(kind, error_message)| {
        Answer::Error(ErrorResponse {
            error_code: kind.grpc().into(),
            error_message,
        })
    });
    ServerReflectionResponse {
        valid_host: request.host.clone(),
        original_request: Some(request),
        answer: Some(answer),
    }
}

fn answer(
    schemas: &LoadedSchemas,
    absent: Kind,
    question: &Question,
) -> Result<Answer, (Kind, String)> {
    let files = |found: Option<FileDescriptor>, what: String| match found {
        Some(file) => Ok(Answer::Files(FileDescriptorResponse {
            file_descriptor_proto: with_dependencies(&file),
        })),
        None => Err((absent, format!("no {what} is loaded"))),
    };
    match question {
        Question::FileByFilename(name) => {
            let found = schemas.find(|pool| pool.get_file_by_name(name));
            files(found, format!("file {name:?}"))
        }
        Question::FileContainingSymbol(name) => {
            let found = schemas.find(|pool| file_of_symbol(pool, name));
            files(found, format!("symbol {name:?}"))
        }
        Question::FileContainingExtension(asked) => {
            let (of, number) = (&asked.containing_type, asked.extension_number);
            let number = u32::try_from(number).unwrap_or_default();
            let found = schemas.find(|pool| {
                let extended = pool.get_message_by_name(of)?;
                Some(extended.get_extension(number)?.parent_file())
            });
            files(found, format!("extension {number} of {of:?}"))
        }
        Question::AllExtensionNumbersOfType(name) => {
            let numbers = schemas.each(|pool| {
                let message = pool.get_message_by_name(name)?;
                let numbers = message.extensions().map(|extension| extension.number());
                Some(
                    numbers
                        .filter_map(|number| i32::try_from(number).ok())
                        .collect::<Vec<_>>(),
                )
            });
            if numbers.iter().all(Option::is_none) {
                return Err((absent, format!("no type {name:?} is loaded")));
            }
            let numbers: BTreeSet<_> = numbers.into_iter().flatten().flatten().collect();
            Ok(Answer::Extensions(ExtensionNumberResponse {
                base_type_name: name.clone(),
                extension_number: numbers.into_iter().collect(),
            }))
        }
        Question::ListServices(_) => {
            let services = schemas.services().into_iter();
            let services = services.map(|name| ServiceResponse {
                name: name.to_string(),
            });
            Ok(Answer::Services(ListServiceResponse {
                service: services.collect(),
            }))
        }
    }
}

/// The file that declares `name`: a type, a service, an extension, or a part of one of them.
fn file_of_symbol(pool: &DescriptorPool, name: &str) -> Option<FileDescriptor> {
    let whole = |name: &str| {
        let message = || Some(pool.get_message_by_name(name)?.parent_file());
        let values = || Some(pool.get_enum_by_name(name)?.parent_file());
        let service = || Some(pool.get_service_by_name(name)?.parent_file());
        let extension = || Some(pool.get_extension_by_name(name)?.parent_file());
        message()
            .or_else(values)
            .or_else(service)
            .or_else(extension)
    };
    let part = || {
        let (of, part) = name.rsplit_once('.')?;
        let has_method = || {
            let service = pool.get_service_by_name(of)?;
            let mut methods = service.methods();
            methods
                .any(|method| method.name() == part)
                .then(|| service.parent_file())
        };
        let has_field = || {
            let message = pool.get_message_by_name(of)?;
            let is_oneof = message.oneofs().any(|oneof| oneof.name() == part);
            let is_part = is_oneof || message.get_field_by_name(part).is_some();
            is_part.then(|| message.parent_file())
        };
        // Values of an enum are named beside it, not below it.
        let has_value = || {
            let mut all = pool.all_enums();
            let found = all.find(|values| {
                let (scope, _) = values.full_name().rsplit_once('.').unwrap_or_default();
                scope == of && values.get_value_by_name(part).is_some()
            });
            found.map(|values| values.parent_file())
        };
        has_method().or_else(has_field).or_else(has_value)
    };
    whole(name).or_else(part)
}

/// A file and everything that it imports, each once, the file itself first.
fn with_dependencies(file: &FileDescriptor) -> Vec<Vec<u8>> {
    let mut seen = BTreeSet::from([file.name().to_owned()]);
    let mut left = vec![file.clone()];
    let mut encoded = Vec::new();
    while let Some(next) = left.pop() {
        encoded.push(next.encode_to_vec());
        let dependencies = next.dependencies();
        left.extend(dependencies.filter(|file| seen.insert(file.name().to_owned())));
    }
    encoded
}

/// Questions are a name.
const QUESTION_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests;
