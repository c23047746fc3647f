//! Names that no certificate can be had for, and what no authority takes an order without.

use super::{check, config_of};

const ASKED: &str = "[acme]\ncontacts = [\"ops@example.org\"]\nterms-agreed = true\n";

fn edge(names: &str) -> String {
    format!(
        "{ASKED}[listeners.edge]\nprotocol = \"http\"\naddress = \"0.0.0.0:443\"\n\
         [listeners.edge.tls]\nacme = [{names}]\n"
    )
}

#[test]
fn a_listener_with_names_has_tls_and_needs_no_file() {
    let config = config_of(&edge("\"a.example\", \"b.example\""), &[]);
    assert!(config.listeners["edge"].tls.is_on());
    let names: Vec<_> = config.acme_names().into_iter().collect();
    assert_eq!(names, ["a.example", "b.example"]);
    // What is not opened needs no certificate.
    let off = edge("\"a.example\"").replace("protocol", "enabled = false\nprotocol");
    assert!(config_of(&off, &[]).acme_names().is_empty());
}

#[test]
fn names_that_no_certificate_can_be_had_for_are_refused_with_what_to_do() {
    for (name, told) in [
        (
            "*.example.org",
            "a wildcard is proved by DNS-01, which is not spoken here; list its names",
        ),
        (
            "192.0.2.1",
            "is an IP address; certificates are had for names",
        ),
        ("::1", "is an IP address"),
        ("A.example", "has capital letters; write it in lower case"),
        ("a b", "is not the name of a host"),
        ("a..b", "is not the name of a host"),
        ("-a.example", "is not the name of a host"),
        (
            "bücher.example",
            "is not the name of a host; write a name such as api.example.org; other alphabets as xn--",
        ),
        ("https://a.example", "is not the name of a host"),
    ] {
        check(
            &edge(&format!("\"{name}\"")),
            8,
            "listeners.edge.tls.acme",
            told,
        );
    }
}

#[test]
fn nobody_is_asked_without_a_contact_and_agreement_to_the_terms() {
    let text = edge("\"a.example\"");
    let key = "listeners.edge.tls.acme";
    check(
        &text.replace("contacts = [\"ops@example.org\"]\n", ""),
        7,
        key,
        "the authority is told nobody whom it may write to; add contacts",
    );
    check(
        &text.replace("terms-agreed = true\n", ""),
        7,
        key,
        "nobody has agreed to the authority's terms of service",
    );
    // Nothing is missing while no listener has a name.
    config_of("[acme]\nkey-type = \"p384\"", &[]);
}

#[test]
fn each_challenge_needs_a_listener_that_answers_it() {
    let text = edge("\"a.example\"");
    let plain = "[listeners.http]\nenabled = false\n";
    check(
        &format!(
            "{}{plain}",
            text.replace("[acme]\n", "[acme]\nchallenges = [\"http-01\"]\n")
        ),
        9,
        "listeners.edge.tls.acme",
        "http-01 is answered by a plain HTTP listener, and none is there",
    );
    config_of(&format!("{text}{plain}"), &[]);
    let quic = text
        .replace(
            "protocol = \"http\"",
            "protocol = \"vstp\"\ntransports = [\"quic\"]",
        )
        .replace("[acme]\n", "[acme]\nchallenges = [\"tls-alpn-01\"]\n");
    check(
        &quic,
        10,
        "listeners.edge.tls.acme",
        "tls-alpn-01 is answered by TLS over TCP, and only QUIC is here",
    );
    check(
        "[acme]\nchallenges = []",
        2,
        "acme.challenges",
        "no challenge is left",
    );
}

#[test]
fn the_authority_and_the_account_are_written_as_they_must_be() {
    for (line, key, told) in [
        (
            "directory = \"http://ca.example\"",
            "directory",
            "http://ca.example is not https",
        ),
        (
            "directory = \"ca.example\"",
            "directory",
            "is not an address of the web",
        ),
        (
            "contacts = [\"nobody\"]",
            "contacts",
            "\"nobody\" is not an address of mail",
        ),
        (
            "contacts = [\"tel:1\"]",
            "contacts",
            "\"tel:1\" is not an address of mail",
        ),
        (
            "external-account-id = \"a\"",
            "external-account-id",
            "it means nothing without external-account-key",
        ),
        (
            "external-account-key = \"a\"",
            "external-account-key",
            "it means nothing without external-account-id",
        ),
        (
            "retry-pause-max = \"1s\"",
            "retry-pause-max",
            "1s is below acme.retry-pause (1m)",
        ),
        ("key-type = \"p521\"", "key-type", "is not known here"),
    ] {
        check(&format!("[acme]\n{line}"), 2, &format!("acme.{key}"), told);
    }
    check(
        "[acme]\nexternal-account-id = \"a\"\nexternal-account-key = \"a b\"",
        3,
        "acme.external-account-key",
        "it is not base64url",
    );
}

#[test]
fn a_unix_socket_has_no_names_either() {
    check(
        &format!(
            "{ASKED}[listeners.http]\naddress = \"unix:/run/a.sock\"\n[listeners.http.tls]\nacme = [\"a.example\"]"
        ),
        7,
        "listeners.http.tls.acme",
        "unix:/run/a.sock has no TLS",
    );
}
