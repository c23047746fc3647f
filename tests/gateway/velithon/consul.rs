//! Services at an agent of Consul, which is a stub by the documentation of its API; who looks for them is the
//! published package.

use std::{net::SocketAddr, process::Stdio};

use postern_tests::{Gateway, Setup, ToolProcess, free_address, patiently};
use serde_json::{Value, json};

use super::{listening, said, script};
use crate::{figure, share};

/// A stub of an agent.
struct Agent {
    address: SocketAddr,
    process: Option<ToolProcess>,
    token: Option<&'static str>,
}

impl Agent {
    async fn start(token: Option<&'static str>) -> Self {
        let mut agent = Self {
            address: free_address().expect("a free port"),
            process: None,
            token,
        };
        agent.start_again().await;
        agent
    }

    async fn start_again(&mut self) {
        let mut command = script("agent.py");
        command
            .arg(self.address.port().to_string())
            .args(self.token)
            .stderr(Stdio::null());
        let mut process = ToolProcess::start(&mut command);
        process.listening(self.address).await;
        self.process = Some(process);
    }

    /// What the agent answers to a request by curl's most simple form.
    async fn ask(&self, method: &str, path: &str) -> String {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut stream = tokio::net::TcpStream::connect(self.address)
            .await
            .expect("up");
        let token = self
            .token
            .map(|token| format!("x-consul-token: {token}\r\n"));
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: a\r\n{}connection: close\r\n\r\n",
            token.unwrap_or_default()
        );
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        let body = answer
            .split_once("\r\n\r\n")
            .map(|(_, body)| body.to_owned());
        body.unwrap_or_default()
    }

    async fn services(&self) -> Value {
        let services = self.ask("GET", "/v1/agent/services").await;
        serde_json::from_str(&services).expect("json")
    }

    async fn is_registered(&self, id: &str) -> bool {
        self.services().await.get(id).is_some()
    }

    async fn n_asked(&self, what: &str) -> usize {
        let log = self.ask("GET", "/stub/log").await;
        let log: Vec<String> = serde_json::from_str(&log).expect("json");
        log.iter().filter(|line| line.starts_with(what)).count()
    }

    /// The table of the configuration. The listener is called `velithon`.
    fn table(&self, keys: &str) -> String {
        let address = self.address;
        format!(
            "[consul]\naddress = \"http://{address}\"\nservices = [\"table-rust\"]\nlistener = \"velithon\"\n{keys}\n"
        )
    }

    /// What the published discovery finds.
    async fn found(&self, service: &str, endpoint: Option<&str>) -> Value {
        let mut command = script("discovery.py");
        command
            .args([&self.address.port().to_string(), service])
            .args(endpoint);
        said(command).await
    }
}

const QUICK: &str = "check-interval = \"200ms\"\nttl = \"2s\"";

