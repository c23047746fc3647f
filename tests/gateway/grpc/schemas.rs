//! Schemas of protobuf beside components: both forms of messages for every plugin, faults at their place,
//! and one history with the component.

use std::{fs, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::StreamExt as _;
use postern_core::{Body, BodyStream, Call, Error, Handler, Kind};
use postern_tests::{
    CallerTransport, Gateway, Load, Setup, call, component, connect, patiently, postern,
};
use serde_json::{Value, json};

use crate::{figure, reload::variant, share};

const CALCULATOR: &str = r#"syntax = "proto3";
message Operands {
  double a = 1;
  double b = 2;
}
message Outcome {
  double result = 1;
}
// Calculates by its schema.
service calculator {
  rpc Add(Operands) returns (Outcome) { option idempotency_level = NO_SIDE_EFFECTS; }
}
"#;

/// The schema of `echo`, whose messages have `fields` beside a text.
fn echo_schema(fields: &str) -> String {
    format!(
        "syntax = \"proto3\";\nmessage Message {{ string text = 1; {fields} }}\nservice echo {{\n  \
         rpc Echo(Message) returns (Message);\n  \
         rpc EchoStream(stream Message) returns (stream Message);\n}}\n"
    )
}

const NUMBER: &str = "int64 number = 2;";
/// `Message { text: "a" }` in protobuf.
const TEXT_A: &[u8] = b"\x0A\x01a";

async fn with_schema(name: &str, schema: &str, manifest: &str) -> Gateway {
    let setup = Setup::default().plugin(name);
    let setup = setup.file(&format!("{name}.proto"), schema);
    let setup = match manifest {
        "" => setup,
        manifest => setup.file(&format!("{name}.toml"), manifest),
    };
    Gateway::start(setup).await
}

/// One call in protobuf.
async fn call_protobuf(handler: &dyn Handler, target: &str, body: &[u8]) -> Result<Bytes, Error> {
    let (service, method) = target.split_once('/').expect("service/method");
    let mut call = Call::unary(service, method, Bytes::copy_from_slice(body));
    let content_type = ("content-type", "application/protobuf");
    call.headers
        .push(content_type.0, content_type.1)
        .expect("short");
    let reply = handler.call(call).await?;
    let said = reply.headers.get_str(content_type.0).map(String::from);
    assert_eq!(
        said.as_deref(),
        Some(content_type.1),
        "the form of the reply"
    );
    reply.body.into_one(1024).await
}

async fn call_json(handler: &dyn Handler, target: &str, body: &Value) -> Result<Value, Error> {
    let reply = call(handler, target, body.to_string()).await?;
    Ok(serde_json::from_slice(&reply).expect("JSON"))
}

async fn plugin(gateway: &Gateway, name: &str) -> Value {
    gateway.admin_json(&format!("/plugins/{name}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_json_plugin_answers_protobuf_in_protobuf() {
    let _machine = share().await;
    let gateway = with_schema("calculator", CALCULATOR, "").await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    // a = 2, b = 0.5.
    let body = b"\x09\0\0\0\0\0\0\0\x40\x11\0\0\0\0\0\0\xE0\x3F";
    let sum = call_protobuf(&*handler, "calculator/Add", body).await;
    assert_eq!(sum.expect("answered"), &b"\x09\0\0\0\0\0\0\x04\x40"[..]);
    let sum = call_json(&*handler, "calculator/Add", &json!({"a": 2, "b": 0.5})).await;
    assert_eq!(sum.expect("answered"), json!({"result": 2.5}));
    let refused = call_protobuf(&*handler, "calculator/Add", b"\x0A\xFF").await;
    let refused = refused.expect_err("no message");
    assert_eq!(refused.kind, Kind::InvalidArgument);
    assert!(
        refused.message.contains("no message Operands of protobuf"),
        "{refused}"
    );
    // What the schema does not have is no method, though the component has it.
    let told = gateway.admin_json("/plugins/calculator").await;
    let methods = told["services"][0]["methods"].as_array().expect("a list");
    assert_eq!(methods.len(), 1, "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_payload_of_a_manifest_is_the_form_that_the_component_has() {
    let _machine = share().await;
    let manifest = "payload = \"protobuf\"\n";
    let gateway = with_schema("echo", &echo_schema(NUMBER), manifest).await;
    for transport in CallerTransport::ALL {
        let handler = connect(&gateway, transport).await;
        // Written as the mapping has it, so it was protobuf in between.
        let echoed = call_json(&*handler, "echo/Echo", &json!({"number": 7, "text": ""})).await;
        assert_eq!(
            echoed.expect("answered"),
            json!({"number": "7"}),
            "{transport}"
        );
        let refused = call_json(&*handler, "echo/Echo", &json!({"txet": "a"})).await;
        let refused = refused.expect_err("unknown");
        assert_eq!(refused.kind, Kind::InvalidArgument, "{transport}");
        let expected = r#"field "txet" of Message is unknown; did you mean "text"?"#;
        assert_eq!(refused.message, expected, "{transport}");
    }
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    let echoed = call_protobuf(&*handler, "echo/Echo", TEXT_A).await;
    assert_eq!(echoed.expect("answered"), TEXT_A);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_converted_message_by_message() {
    let _machine = share().await;
    let gateway = with_schema("echo", &echo_schema(NUMBER), "payload = \"protobuf\"\n").await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    let stream = async |messages: &'static [&'static str]| {
        let messages = messages
            .iter()
            .map(|text| Ok(Bytes::from_static(text.as_bytes())));
        let messages = BodyStream::new(futures_util::stream::iter(messages));
        let call = Call::unary("echo", "EchoStream", "").with_body(Body::Messages(messages));
        let reply = handler.call(call).await.expect("a stream");
        let replies = reply.body.try_into_stream().expect("a stream");
        replies.collect::<Vec<_>>().await
    };
    let replies = stream(&[r#"{"number":1}"#, "{}", r#"{"text":"c"}"#]).await;
    let replies: Vec<_> = replies
        .into_iter()
        .map(|reply| reply.expect("a message"))
        .collect();
    assert_eq!(replies, [r#"{"number":"1"}"#, "{}", r#"{"text":"c"}"#]);
    let replies = stream(&[r#"{"number":1}"#, r#"{"number":"many"}"#]).await;
    let last = replies.into_iter().next_back().expect("an end");
    let refused = last.expect_err("the second is none");
    assert_eq!(refused.kind, Kind::InvalidArgument);
    let expected = "message 2 of the stream: field \"number\" of Message cannot be read";
    assert!(refused.message.contains(expected), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proto_of_a_manifest_names_files_and_folders() {
    let _machine = share().await;
    let schema = "syntax = \"proto3\";\nimport \"common/message.proto\";\n\
        service echo { rpc Echo(common.Message) returns (common.Message); }\n";
    let common = "syntax = \"proto3\";\npackage common;\nmessage Message { string text = 1; }\n";
    let start = async |manifest: &str| {
        let setup = Setup::default().plugin("echo").file("echo.toml", manifest);
        let gateway = Gateway::start(setup).await;
        // In one folder, so that no half of it is there under its name.
        let (plugins, api) = (
            gateway.folder().join("plugins"),
            gateway.folder().join("api"),
        );
        fs::create_dir_all(api.join("common")).expect("made");
        fs::write(api.join("common/message.proto"), common).expect("written");
        fs::write(api.join("echo.proto"), schema).expect("written");
        fs::rename(&api, plugins.join("api")).expect("moved");
        gateway
    };
    let gateway = start("payload = \"protobuf\"\nproto = [\"api\"]\n").await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    patiently("the schema that was missing is taken", async || {
        plugin(&gateway, "echo").await["state"] == "active"
    })
    .await;
    let echoed = call_json(&*handler, "echo/Echo", &json!({"text": "a"})).await;
    assert_eq!(echoed.expect("answered"), json!({"text": "a"}));
    // A change of what is imported is a change of the schema.
    let changed = common.replace("text = 1;", "text = 1; int32 size = 2;");
    gateway.deploy("api/common/message.proto", changed.as_bytes());
    patiently("the file that is imported counts", async || {
        call_json(&*handler, "echo/Echo", &json!({"size": 1}))
            .await
            .is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_is_replaced_with_its_component_and_no_call_fails() {
    const SWAPS: usize = 12;
    let _machine = share().await;
    let good = component("echo");
    let gateway = with_schema("echo", &echo_schema(""), "payload = \"protobuf\"\n").await;
    let body = Bytes::from(json!({"text": "a"}).to_string());
    let mut loads = Vec::new();
    for transport in CallerTransport::ALL {
        let handler = connect(&gateway, transport).await;
        let pause = Duration::from_millis(1);
        loads.push(Load::start(&handler, "echo/Echo", &body, 2, pause));
    }
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    for n in 0..SWAPS {
        let has_number = n % 2 == 0;
        let fields = if has_number { NUMBER } else { "" };
        gateway.deploy("echo.wasm", &variant(&good, n));
        gateway.deploy("echo.proto", echo_schema(fields).as_bytes());
        patiently("the schema counts", async || {
            let numbered = call_json(&*handler, "echo/Echo", &json!({"number": 1})).await;
            numbered.is_ok() == has_number
        })
        .await;
    }
    for load in loads {
        let outcome = load.stop().await;
        figure(&format!("{SWAPS} swaps of a schema: {}", outcome.answered));
        assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
        assert!(outcome.answered.len() > SWAPS, "{}", outcome.answered);
    }
}

const BROKEN: &str =
    "syntax = \"proto3\";\nservice echo {\n  rpc Echo(Mesage) returns (Message);\n}\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_schema_leaves_the_one_before_in_service() {
    let _machine = share().await;
    let manifest = "payload = \"protobuf\"\n";
    let mut gateway = with_schema("echo", &echo_schema(NUMBER), manifest).await;
    let serves = async |handler: &Arc<dyn Handler>| {
        let echoed = call_json(&**handler, "echo/Echo", &json!({"number": 7})).await;
        assert_eq!(echoed.expect("answered"), json!({"number": "7"}));
    };
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    serves(&handler).await;
    gateway.deploy("echo.proto", BROKEN.as_bytes());
    let expected = "schema: echo.proto:3:12: name 'Mesage' is not defined";
    patiently("the schema is refused", async || {
        let reason = plugin(&gateway, "echo").await["refusal"]["reason"].clone();
        reason
            .as_str()
            .is_some_and(|reason| reason.contains(expected))
    })
    .await;
    let list = gateway.postern(&["plugins", "list"]);
    assert!(list.out.contains(expected), "{list:?}");
    serves(&handler).await;
    // The last good copy has its schema.
    gateway.restart().await;
    let told = plugin(&gateway, "echo").await;
    assert_eq!(told["source"], "last-good", "{told}");
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    serves(&handler).await;
    gateway.deploy("echo.proto", echo_schema("").as_bytes());
    patiently("one that is mended serves", async || {
        plugin(&gateway, "echo").await["source"] == "folder"
    })
    .await;
    let refused = call_json(&*handler, "echo/Echo", &json!({"number": 7})).await;
    assert_eq!(refused.expect_err("unknown").kind, Kind::InvalidArgument);
}

#[test]
fn check_draws_the_place_of_a_fault_in_a_schema() {
    let folder = tempfile::tempdir().expect("a folder");
    let plugins = folder.path().join("plugins");
    fs::create_dir(&plugins).expect("made");
    fs::write(plugins.join("echo.wasm"), component("echo")).expect("written");
    fs::write(plugins.join("echo.proto"), BROKEN).expect("written");
    let text = postern(folder.path(), &["check"]);
    assert_eq!(text.code, Some(1), "{text:?}");
    assert!(
        text.out.contains("refused  plugin echo: its schema"),
        "{text:?}"
    );
    for drawn in [
        "echo.proto:3:12",
        "rpc Echo(Mesage)",
        "name 'Mesage' is not defined",
    ] {
        assert!(text.err.contains(drawn), "{drawn}: {text:?}");
    }
    let json = postern(folder.path(), &["--output", "json", "check"]);
    let said: Value = serde_json::from_str(&json.out).expect("JSON");
    let fault = &said["plugins"][0]["faults"][0];
    assert_eq!(
        (&fault["line"], &fault["column"]),
        (&json!(3), &json!(12)),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn services_of_a_schema_are_described_with_their_types() {
    let _machine = share().await;
    let gateway = with_schema("calculator", CALCULATOR, "").await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    let asked = json!({"service": "calculator", "schemas": true});
    let told = call_json(&*handler, "directory/services", &asked)
        .await
        .expect("told");
    let method = &told["methods"][0];
    assert_eq!(
        (&method["name"], &method["request"]),
        (&json!("Add"), &json!("Operands"))
    );
    assert_eq!(method["idempotent"], true, "{told}");
    let operands = &told["schemas"]["Operands"]["properties"];
    assert!(
        operands["a"].is_object() && operands["b"].is_object(),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_reflection_answer_callers_of_json() {
    let _machine = share().await;
    let gateway = with_schema("calculator", CALCULATOR, "").await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    let check = async |service: &str| {
        let asked = json!({ "service": service });
        call_json(&*handler, "grpc.health.v1.Health/Check", &asked).await
    };
    for service in ["", "calculator", "grpc.health.v1.Health"] {
        let status = check(service).await.expect("known");
        assert_eq!(status, json!({"status": "SERVING"}), "{service:?}");
    }
    assert_eq!(
        check("none").await.expect_err("unknown").kind,
        Kind::NotFound
    );
    let called = gateway.postern(&["call", "grpc.health.v1.Health/Check", r#"{"service":""}"#]);
    assert!(called.out.contains("SERVING"), "{called:?}");
    // Its replies are a stream, which one message of VSTP does not hold.
    let handler = connect(&gateway, CallerTransport::Http).await;
    for version in ["v1", "v1alpha"] {
        let target = format!("grpc.reflection.{version}.ServerReflection");
        let ask = async |question: Value| {
            let question = Bytes::from(question.to_string());
            let call = Call::unary(target.as_str(), "ServerReflectionInfo", question);
            let reply = handler.call(call).await.expect("answered");
            let reply = reply.body.into_one(1 << 20).await.expect("one answer");
            serde_json::from_slice::<Value>(&reply).expect("JSON")
        };
        let listed = ask(json!({"listServices": ""})).await;
        let services = listed["listServicesResponse"]["service"]
            .as_array()
            .expect("a list");
        let names: Vec<_> = services
            .iter()
            .filter_map(|one| one["name"].as_str())
            .collect();
        let expected = [
            "calculator",
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection",
        ];
        assert_eq!(names, expected);
        let found = ask(json!({"fileContainingSymbol": "calculator.Add"})).await;
        let files = found["fileDescriptorResponse"]["fileDescriptorProto"].as_array();
        assert_eq!(files.map(Vec::len), Some(1), "{found}");
    }
    // What is gone is not listed.
    gateway.remove("calculator.wasm");
    patiently("the service is not known any more", async || {
        check("calculator").await.is_err()
    })
    .await;
}
