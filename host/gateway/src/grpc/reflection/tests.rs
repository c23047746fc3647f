//! The five questions, over schemas that come and go.

use prost_types::FileDescriptorProto;

use super::*;
use crate::proto::{LoadedSchema, ProtoSchema, SchemaOwner};

const SOURCE: &str = "syntax = \"proto2\"; package t; import \"google/protobuf/empty.proto\";\n\
    message A { extensions 100 to 199; optional string name = 1; oneof one { int32 n = 2; } \
    enum Inner { IN = 0; } }\n\
    extend A { optional string more = 101; }\n\
    enum Side { LEFT = 0; }\n\
    service Users { rpc Get(A) returns (google.protobuf.Empty); }";

fn schemas() -> Arc<LoadedSchemas> {
    let schemas = Arc::<LoadedSchemas>::default();
    let schema = ProtoSchema::of_source("t.proto", SOURCE);
    let schema: LoadedSchema = schema.unwrap_or_else(|faults| panic!("{faults}")).into();
    schemas.set(&SchemaOwner::Plugin("t".into()), Some(schema));
    schemas
}

fn ask(schemas: &LoadedSchemas, question: Question) -> Answer {
    let request = ServerReflectionRequest {
        host: "h".to_owned(),
        question: Some(question),
    };
    let response = respond(schemas, Kind::NotFound, request.clone());
    assert_eq!(
        (&*response.valid_host, response.original_request),
        ("h", Some(request))
    );
    response.answer.expect("an answer")
}

fn files(question: Question) -> Result<Vec<String>, i32> {
    match ask(&schemas(), question) {
        Answer::Files(files) => {
            let files = files.file_descriptor_proto.iter();
            let name = |octets: &Vec<u8>| FileDescriptorProto::decode(&octets[..]).expect("a file");
            Ok(files
                .map(|octets| name(octets).name.unwrap_or_default())
                .collect())
        }
        Answer::Error(error) => Err(error.error_code),
        other @ (Answer::Extensions(_) | Answer::Services(_)) => panic!("{other:?}"),
    }
}

#[test]
fn files_come_with_what_they_import() {
    let expected = Ok(vec![
        "t.proto".to_owned(),
        "google/protobuf/empty.proto".to_owned(),
    ]);
    assert_eq!(
        files(Question::FileByFilename("t.proto".to_owned())),
        expected
    );
    assert_eq!(
        files(Question::FileByFilename("u.proto".to_owned())),
        Err(5)
    );
    for symbol in [
        "t.A",
        "t.A.name",
        "t.A.one",
        "t.A.Inner",
        "t.A.IN",
        "t.LEFT",
        "t.Side",
        "t.Users",
        "t.Users.Get",
        "t.more",
    ] {
        let found = files(Question::FileContainingSymbol(symbol.to_owned()));
        assert_eq!(found, expected, "{symbol}");
    }
    for symbol in ["t.B", "t.Users.Put", "t", "", "t.Side.LEFT"] {
        let found = files(Question::FileContainingSymbol(symbol.to_owned()));
        assert_eq!(found, Err(5), "{symbol}");
    }
    let extension = |extension_number| {
        files(Question::FileContainingExtension(ExtensionRequest {
            containing_type: "t.A".to_owned(),
            extension_number,
        }))
    };
    assert_eq!(extension(101), expected);
    assert_eq!((extension(102), extension(-1)), (Err(5), Err(5)));
}

#[test]
fn extensions_and_services_are_listed() {
    let numbers = |name: &str| {
        ask(
            &schemas(),
            Question::AllExtensionNumbersOfType(name.to_owned()),
        )
    };
    let expected = ExtensionNumberResponse {
        base_type_name: "t.A".to_owned(),
        extension_number: vec![101],
    };
    assert_eq!(numbers("t.A"), Answer::Extensions(expected));
    assert!(matches!(numbers("t.B"), Answer::Error(error) if error.error_code == 5));
    let schemas = schemas();
    let listed = |schemas: &LoadedSchemas| match ask(schemas, Question::ListServices(String::new()))
    {
        Answer::Services(list) => list
            .service
            .into_iter()
            .map(|one| one.name)
            .collect::<Vec<_>>(),
        other @ (Answer::Extensions(_) | Answer::Files(_) | Answer::Error(_)) => {
            panic!("{other:?}")
        }
    };
    assert_eq!(listed(&schemas), ["t.Users"]);
    schemas.set_plugins(&std::collections::BTreeMap::new());
    assert_eq!(listed(&schemas), Vec::<String>::new());
}

#[tokio::test]
async fn each_question_of_a_stream_is_answered_and_nonsense_ends_it() {
    let reflection = Reflection::new(schemas(), Arc::new(HealthService::new()));
    let request = ServerReflectionRequest {
        host: String::new(),
        question: Some(Question::ListServices(String::new())),
    };
    let questions = [
        Ok(Bytes::from(request.encode_to_vec())),
        Ok(Bytes::new()),
        Ok(Bytes::from_static(b"\xFF")),
    ];
    let questions = BodyStream::new(futures_util::stream::iter(questions));
    let call = Call::unary(
        "grpc.reflection.v1.ServerReflection",
        "ServerReflectionInfo",
        "",
    );
    let reply = reflection
        .call(call.with_body(Body::Messages(questions)))
        .await;
    let stream = reply.expect("a stream").body.try_into_stream();
    let answers: Vec<_> = stream.expect("a stream").collect().await;
    let [services, nothing, nonsense] = &answers[..] else {
        panic!("three answers");
    };
    let answer = |octets: &Result<Bytes, Error>| {
        let octets = octets.as_ref().expect("an answer").clone();
        ServerReflectionResponse::decode(octets)
            .expect("a response")
            .answer
    };
    assert!(matches!(answer(services), Some(Answer::Services(_))));
    assert!(matches!(answer(nothing), Some(Answer::Error(error)) if error.error_code == 3));
    let nonsense = nonsense.as_ref().expect_err("refused");
    assert_eq!(nonsense.kind, Kind::InvalidArgument);
}

#[tokio::test]
async fn what_is_not_loaded_while_the_gateway_starts_may_be_asked_for_again() {
    let reflection = Reflection::new(schemas(), Arc::new(HealthService::new()));
    let request = ServerReflectionRequest {
        host: String::new(),
        question: Some(Question::FileContainingSymbol("t.Later".to_owned())),
    };
    let call = Call::unary(
        "grpc.reflection.v1.ServerReflection",
        "ServerReflectionInfo",
        request.encode_to_vec(),
    );
    let reply = reflection.call(call).await.expect("a stream");
    let answer = reply.body.into_one(1 << 20).await.expect("one answer");
    let answer = ServerReflectionResponse::decode(answer)
        .expect("a response")
        .answer;
    assert!(
        matches!(&answer, Some(Answer::Error(error)) if error.error_code == 14),
        "{answer:?}"
    );
}
