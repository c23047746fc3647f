//! Clients of three stacks against the samples: the C core (grpcio), grpc-js, and those of Connect, which speak gRPC,
//! gRPC-Web and Connect. The scripts say what each does.

use std::path::{Path, PathBuf};

use postern_tests::{Gateway, Setup, free_address, node_packages, python, system_tool};
use tokio::process::Command;

use super::{Guest, cases, faults, guest, repository, said, sample, schemas, script};
use crate::{dev_certificates::DevCertificates, figure, share};

const TABLE: Guest = ("tests/guests", "table-rust");

/// Writes the schemas of the sample as one set of descriptors.
pub(super) async fn descriptors(folder: &Path) -> PathBuf {
    let set = folder.join("descriptors.binpb");
    let mut command = Command::new(python());
    command.args([
        "-m",
        "grpc_tools.protoc",
        "--include_imports",
        "--descriptor_set_out",
    ]);
    command.arg(&set);
    for folder in schemas() {
        command.arg("-I").arg(folder);
    }
    command.args(["user.proto", "chat.proto", "grpc/testing/test.proto"]);
    let compiled = said(&mut command).await;
    assert_eq!(compiled.code, Some(0), "{}", compiled.err);
    set
}

/// A script of this folder, to be run by Node with the packages of `tests/tools/grpc`.
fn node(name: &str) -> Command {
    let mut command = Command::new(system_tool("node"));
    command
        .arg(repository().join("tests/gateway/grpc").join(name))
        .arg(node_packages("grpc"));
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_the_c_core_and_of_grpc_js_see_all_of_grpc() {
    let _machine = share().await;
    // The C core stands on BoringSSL.
    let certificates = DevCertificates::of_hosts_only();
    let authority = certificates.path("ca.pem");
    let secure = free_address().expect("a free port");
    let setup = Setup {
        config: format!(
            "[listeners.secure]\nprotocol = \"http\"\naddress = \"{secure}\"\n{}",
            certificates.table("secure")
        ),
        ..sample()
    };
    let gateway = Gateway::start(guest(setup, TABLE)).await;
    let by_name = format!("localhost:{}", secure.port());
    for (transport, address, authority) in [
        ("h2c", gateway.http.to_string(), Path::new("")),
        ("TLS", by_name, &*authority),
    ] {
        for (client, n_cases, mut command) in [
            ("grpcio", 14, script("c_core.py")),
            ("grpc-js", 8, node("grpc_js.mjs")),
        ] {
            command.arg(&address).arg(authority).args(schemas());
            let cases = cases(&mut command).await;
            let faults = faults(&cases);
            let n_passed = cases.len() - faults.len();
            figure(&format!(
                "gRPC by {client} over {transport}: {n_passed} of {n_cases} cases"
            ));
            assert_eq!(
                faults,
                [""; 0],
                "{client} over {transport}\n{}",
                gateway.log()
            );
            assert_eq!(cases.len(), n_cases, "{client} over {transport}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_connect_see_the_same_by_each_of_their_protocols() {
    const N_CASES: usize = 48;
    let _machine = share().await;
    let folder = tempfile::tempdir().expect("a folder");
    let descriptors = descriptors(folder.path()).await;
    let gateway = Gateway::start(sample()).await;
    let mut command = node("connect.mjs");
    command
        .arg(format!("http://{}", gateway.http))
        .arg(descriptors);
    let cases = cases(&mut command).await;
    let faults = faults(&cases);
    let n_passed = cases.len() - faults.len();
    figure(&format!(
        "gRPC, gRPC-Web and Connect by Connect's clients: {n_passed} of {N_CASES} cases"
    ));
    assert_eq!(faults, [""; 0], "{}", gateway.log());
    assert_eq!(cases.len(), N_CASES);
}
