//! Certificates that an authority issues: pebble, and the real binary.

mod pebble;

use std::{fs, net::SocketAddr, path::Path, sync::Arc};

use postern_core::Error;
use postern_net::{
    Client, ClientConfig, Destination, Target,
    http::{HttpClient, HttpClientConfig},
    tls::{ClientTls, ClientTlsSettings, Pem, TlsDialer},
};
use postern_tests::{Gateway, Setup, call, free_address, patiently, postern};
use serde_json::Value;

use self::pebble::{EXTERNAL_ACCOUNT, Options, Pebble};
use crate::share;

/// Listeners at which `authority` looks, one of them with TLS and the names `names`.
fn listeners(plain: SocketAddr, edge: SocketAddr, protocol: &str, names: &str) -> String {
    let transports = match protocol {
        "vstp" => "transports = [\"tcp\"]\n",
        _ => "",
    };
    format!(
        "[listeners.plain]\nprotocol = \"http\"\naddress = \"{plain}\"\n\
         [listeners.edge]\nprotocol = \"{protocol}\"\naddress = \"{edge}\"\n{transports}\
         [listeners.edge.tls]\nacme = [{names}]\n"
    )
}

/// A gateway that asks `authority`, with further `keys` of `[acme]`.
async fn start(authority: &Pebble, protocol: &str, names: &str, keys: &str) -> Gateway {
    let (plain, edge) = (authority.plain, authority.tls);
    let listeners = listeners(plain, edge, protocol, names);
    let setup = Setup {
        config: format!("{}{keys}{listeners}", authority.keys()),
        ..Setup::default()
    };
    Gateway::start(setup.plugin("echo")).await
}

/// A session with `address` under `name`, whose certificate leads up to `root`.
async fn session(address: SocketAddr, name: &str, root: &Pem) -> Result<Client, Error> {
    let destination = Destination::Host {
        host: name.into(),
        address,
    };
    let config = ClientConfig {
        tls: Arc::new(believing(root)),
        ..ClientConfig::default()
    };
    Client::connect(Target::new(Arc::new(TlsDialer), destination), config).await
}

fn believing(root: &Pem) -> ClientTls {
    let tls = ClientTls::new(ClientTlsSettings {
        authorities: Some(vec![root.clone()]),
        ..ClientTlsSettings::default()
    });
    tls.expect("an authority")
}

/// Waits for a session whose calls are answered.
async fn until_served(address: SocketAddr, name: &str, root: &Pem) -> Client {
    let mut served = None;
    patiently("a certificate is shown", async || {
        served = session(address, name, root).await.ok();
        served.is_some()
    })
    .await;
    let client = served.expect("it was waited for");
    call(&client, "echo/Echo", "{}").await.expect("answered");
    client
}

/// What `certs list` says of the only name.
fn listed(gateway: &Gateway) -> Value {
    let listed = gateway.postern(&["certs", "list", "--output", "json"]);
    assert_eq!(listed.code, Some(0), "{listed:?}");
    let listed: Value = serde_json::from_str(&listed.out).expect("JSON");
    let names = listed["acme"].as_array().expect("a list");
    assert_eq!(names.len(), 1, "{listed}");
    names[0].clone()
}

/// The message of the reason for a look that is about `name`.
async fn told(gateway: &Gateway, name: &str) -> Option<String> {
    let (_, body) = gateway.admin("/readyz").await.expect("answered");
    let body: Value = serde_json::from_str(&body).expect("JSON");
    let degraded = body["degraded"].as_array().expect("a list");
    let reason = degraded.iter().find(|one| one["subject"] == name)?;
    assert_eq!(reason["name"], "certificate");
    reason["message"].as_str().map(str::to_owned)
}

