//! The interop client of grpc-go in every case that needs no cloud, without and with TLS: against a component, and
//! through the gateway against the interop server of grpc-go. What that client lacks of
//! `grpc/doc/interop-test-descriptions.md` is in `compressed.py`.

use std::{net::SocketAddr, process};

use postern_tests::{Gateway, Setup, ToolProcess, free_address, tool};
use tokio::process::Command;

use super::{INTEROP, Said, cases, guest, said, script};
use crate::{dev_certificates::DevCertificates, figure, share};

/// All that the client has, but for those by which clouds are asked for credentials.
const CASES: [&str; 19] = [
    "empty_unary",
    "large_unary",
    "client_streaming",
    "server_streaming",
    "ping_pong",
    "empty_stream",
    "timeout_on_sleeping_server",
    "cancel_after_begin",
    "cancel_after_first_response",
    "status_code_and_message",
    "special_status_message",
    "custom_metadata",
    "unimplemented_method",
    "unimplemented_service",
    "rpc_soak",
    "channel_soak",
    "orca_per_rpc",
    "orca_oob",
    "pick_first_unary",
];
/// The server of grpc-go does not say which server it is, so that its own client fails with it.
const NOT_OF_GRPC_GO: &str = "pick_first_unary";
/// By which the client gathers what servers say of their load.
const LOAD: &str = r#"{"loadBalancingConfig":[{"test_backend_metrics_load_balancer":{}}]}"#;
/// Services of the interop server.
const SERVICES: [&str; 2] = [
    "grpc.testing.TestService",
    "xds.service.orca.v3.OpenRcaService",
];

/// A listener of a gateway.
struct Server<'a> {
    address: SocketAddr,
    certificates: Option<&'a DevCertificates>,
}

impl Server<'_> {
    /// What came of a case.
    async fn run(&self, case: &str) -> Result<(), String> {
        let mut command = Command::new(tool("grpc-interop-client"));
        command
            .args(["-server_host", &self.address.ip().to_string()])
            .args(["-server_port", &self.address.port().to_string()])
            .args(["-test_case", case]);
        if case.starts_with("orca") {
            command.args(["-service_config_json", LOAD]);
        }
        if let Some(certificates) = self.certificates {
            command
                .args(["-use_tls", "-use_test_ca", "-ca_file"])
                .arg(certificates.path("ca.pem"))
                .args(["-server_host_override", "localhost"]);
        }
        let Said { code, out, err } = said(&mut command).await;
        let mut lines = out
            .lines()
            .chain(err.lines())
            .filter(|line| !line.is_empty());
        match code {
            Some(0) => Ok(()),
            _ => Err(lines.next_back().unwrap_or("it says nothing").to_owned()),
        }
    }
}

/// A gateway with a listener of TLS beside the one without.
async fn gateway(setup: Setup, certificates: &DevCertificates) -> (Gateway, SocketAddr) {
    let secure = free_address().expect("a free port");
    let config = format!(
        "{}\n[listeners.secure]\nprotocol = \"http\"\naddress = \"{secure}\"\n{}",
        setup.config,
        certificates.table("secure")
    );
    (Gateway::start(Setup { config, ..setup }).await, secure)
}

/// The interop server of grpc-go, and a gateway before it.
async fn proxy(certificates: &DevCertificates) -> (ToolProcess, Gateway, SocketAddr) {
    let upstream = free_address().expect("a free port");
    let mut command = process::Command::new(tool("grpc-interop-server"));
    let mut server = ToolProcess::start(command.args(["-port", &upstream.port().to_string()]));
    server.listening(upstream).await;
    // Cases in which the server is asked for UNKNOWN again and again say nothing against it.
    let instances = SERVICES.iter().enumerate().map(|(n, service)| {
        format!("[instances.i{n}]\nservice = \"{service}\"\naddresses = [\"grpc://{upstream}\"]\n")
    });
    let setup = Setup {
        config: instances.collect(),
        ..Setup::default()
    };
    let (gateway, secure) = gateway(setup, certificates).await;
    (server, gateway, secure)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_of_grpc_go_passes_every_case_that_needs_no_cloud() {
    let _machine = share().await;
    let certificates = DevCertificates::new();
    let (component, component_secure) =
        gateway(guest(Setup::default(), INTEROP), &certificates).await;
    let (_upstream, proxy, proxy_secure) = proxy(&certificates).await;
    let servers = [
        (component.http, None),
        (component_secure, Some(&certificates)),
        (proxy.http, None),
        (proxy_secure, Some(&certificates)),
    ];
    let servers = servers.map(|(address, certificates)| Server {
        address,
        certificates,
    });
    figure("gRPC interop by grpc-go | component | over TLS | proxy to grpc-go | over TLS");
    let mut faults = Vec::new();
    for case in CASES {
        let mut cells = Vec::new();
        for (server, place) in
            servers
                .iter()
                .zip(["component", "component, TLS", "proxy", "proxy, TLS"])
        {
            if case == NOT_OF_GRPC_GO && place.starts_with("proxy") {
                cells.push("-");
                continue;
            }
            let outcome = server.run(case).await;
            cells.push(if outcome.is_ok() { "ok" } else { "failed" });
            faults.extend(outcome.err().map(|said| format!("{case}, {place}: {said}")));
        }
        figure(&format!("{case} | {}", cells.join(" | ")));
    }
    assert_eq!(faults, [""; 0], "{}\n{}", component.log(), proxy.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cases_of_compressed_messages_and_cached_answers_pass() {
    let _machine = share().await;
    let gateway = Gateway::start(guest(Setup::default(), INTEROP)).await;
    let mut command = script("compressed.py");
    command
        .arg(gateway.http.ip().to_string())
        .arg(gateway.http.port().to_string());
    let cases = cases(&mut command).await;
    for (name, outcome) in &cases {
        figure(&format!("gRPC interop, {name}: {outcome}"));
    }
    assert_eq!(cases.len(), 5);
    assert_eq!(super::faults(&cases), [""; 0], "{}", gateway.log());
}