#[tokio::test(flavor = "multi_thread")]
async fn the_published_discovery_finds_and_calls_what_is_registered() {
    let _machine = share().await;
    let agent = Agent::start(None).await;
    let keys =
        format!("{QUICK}\nweight = 2\nweights = {{ table-rust = 7 }}\nderegister-after = \"2m\"");
    let mut velithon = listening(&agent.table(&keys), "").await;
    let (address, id) = (velithon.address, format!("table-rust-{}", velithon.address));
    patiently("it is registered", async || agent.is_registered(&id).await).await;
    let told = agent.found("table-rust", Some("Echo")).await;
    let found = json!([["127.0.0.1", address.port(), 7.0]]);
    assert_eq!(
        told,
        json!({ "found": found, "answer": { "text": "hello" } })
    );
    assert_eq!(agent.found("nobody", None).await["found"], json!([]));
    // It is told again and again that the gateway is well.
    patiently("it is told", async || {
        agent.n_asked("PUT /v1/agent/check/pass").await > 3
    })
    .await;
    let checks = agent.ask("GET", "/v1/health/state/any").await;
    assert!(checks.contains("passing"), "{checks}");
    assert_eq!(agent.n_asked("PUT /v1/agent/service/register").await, 1);
    velithon.gateway.terminate().await;
    assert!(
        !agent.is_registered(&id).await,
        "it is deregistered in the drain"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_has_forgotten_or_was_away_is_told_again() {
    let _machine = share().await;
    for check in ["ttl", "tcp"] {
        let mut agent = Agent::start(None).await;
        let keys = format!("{QUICK}\ncheck = \"{check}\"");
        let velithon = listening(&agent.table(&keys), "").await;
        let id = format!("table-rust-{}", velithon.address);
        let registered = async |agent: &Agent| {
            patiently("it is registered", async || agent.is_registered(&id).await).await;
        };
        registered(&agent).await;
        agent.ask("PUT", "/stub/forget").await;
        let begin = std::time::Instant::now();
        registered(&agent).await;
        figure(&format!(
            "consul, check = {check}: registered again {:.1} s after the agent forgot",
            begin.elapsed().as_secs_f64()
        ));
        agent.process = None;
        patiently("somebody is told", async || {
            velithon
                .gateway
                .log()
                .contains("services are not registered with Consul")
        })
        .await;
        agent.start_again().await;
        registered(&agent).await;
        // The agent has it a moment before the gateway has its answer.
        patiently("somebody is told of it", async || {
            let log = velithon.gateway.log();
            log.contains("the agent of Consul answers again")
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn services_come_and_go_with_who_answers_for_them() {
    let _machine = share().await;
    let agent = Agent::start(None).await;
    let velithon = listening(&agent.table(QUICK), "").await;
    let id = format!("table-rust-{}", velithon.address);
    patiently("it is registered", async || agent.is_registered(&id).await).await;
    velithon.gateway.remove("table-rust.wasm");
    velithon.gateway.remove("table-rust.toml");
    patiently("it is not any more", async || {
        !agent.is_registered(&id).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_an_address_and_a_check_of_ones_own_are_told() {
    let _machine = share().await;
    let agent = Agent::start(Some("secret")).await;
    let keys = format!(
        "{QUICK}\ntoken = \"secret\"\nadvertise = \"edge.example:7777\"\ncheck = \"http\"\n\
         check-url = \"http://127.0.0.1:9/readyz\"\ntimeout = \"3s\""
    );
    let velithon = listening(&agent.table(&keys), "").await;
    let id = "table-rust-edge.example:7777";
    patiently("it is registered", async || agent.is_registered(id).await).await;
    let services = agent.services().await;
    let expected = json!(["edge.example", 7777]);
    assert_eq!(
        json!([services[id]["Address"], services[id]["Port"]]),
        expected
    );
    // The published client would connect to the node.
    patiently("somebody is told", async || {
        velithon
            .gateway
            .log()
            .contains("connects to the address of Consul's node")
    })
    .await;
    assert!(!velithon.gateway.log().contains("\"secret\""));
    let wrong = listening(&agent.table(QUICK), "").await;
    patiently("a refusal is told", async || {
        wrong
            .gateway
            .log()
            .contains("lacks permission service:write")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_says_nothing_is_waited_for_as_long_as_is_configured() {
    let _machine = share().await;
    // Takes connections, and answers none.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = silent.local_addr().expect("bound");
    let table = format!(
        "[consul]\naddress = \"http://{address}\"\nservices = [\"table-rust\"]\nlistener = \"velithon\"\n\
         timeout = \"300ms\"\n"
    );
    let velithon = listening(&table, "").await;
    patiently("somebody is told", async || {
        velithon
            .gateway
            .log()
            .contains("gives no answer within 300 ms")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_that_cannot_be_is_refused_with_the_configuration() {
    let _machine = share().await;
    let gateway = Gateway::start(Setup::default()).await;
    let listener = "[listeners.velithon]\nprotocol = \"velithon\"\naddress = \"127.0.0.1:7\"\n";
    let consul = "[consul]\naddress = \"http://127.0.0.1:8500\"\nservices = [\"a\"]\nlistener = \"velithon\"\n";
    for (text, told) in [
        (
            "[consul]\nservices = [\"a\"]\n".to_owned(),
            "without address",
        ),
        (consul.to_owned(), "no listener called \"velithon\""),
        (
            format!("{}{listener}", consul.replace("services = [\"a\"]", "")),
            "\"services\" is missing",
        ),
        (
            format!(
                "{}{listener}",
                consul.replace("listener = \"velithon\"", "")
            ),
            "\"listener\" is missing",
        ),
        (
            format!("{}{listener}", consul.replace("http://", "ftp://")),
            "is not the address of an agent",
        ),
        (
            format!("{consul}check = \"http\"\n{listener}"),
            "nothing to be asked",
        ),
        (
            format!("{consul}check-url = \"http://a\"\n{listener}"),
            "nobody asks it",
        ),
        (
            format!("{consul}ttl = \"5s\"\n{listener}"),
            "before it is heard again",
        ),
        (
            format!("{consul}weights = {{ b = 1 }}\n{listener}"),
            "is not among services",
        ),
        (
            format!("{consul}advertise = \"edge\"\n{listener}"),
            "no host with a port",
        ),
        (
            format!(
                "{consul}[listeners.velithon]\nprotocol = \"velithon\"\naddress = \"unix:/tmp/a\"\n"
            ),
            "nobody connects to",
        ),
    ] {
        std::fs::write(gateway.folder().join("refused.toml"), &text).expect("written");
        let checked = gateway.postern(&["check", "--config", "refused.toml"]);
        assert_eq!(checked.code, Some(1), "{text}");
        assert!(checked.err.contains(told), "{text}: {}", checked.err);
    }
    let good = format!("{consul}{listener}");
    std::fs::write(gateway.folder().join("good.toml"), good).expect("written");
    let checked = gateway.postern(&["check", "--config", "good.toml"]);
    assert!(!checked.err.contains("consul"), "{checked:?}");
}
