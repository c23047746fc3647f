//! Who may do what: passwords, tokens, certificates, rules and grants.

use std::fs;

use postern_tests::{Setup, api_key, free_address};

use super::{DURABLE, Front, Wire};
use crate::{
    figure, share,
    tls::authority::{Authority, VALID},
};

/// Sends each line and wants an answer that begins so.
async fn script(wire: &mut Wire, lines: &[(&str, &str)]) {
    for (line, expected) in lines {
        let found = wire.ask(line).await;
        assert!(
            found.starts_with(expected),
            "{line}: {found} in the place of {expected}"
        );
    }
}

const NO_AUTH: &str = "-NOAUTH Authentication required.";
const WRONG_PASS: &str = "-WRONGPASS invalid username-password pair or user is disabled.";

#[tokio::test(flavor = "multi_thread")]
async fn a_client_says_who_it_is_before_it_is_served() {
    let _machine = share().await;
    let config = format!(
        "redis = {{ stores = [\"cache\"], roles = [\"writer\"], principals = [\"re*\"] }}\n\
         [auth]\nauthentication = \"required\"\nfailures-rate = 0\n{}{}{}\
         [authorization.rules.reader]\neffect = \"deny\"\nprincipals = [\"reader\"]\n\
         calls = [\"redis/set\", \"events/publish\", \"echo/Secret\"]\n{DURABLE}",
        api_key("writer", "writer-secret", "\"writer\""),
        api_key("reader", "reader-secret", ""),
        api_key("guest", "guest-secret", ""),
    );
    let front = Front::of(Setup::default().plugin("echo"), &config).await;
    let mut wire = front.wire().await;
    script(
        &mut wire,
        &[
            ("PING", NO_AUTH),
            ("GET a", NO_AUTH),
            ("PUBLISH a b", NO_AUTH),
            ("SUBSCRIBE a", NO_AUTH),
            ("CALL echo/echo x", "-NOAUTH "),
            ("foo", "-ERR unknown command 'foo'"),
            ("HELLO 3", "-NOAUTH HELLO must be called"),
            ("AUTH wrong", WRONG_PASS),
            ("AUTH reader writer-secret", WRONG_PASS),
            ("HELLO 3 AUTH writer wrong", WRONG_PASS),
            ("AUTH writer writer-secret", "+OK"),
            ("SET a 1", "+OK"),
            ("PUBLISH news x", ":0"),
            ("SUBSCRIBE news", "*3"),
            ("UNSUBSCRIBE news", "*3"),
            ("CALL echo/echo x", "$1\\r\\nx"),
            ("XADD orders.access * a 1", "$3\\r\\n1-0"),
            ("RESET", "+RESET"),
            ("GET a", NO_AUTH),
            ("AUTH reader-secret", "+OK"),
            ("GET a", "$1\\r\\n1"),
            (
                "SET a 2",
                "-NOPERM User reader has no permissions to run the 'set' command",
            ),
            ("PUBLISH news x", "-NOPERM "),
            ("XADD orders.access * a 1", "-NOPERM "),
            ("CALL echo/Secret x", "-NOPERM "),
            ("SUBSCRIBE news", "*3"),
            ("RESET", "+RESET"),
            ("HELLO 3 AUTH guest guest-secret SETNAME me", "%7"),
            ("CLIENT GETNAME", "$2\\r\\nme"),
            ("GET a", "-NOPERM User guest is not granted the store"),
        ],
    )
    .await;
    let long = format!("*2\r\n$4\r\nPING\r\n$20000\r\n{}\r\n", "x".repeat(20_000));
    let mut stranger = front.wire().await;
    stranger.send(&long).await;
    let said = stranger.text().await;
    assert!(
        said.starts_with("-ERR Protocol error: unauthenticated bulk length"),
        "{said}"
    );
    let n_cases = front.check("access.py", &["writer", "writer-secret"]).await;
    figure(&format!("access over Redis: {n_cases} cases passed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_count_what_clients_of_redis_do() {
    let _machine = share().await;
    let config = "redis.stores = [\"cache\"]\n\
        [limits.redis]\ncalls = [\"redis/get\", \"events/publish\"]\nrate = 1\nburst = 5\n";
    let front = Front::of(Setup::default(), config).await;
    let mut wire = front.wire().await;
    let mut n_refused = 0;
    for _ in 0..10 {
        n_refused += usize::from(wire.ask("GET a").await.starts_with("-RESOURCE_EXHAUSTED "));
    }
    assert!(n_refused >= 4, "{n_refused}");
    assert_eq!(wire.ask("PING").await, "+PONG\\r\\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_come_over_tls_with_certificates_and_over_unix_sockets() {
    let _machine = share().await;
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new("own");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let (server, client) = (
        authority.pair("gateway", 1, VALID),
        authority.pair("shown", 2, VALID),
    );
    let ca = file("ca.pem", &authority.pem());
    let (certificate, server_key) = (
        file("a.pem", &server.certificate),
        file("a.key", &server.key),
    );
    let own = [
        file("c.pem", &client.certificate),
        file("c.key", &client.key),
    ];
    let tls = free_address().expect("a free port");
    let socket = folder.path().join("redis.sock").display().to_string();
    let config = format!(
        "redis.stores = [\"cache\"]\n\
         [listeners.rediss]\nprotocol = \"redis\"\naddress = \"{tls}\"\nredis.stores = [\"cache\"]\n\
         [listeners.rediss.tls]\ncertificate-file = \"{certificate}\"\nkey-file = \"{server_key}\"\n\
         client-certificates = \"optional\"\nclient-ca-files = [\"{ca}\"]\n\
         [listeners.local]\nprotocol = \"redis\"\naddress = \"unix:{socket}\"\n\
         redis.stores = [\"cache\"]\n\
         [auth]\nrequired = [\"redis/set\"]\n[auth.certificates.shown]\nsubjects = [\"CN=shown\"]\n",
    );
    let front = Front::of(Setup::default(), &config).await;
    let port = tls.port().to_string();
    let n_cases = front
        .check("transports.py", &[&port, &ca, &own[0], &own[1], &socket])
        .await;
    figure(&format!(
        "Redis over TLS and Unix sockets: {n_cases} cases passed"
    ));
}
