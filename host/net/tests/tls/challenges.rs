//! Names whose certificates come later, and what authorities are answered that look whether such a name
//! leads here: in a handshake, and over plain HTTP.

use std::sync::Arc;

use bytes::Bytes;
use postern_core::{BoxFuture, Call, Error, Text};
use postern_net::{
    ByteBudget, Counters, ServerConfig, Shutdown,
    http::{Catalog, Hosts, HttpConfig, HttpServer},
    tls::{ChallengeAnswers, KeyPair, ServerTls, ServerTlsSettings, alpn},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{Echo, PATIENCE, Served, certificates::Authority, echo, trusting};

/// Answers for one token, and one name.
#[derive(Debug)]
struct OneAnswer(KeyPair);

impl ChallengeAnswers for OneAnswer {
    fn http(&self, token: &str) -> BoxFuture<Option<String>> {
        let answer = (token == "token").then(|| "token.thumbprint".to_owned());
        Box::pin(async { answer })
    }

    fn tls_alpn(&self, name: &str) -> BoxFuture<Option<KeyPair>> {
        let answer = (name == "a.example").then(|| self.0.clone());
        Box::pin(async { answer })
    }
}

struct Nothing;

impl Catalog for Nothing {
    fn services(&self, _: Option<Text>, _: Call) -> BoxFuture<Result<Bytes, Error>> {
        Box::pin(async { Ok(Bytes::new()) })
    }
}

fn awaiting(pairs: Vec<KeyPair>, authority: &Authority) -> ServerTlsSettings {
    ServerTlsSettings {
        pairs,
        awaited: vec!["a.example".to_owned()],
        ..ServerTlsSettings::new(authority.pair(&["unused.example"]))
    }
}

#[tokio::test]
async fn who_asks_for_a_name_is_refused_until_its_certificate_is_there_and_shown_no_other() {
    let authority = Authority::new("own");
    let other = authority.pair(&["other.example"]);
    for before in [Vec::new(), vec![other.clone()]] {
        let served = Served::start(awaiting(before.clone(), &authority)).await;
        let config = trusting(&authority).config(&[alpn::VSTP]).expect("made");
        let refused = served.raw("a.example", Arc::clone(&config)).await;
        let refused = refused.expect_err("there is none").to_string();
        assert!(refused.ends_with("fatal alert: AccessDenied"), "{refused}");
        // Who asks for a name that nobody awaits is shown the first, where there is one.
        let nobody = served.raw("nobody.example", config).await;
        let nobody = nobody.expect_err("another's name").to_string();
        let is_shown = nobody.contains("other.example");
        assert_eq!(is_shown, !before.is_empty(), "{nobody}");
        let issued = [vec![authority.pair(&["a.example"])], before].concat();
        served
            .tls
            .replace(awaiting(issued, &authority))
            .expect("good");
        let client = served.connect("a.example", trusting(&authority)).await;
        let client = client.expect("its certificate is there");
        assert_eq!(echo(&client, "hello").await, "hello");
        client.close().await;
        served.stop().await;
    }
}

#[tokio::test]
async fn an_authority_that_looks_for_a_name_sees_its_proof_and_the_end() {
    let authority = Authority::new("own");
    let proof = authority.pair(&["a.example"]);
    let own = authority.pair(&["a.example"]);
    let tls = ServerTls::new(awaiting(vec![own], &authority), &[alpn::VSTP]);
    let tls = tls
        .expect("good")
        .with_answers(Arc::new(OneAnswer(proof.clone())));
    let served = Served::start_tls(tls, ServerConfig::default()).await;
    let config = |protocols: &[&str]| trusting(&authority).config(protocols).expect("made");
    for host in ["a.example", "A.Example"] {
        let mut seen = served
            .raw(host, config(&[alpn::ACME_TLS_1]))
            .await
            .expect("answered");
        let session = seen.get_ref().1;
        assert_eq!(session.alpn_protocol(), Some(&b"acme-tls/1"[..]));
        let shown = session.peer_certificates().expect("shown")[0].to_vec();
        assert_eq!(shown, crate::servers::der_of(&proof));
        let mut rest = Vec::new();
        assert_eq!(
            seen.read_to_end(&mut rest).await.expect("closed in order"),
            0
        );
    }
    assert_eq!(served.counters.handshakes_failed.value(), 0);
    // Whoever speaks something else as well is a client as any other.
    let both = served
        .raw("a.example", config(&[alpn::ACME_TLS_1, alpn::VSTP]))
        .await
        .expect("taken");
    assert_eq!(both.get_ref().1.alpn_protocol(), Some(&b"vstp"[..]));
    drop(both);
    let client = served.connect("a.example", trusting(&authority)).await;
    let client = client.expect("clients are served");
    assert_eq!(echo(&client, "hello").await, "hello");
    client.close().await;
    let stranger = served.raw("b.example", config(&[alpn::ACME_TLS_1])).await;
    let stranger = stranger.expect_err("nobody waits for it").to_string();
    assert!(
        stranger.ends_with("fatal alert: NoApplicationProtocol"),
        "{stranger}"
    );
    served.stop().await;
}

/// One request with `head` behind its first line, and all that comes back.
async fn ask(address: std::net::SocketAddr, line: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let head = format!("{line}\r\nhost: a.example\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answered");
    answer
}

#[tokio::test]
async fn over_plain_http_a_token_is_answered_before_anything_else() {
    let authority = Authority::new("own");
    let config = HttpConfig {
        // Any other host is refused.
        hosts: Hosts::Local(Vec::new()),
        ..HttpConfig::default()
    };
    let any = ([127, 0, 0, 1], 0).into();
    let (counters, bytes) = (
        Arc::<Counters>::default(),
        Arc::new(ByteBudget::unlimited()),
    );
    let echo = Arc::<Echo>::default();
    let server = HttpServer::bind(any, config, echo, Arc::new(Nothing), counters, bytes).await;
    let answers = OneAnswer(authority.pair(&["a.example"]));
    let server = server
        .expect("a free port")
        .with_challenges(Arc::new(answers));
    let address = server.local_addr().socket_addr().expect("bound");
    let shutdown = Shutdown::new();
    let serving = tokio::spawn(server.serve(shutdown.clone()));
    let path = "/.well-known/acme-challenge/";
    let answer = ask(address, &format!("GET {path}token HTTP/1.1")).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\ntoken.thumbprint"), "{answer}");
    assert!(
        answer.contains("content-type: application/octet-stream"),
        "{answer}"
    );
    // Everything else is a request as any other, which its host is refused for.
    for line in [
        format!("GET {path}other HTTP/1.1"),
        format!("GET {path} HTTP/1.1"),
        format!("HEAD {path}token HTTP/1.1"),
        format!("POST {path}token HTTP/1.1"),
        "GET /v1/services HTTP/1.1".to_owned(),
    ] {
        let answer = ask(address, &line).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{line}: {answer}");
    }
    shutdown.drain();
    let ended = tokio::time::timeout(PATIENCE, serving).await;
    ended.expect("it drains").expect("no panic");
}
