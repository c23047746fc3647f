//! Schemas of protobuf that artifacts of a registry bring, a source or a set of descriptors.

use std::fs;

use postern_core::{Call, Kind};
use postern_tests::{CallerTransport, Gateway, Setup, component, connect};

use super::{
    registry::{check_refused, echo, folder, pull},
    serves,
    signer::Signer,
    store::{Registry, layer},
};
use crate::share;

/// How `echo` answers what is no protobuf: without a schema it is as good as any octets.
async fn of_no_protobuf(gateway: &Gateway) -> Result<(), Kind> {
    let handler = connect(gateway, CallerTransport::Tcp).await;
    let mut call = Call::unary("echo", "Echo", "\u{7f}");
    let pushed = call.headers.push("content-type", "application/protobuf");
    pushed.expect("short");
    let reply = handler.call(call).await;
    reply.map(drop).map_err(|error| error.kind)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_brings_its_schema() {
    const SCHEMA: &str = "syntax = \"proto3\";\nmessage Text { string text = 1; }\n\
        service echo { rpc Echo(Text) returns (Text); }\n";
    const OURS: &str = "application/vnd.postern.schema.v1";
    let _machine = share().await;
    let (registry, signer) = (Registry::open().await, Signer::new());
    let component = component("echo");
    let signature = |name: &str, octets: &[u8]| {
        let title = format!("{name}.minisig");
        layer("text/plain", &title, &signer.sign(name, octets))
    };
    let layers = [
        echo(),
        signature("echo.wasm", &component),
        layer(OURS, "../echo.proto", SCHEMA.as_bytes()),
        signature("echo.proto", SCHEMA.as_bytes()),
    ];
    registry.push("echo:1", &layers).await;
    let key = &signer.key;
    let setup = Setup {
        config: format!("[plugins.signatures]\nkeys = [\"{key}\"]\nrequire-signature = true\n"),
        ..Setup::default()
    };
    let gateway = Gateway::start(setup).await;
    let reference = registry.reference("echo:1");
    let pulled = pull(gateway.folder(), &[&reference, "--insecure"]);
    assert_eq!(pulled.code, Some(0), "{pulled:?}");
    serves(&gateway).await;
    assert_eq!(of_no_protobuf(&gateway).await, Err(Kind::InvalidArgument));

    // As a set of descriptors, by its type alone; and not beside the source that lies there.
    let set = descriptors();
    let layers = [echo(), layer(OURS, "schema", &set)];
    registry.push("echo:2", &layers).await;
    let at = folder();
    let reference = registry.reference("echo:2");
    let pulled = pull(at.path(), &[&reference, "--insecure"]);
    assert_eq!(pulled.code, Some(0), "{pulled:?}");
    let written = fs::read(at.path().join("plugins/echo.binpb"));
    assert_eq!(written.expect("written"), set);
    let gateway = Gateway::start(Setup::default()).await;
    let source = gateway.folder().join("plugins/echo.proto");
    fs::write(&source, SCHEMA).expect("written");
    let refused = pull(gateway.folder(), &[&reference, "--insecure"]);
    check_refused(&refused, 1, &["echo.proto is there", "move it away"]);
    fs::remove_file(&source).expect("it is there");
    let pulled = pull(gateway.folder(), &[&reference, "--insecure"]);
    assert_eq!(pulled.code, Some(0), "{pulled:?}");
    serves(&gateway).await;
    assert_eq!(of_no_protobuf(&gateway).await, Err(Kind::InvalidArgument));
    // What an artifact without one leaves there is the operator's.
    registry.push("echo:3", &[echo()]).await;
    let pulled = pull(
        gateway.folder(),
        &[&registry.reference("echo:3"), "--insecure"],
    );
    assert_eq!(pulled.code, Some(0), "{pulled:?}");
    assert!(gateway.folder().join("plugins/echo.binpb").exists());
}

/// `google.protobuf.FileDescriptorSet` of the schema of `echo`: one file with a message `Text` and the service.
fn descriptors() -> Vec<u8> {
    let field = |number: u8, octets: &[u8]| {
        let length = u8::try_from(octets.len()).expect("short");
        assert!(length < 0x80, "a length of one octet");
        [&[number << 3 | 2, length], octets].concat()
    };
    // FieldDescriptorProto: the number, optional, a string.
    let text = [field(1, b"text"), vec![24, 1, 32, 1, 40, 9]].concat();
    let message = [field(1, b"Text"), field(2, &text)].concat();
    let method = [field(1, b"Echo"), field(2, b".Text"), field(3, b".Text")].concat();
    let service = [field(1, b"echo"), field(2, &method)].concat();
    let file = [
        field(1, b"echo.proto"),
        field(4, &message),
        field(6, &service),
        field(12, b"proto3"),
    ];
    field(1, &file.concat())
}
