//! Who may connect, and which topics each may use.

use std::fs;

use postern_tests::{api_key, free_address, patiently};

use super::Broker;
use crate::{
    figure, share,
    tls::authority::{Authority, VALID},
};

/// Rules of topics, with every key that they have.
const RULES: &str = "\
[mqtt.rules.devices]
roles = [\"device\"]
publish = [\"devices/%c/up\", \"of/%u/#\"]
subscribe = [\"devices/%c/#\", \"of/%u/#\"]
[mqtt.rules.secret]
effect = \"deny\"
subscribe = [\"of/+/secret\"]
[mqtt.rules.shown]
principals = [\"show*\"]
publish = [\"of/%u/%c\"]
[mqtt.rules.callers]
principals = [\"caller\"]
publish = [\"$call/#\", \"replies/%u\"]
subscribe = [\"replies/%u\"]
[mqtt.rules.nobody]
anonymous = true
publish = [\"open\"]
subscribe = [\"open\"]
";

#[tokio::test(flavor = "multi_thread")]
async fn users_keys_tokens_and_certificates_are_known_and_held_to_the_rules() {
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
    let config = format!(
        "[listeners.mqtts]\nprotocol = \"mqtt\"\naddress = \"{tls}\"\n\
         [listeners.mqtts.tls]\ncertificate-file = \"{certificate}\"\nkey-file = \"{server_key}\"\n\
         client-certificates = \"optional\"\nclient-ca-files = [\"{ca}\"]\n\
         [auth]\nrequired = [\"mqtt/connect\"]\nfailures-rate = 0\n\
         [auth.certificates.shown]\nsubjects = [\"CN=shown\"]\n\
         [auth.jwt.own]\nsecret = \"0123456789abcdef0123456789abcdef\"\n{}{}{}\
         [authorization.rules.secret]\neffect = \"deny\"\ncalls = [\"echo/Secret\"]\n{RULES}",
        api_key("d1", "d1-secret", "\"device\""),
        api_key("d2", "d2-secret", "\"device\""),
        api_key("caller", "caller-secret", ""),
    );
    let broker = Broker::start(&config).await;
    let port = tls.port().to_string();
    let n_cases = broker
        .check("access.py", &[&port, &ca, &own[0], &own[1]])
        .await;
    figure(&format!("access over MQTT: {n_cases} cases passed"));
}

/// Rules that are changed hold for clients that are connected, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_rule_holds_for_clients_that_are_connected() {
    let _machine = share().await;
    let broker = Broker::start("[mqtt.rules.all]\npublish = [\"a/#\"]\nsubscribe = [\"#\"]").await;
    let file = broker.folder().join("postern.toml");
    let before = fs::read_to_string(&file).expect("readable");
    let mut command = super::python_script("changes.py");
    let marker = broker.folder().join("marker");
    command
        .arg(broker.address.ip().to_string())
        .arg(broker.address.port().to_string())
        .arg(&marker);
    let changing = async {
        patiently("the client has published", async || marker.exists()).await;
        let after = before.replace("publish = [\"a/#\"]", "publish = [\"b/#\"]");
        fs::write(&file, after).expect("writable");
    };
    let (n_cases, ()) = tokio::join!(broker.cases(&mut command), changing);
    assert_eq!(n_cases, 1);
}