async fn metric(gateway: &Gateway, series: &str) -> String {
    let (_, text) = gateway.admin("/metrics").await.expect("answered");
    let mut lines = text.lines();
    let line = lines.find_map(|line| line.strip_prefix(series));
    line.unwrap_or_else(|| panic!("no {series} in {text}"))
        .trim()
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_certificate_is_had_by_tls_alpn_01_kept_and_shown_after_a_restart() {
    let _machine = share().await;
    let authority = Pebble::start(Options::default()).await;
    let keys = "challenges = [\"tls-alpn-01\"]\nkey-type = \"p384\"\nprofile = \"day\"\n";
    let mut gateway = start(&authority, "vstp", "\"a.example\"", keys).await;
    let root = authority.root().await;
    until_served(authority.tls, "a.example", &root)
        .await
        .close()
        .await;
    let name = listed(&gateway);
    assert_eq!(
        (&name["name"], &name["state"]),
        (&"a.example".into(), &"issued".into())
    );
    let left =
        name["not-after"].as_i64().expect("a time") - name["renewal"].as_i64().expect("a time");
    // A third of a day, less a twentieth of it at most.
    assert!((22_000..=29_000).contains(&left), "{name}");
    assert_eq!(told(&gateway, "a.example").await, None);
    let orders = "postern_acme_orders_total{outcome=\"issued\"}";
    assert_eq!(metric(&gateway, orders).await, "1");
    assert_eq!(
        metric(&gateway, "postern_acme_failures{name=\"a.example\"}").await,
        "0"
    );
    let issued = gateway.folder().join(".postern/acme");
    let issued = issued.join(format!("localhost-{}-dir", port(&authority)));
    let pem = fs::read_to_string(issued.join("certificates/a.example.pem")).expect("kept");
    let key = rcgen::KeyPair::from_pem(&pem).expect("its key");
    assert_eq!(key.algorithm(), &rcgen::PKCS_ECDSA_P384_SHA384);
    let account = fs::read_to_string(issued.join("account.json")).expect("kept");
    assert!(
        account.contains("\"contacts\":[\"mailto:ops@example.org\"]"),
        "it has contacts"
    );
    assert!(
        fs::read_dir(issued.join("challenges"))
            .expect("there")
            .next()
            .is_none()
    );
    gateway.restart().await;
    until_served(authority.tls, "a.example", &root)
        .await
        .close()
        .await;
    assert_eq!(authority.n_orders(), 1, "{}", authority.log());
    // Neither key is in the log.
    let secrets = [&pem, &account].map(|text| {
        let letters = |c: char| !(c.is_ascii_alphanumeric() || "+/-_".contains(c));
        let longest = text.split(letters).max_by_key(|word| word.len());
        longest.expect("a key").to_owned()
    });
    let log = gateway.log();
    assert!(
        secrets.iter().all(|secret| !log.contains(secret.as_str())),
        "{log}"
    );
}

fn port(authority: &Pebble) -> String {
    let keys = authority.keys();
    let (_, behind) = keys.split_once("localhost:").expect("an address");
    behind.split('/').next().expect("a port").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_certificate_is_had_by_http_01_and_serves_https_though_nonces_are_refused() {
    let _machine = share().await;
    let options = Options {
        nonces_refused: 20,
        ..Options::default()
    };
    let authority = Pebble::start(options).await;
    let keys = "challenges = [\"http-01\"]\nretry-pause = \"1s\"\nretry-pause-max = \"2s\"\n";
    let gateway = start(&authority, "http", "\"localhost\"", keys).await;
    let config = HttpClientConfig {
        tls: Arc::new(believing(&authority.root().await)),
        ..HttpClientConfig::default()
    };
    let base = format!("https://localhost:{}", authority.tls.port());
    let client = HttpClient::new(&base, config).expect("an address");
    patiently("a certificate is shown", async || {
        client.services().await.is_ok()
    })
    .await;
    assert_eq!(listed(&gateway)["state"], "issued");
    let text = gateway.postern(&["certs", "list"]);
    assert!(
        text.out.contains("DNS:localhost") && text.out.contains(" GMT"),
        "{text:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_renewed_at_two_thirds_of_its_life_and_sessions_go_on() {
    let _machine = share().await;
    let options = Options {
        life: 15,
        ..Options::default()
    };
    let authority = Pebble::start(options).await;
    let keys = "profile = \"default\"\n";
    let gateway = start(&authority, "vstp", "\"a.example\"", keys).await;
    let root = authority.root().await;
    let before = until_served(authority.tls, "a.example", &root).await;
    let expiry = |gateway: &Gateway| listed(gateway)["not-after"].as_i64().expect("a time");
    let first = expiry(&gateway);
    patiently("another is there", async || expiry(&gateway) > first).await;
    assert!(authority.n_orders() >= 2);
    call(&before, "echo/Echo", "{}")
        .await
        .expect("it is still open");
    before.close().await;
    // The first would not be taken any more by then.
    let now = || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        i64::try_from(now.expect("after 1970").as_secs()).expect("a time")
    };
    patiently("the first has expired", async || now() > first).await;
    until_served(authority.tls, "a.example", &root)
        .await
        .close()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_authority_is_away_what_it_issued_is_shown_and_it_is_asked_until_it_is_back() {
    let _machine = share().await;
    let options = Options {
        life: 15,
        ..Options::default()
    };
    let mut authority = Pebble::prepare(options);
    let keys = "profile = \"default\"\nretry-pause = \"1s\"\nretry-pause-max = \"2s\"\n";
    let gateway = start(&authority, "vstp", "\"a.example\"", keys).await;
    patiently("it is told", async || {
        let told = told(&gateway, "a.example").await;
        told.is_some_and(|told| told.contains("2 times in a row: localhost cannot be asked"))
    })
    .await;
    assert_eq!(listed(&gateway)["state"], "failing");
    authority.start_again().await;
    let root = authority.root().await;
    until_served(authority.tls, "a.example", &root)
        .await
        .close()
        .await;
    authority.stop();
    patiently("it is told again", async || {
        let told = told(&gateway, "a.example").await;
        told.is_some_and(|told| told.contains("the certificate from before is shown"))
    })
    .await;
    // It is shown, and whether it has expired by then is its client's affair.
    if let Err(error) = session(authority.tls, "a.example", &root).await {
        assert!(error.to_string().contains("certificate expired"), "{error}");
    }
    // It comes back with another root, and has forgotten the account.
    authority.start_again().await;
    let root = authority.root().await;
    until_served(authority.tls, "a.example", &root)
        .await
        .close()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_that_share_a_folder_order_once_and_both_show_the_certificate() {
    let _machine = share().await;
    for challenge in ["http-01", "tls-alpn-01"] {
        let authority = Pebble::start(Options::default()).await;
        let shared = tempfile::tempdir().expect("a folder");
        let folder = shared.path().join("acme");
        let keys = format!("challenges = [\"{challenge}\"]\nfolder = {folder:?}\n");
        let (plain, edge) = (
            free_address().expect("a port"),
            free_address().expect("a port"),
        );
        let setup = |plain, edge| Setup {
            config: format!(
                "{}{keys}{}",
                authority.keys(),
                listeners(plain, edge, "vstp", "\"a.example\"")
            ),
            ..Setup::default()
        };
        // The authority asks the one; whoever is first orders.
        let (one, other) = tokio::join!(
            Gateway::start(setup(authority.plain, authority.tls).plugin("echo")),
            Gateway::start(setup(plain, edge).plugin("echo")),
        );
        let root = authority.root().await;
        for address in [authority.tls, edge] {
            until_served(address, "a.example", &root)
                .await
                .close()
                .await;
        }
        assert_eq!(listed(&one), listed(&other));
        assert_eq!(authority.n_orders(), 1, "{}", authority.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_that_knows_its_customers_is_shown_the_external_account() {
    let _machine = share().await;
    let options = Options {
        external_accounts: true,
        ..Options::default()
    };
    let authority = Pebble::start(options).await;
    let gateway = start(&authority, "vstp", "\"a.example\"", "").await;
    patiently("it is told", async || {
        let told = told(&gateway, "a.example").await;
        told.is_some_and(|told| told.contains("the authority says externalAccountRequired: "))
    })
    .await;
    let (id, key) = EXTERNAL_ACCOUNT;
    let with = format!(
        "[acme]\nexternal-account-id = \"{id}\"\nexternal-account-key = \"{key}\"\nretry-pause = \"1s\"\n"
    );
    drop(gateway);
    let setup = Setup {
        config: authority.keys().replace("[acme]\n", &with)
            + &listeners(authority.plain, authority.tls, "vstp", "\"a.example\""),
        ..Setup::default()
    };
    let gateway = Gateway::start(setup.plugin("echo")).await;
    let root = authority.root().await;
    until_served(authority.tls, "a.example", &root)
        .await
        .close()
        .await;
    assert!(!gateway.log().contains(key));
}

#[test]
fn check_says_what_must_be_passed_on_from_the_ports_at_which_authorities_ask() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("plugins")).expect("created");
    let text = "[acme]\ncontacts = [\"ops@example.org\"]\nterms-agreed = true\n\
                [listeners.edge]\nprotocol = \"http\"\naddress = \"127.0.0.1:8443\"\n\
                [listeners.edge.tls]\nacme = [\"a.example\"]\n";
    let check = |text: &str| {
        fs::write(folder.path().join("postern.toml"), text).expect("written");
        postern(folder.path(), &["check"])
    };
    let checked = check(text);
    let expected = "warning  acme: tls-alpn-01 is asked at port 443 and answered at 127.0.0.1:8443; \
                    http-01 is asked at port 80 and answered at 127.0.0.1:8080: something in front must \
                    pass it on";
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(checked.out.contains(expected), "{checked:?}");
    let checked = check(&text.replace("8443", "443"));
    assert!(!checked.out.contains("acme"), "{checked:?}");
    assert!(!Path::new(folder.path()).join(".postern/acme").exists());
}
