//! What instances are asked: whether they are well, and what their services are.

use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use postern_core::Kind;
use prost::Message as _;
use prost_types::FileDescriptorProto;

use super::{
    super::{
        ReflectionLimits,
        health::{HealthCheckRequest, HealthCheckResponse},
        reflection::{
            ErrorResponse, FileDescriptorResponse, Question, ReflectionAnswer, ReflectionRequest,
            ReflectionResponse,
        },
    },
    fixture::{
        Server, answer, framed, grpc_head, map, reply_with, send, take_message, trailers_only,
    },
};

/// A server whose health is `status` of the server, 2 of `sick`, and NOT_FOUND of all others.
async fn server_of_health(status: i32) -> Server {
    Server::new(answer(move |request, mut respond| async move {
        assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
        let mut body = request.into_body();
        let mut octets = BytesMut::new();
        while let Some(Ok(piece)) = body.data().await {
            octets.extend_from_slice(&piece);
        }
        let asked = take_message(&mut octets).expect("a message");
        let asked = HealthCheckRequest::decode(asked).expect("a request");
        let status = match asked.service.as_str() {
            "" => status,
            "sick" => 2,
            _ => return trailers_only(&mut respond, &[("grpc-status", "5")]),
        };
        reply_with(
            &mut respond,
            &HealthCheckResponse { status }.encode_to_vec(),
        );
    }))
    .await
}

#[tokio::test]
async fn an_instance_is_as_well_as_it_says() {
    let server = server_of_health(1).await;
    let well = &server.upstream;
    assert!(well.check_health("").await.is_ok());
    let error = well.check_health("sick").await.expect_err("sick");
    assert!(
        error.message.ends_with("says of \"sick\": NOT_SERVING"),
        "{error}"
    );
    let error = well.check_health("unheard").await.expect_err("unknown");
    assert_eq!(error.kind, Kind::NotFound);
    let server = server_of_health(0).await;
    let error = server.upstream.check_health("").await.expect_err("unknown");
    assert!(
        error.message.ends_with("says of itself: UNKNOWN"),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_that_has_no_health_is_there() {
    let server = Server::new(answer(|_, mut respond| async move {
        trailers_only(&mut respond, &[("grpc-status", "12")]);
    }))
    .await;
    assert!(server.upstream.check_health("").await.is_ok());
    assert!(server.upstream.knock().await.is_ok());
}

fn file(name: &str, imports: &[&str]) -> Bytes {
    let file = FileDescriptorProto {
        name: Some(name.to_owned()),
        dependency: imports.iter().map(|import| (*import).to_owned()).collect(),
        ..FileDescriptorProto::default()
    };
    file.encode_to_vec().into()
}

/// What a server is asked, and by which version.
type Asked = Arc<Mutex<Vec<String>>>;

/// A server of v1alpha that knows `user.UserService` in `user.proto`, which imports two files, one of them
/// through the other. The answer for the service brings `user.proto` alone.
async fn server_of_reflection() -> (Server, Asked) {
    let asked = Asked::default();
    let seen = Arc::clone(&asked);
    let server = Server::new(answer(move |request, mut respond| {
        let seen = Arc::clone(&seen);
        async move {
            if !request
                .uri()
                .path()
                .starts_with("/grpc.reflection.v1alpha.")
            {
                return trailers_only(&mut respond, &[("grpc-status", "12")]);
            }
            let mut stream = respond.send_response(grpc_head(), false).expect("sent");
            let mut body = request.into_body();
            let mut octets = BytesMut::new();
            while let Some(Ok(piece)) = body.data().await {
                octets.extend_from_slice(&piece);
                while let Some(question) = take_message(&mut octets) {
                    let answer = told(question, &seen).encode_to_vec();
                    send(&mut stream, framed(0, &answer)).await;
                }
            }
            stream
                .send_trailers(map(&[("grpc-status", "0")]))
                .expect("sent");
        }
    }))
    .await;
    (server, asked)
}

fn told(question: Bytes, seen: &Asked) -> ReflectionResponse {
    let request = ReflectionRequest::decode(question).expect("a question");
    let question = request.question.expect("a question");
    let name = match &question {
        Question::FileByFilename(name) | Question::FileContainingSymbol(name) => name.clone(),
    };
    seen.lock().expect("whole").push(name.clone());
    let files = match name.as_str() {
        "user.UserService" => vec![file("user.proto", &["a.proto", "b.proto"])],
        "a.proto" => vec![file("a.proto", &["b.proto"])],
        "b.proto" => vec![file("b.proto", &[])],
        "loop.Service" => vec![file("x.proto", &["y.proto"]), file("y.proto", &["x.proto"])],
        _ => {
            let error = ErrorResponse {
                code: 5,
                message: format!("no {name}"),
            };
            let answer = Some(ReflectionAnswer::Error(error));
            return ReflectionResponse { answer };
        }
    };
    let answer = Some(ReflectionAnswer::Files(FileDescriptorResponse { files }));
    ReflectionResponse { answer }
}

#[tokio::test]
async fn files_come_with_all_that_they_import_each_after_its_imports() {
    let (server, asked) = server_of_reflection().await;
    let limits = ReflectionLimits::default();
    let files = server.upstream.reflect("user.UserService", limits).await;
    let files = files.expect("described").0;
    let expected = [
        file("b.proto", &[]),
        file("a.proto", &["b.proto"]),
        file("user.proto", &["a.proto", "b.proto"]),
    ];
    assert_eq!(files, expected);
    assert_eq!(
        *asked.lock().expect("whole"),
        ["user.UserService", "a.proto", "b.proto"]
    );
}

#[tokio::test]
async fn what_is_unknown_endless_or_too_much_is_refused() {
    let (server, _) = server_of_reflection().await;
    let limits = ReflectionLimits::default();
    let refused = async |service, limits| {
        let files = server.upstream.reflect(service, limits).await;
        files.expect_err("refused")
    };
    assert_eq!(refused("user.Other", limits).await.kind, Kind::NotFound);
    let error = refused("loop.Service", limits).await;
    assert!(error.message.contains("import each other"), "{error}");
    for limits in [
        ReflectionLimits {
            files_max: 2,
            ..limits
        },
        ReflectionLimits {
            bytes_max: 40,
            ..limits
        },
    ] {
        let error = refused("user.UserService", limits).await;
        assert_eq!(error.kind, Kind::ResourceExhausted);
    }
    let exact = ReflectionLimits {
        files_max: 3,
        ..limits
    };
    assert!(
        server
            .upstream
            .reflect("user.UserService", exact)
            .await
            .is_ok()
    );
}
