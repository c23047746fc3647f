//! Certificates that an authority issues: names that none can be had for, and keys without which no
//! authority is asked.

use std::net::IpAddr;

use postern_net::http::Fetcher;

use crate::config::{
    acme::{Acme, ChallengeKind},
    leaf::is_host_name,
    section::SectionReader,
    settings::Config,
};

pub(super) fn check(config: &Config, reader: &mut SectionReader) {
    check_directory(&config.acme, reader);
    let mut named = None;
    for (path, tls) in config.tls_in_use() {
        let key = format!("{path}.acme");
        for name in &tls.acme {
            if let Some((message, remedy)) = refused(name) {
                reader.fault_of_key(&key, message, remedy);
            }
        }
        if tls.acme.len() > NAMES_MAX {
            let n_names = tls.acme.len();
            let message = format!("{n_names} names exceed the limit of {NAMES_MAX}");
            reader.fault_of_key(
                &key,
                message,
                "a wildcard certificate-file serves many names",
            );
        }
        if !tls.acme.is_empty() {
            named.get_or_insert(key);
        }
    }
    let Some(key) = named else { return };
    check_asked(&config.acme, &key, reader);
    check_challenges(config, &key, reader);
}

/// What is wrong with the name, and what to do about it.
fn refused(name: &str) -> Option<(String, &'static str)> {
    let shown = format!("{name:?}");
    if name.starts_with("*.") {
        let message = format!("{shown}: a wildcard is proved by DNS-01, which is not spoken here");
        return Some((
            message,
            "list its names, or have another tool write a certificate-file",
        ));
    }
    if name.parse::<IpAddr>().is_ok() {
        let message = format!("{shown} is an IP address; certificates are had for names");
        return Some((message, "write a name, or use a certificate-file"));
    }
    if name.bytes().any(|octet| octet.is_ascii_uppercase()) {
        let message = format!("{shown} has capital letters");
        return Some((message, "write it in lower case"));
    }
    if !is_host_name(name) {
        let message = format!("{shown} is not the name of a host");
        let remedy = "write a name such as api.example.org; other alphabets as xn--...";
        return Some((message, remedy));
    }
    None
}

/// What is wrong with what is written, whether somebody needs it or not.
fn check_directory(acme: &Acme, reader: &mut SectionReader) {
    if let Err(error) = Fetcher::check(&acme.directory, false) {
        let remedy = "write https://HOST/PATH, as the authority's documentation names it";
        reader.fault_of_key("acme.directory", error.to_string(), remedy);
    }
    let is_contact = |contact: &&String| {
        let address = contact.strip_prefix("mailto:").unwrap_or(contact);
        let parts = address.split_once('@');
        parts.is_some_and(|(user, host)| !user.is_empty() && is_host_name(host))
    };
    if let Some(wrong) = acme.contacts.iter().find(|contact| !is_contact(contact)) {
        let message = format!("{wrong:?} is not an address of mail");
        reader.fault_of_key("acme.contacts", message, "write NAME@HOST");
    }
    if acme.challenges.is_empty() {
        let remedy = "write [\"tls-alpn-01\"], [\"http-01\"] or both";
        reader.fault_of_key("acme.challenges", "no challenge is left", remedy);
    }
    super::in_order(
        reader,
        ("acme.retry-pause", acme.retry_pause),
        ("acme.retry-pause-max", acme.retry_pause_max),
    );
    if acme.external_account().is_err() {
        let remedy = "write it as the authority gives it: letters, digits, \"-\" and \"_\"";
        reader.fault_of_key("acme.external-account-key", "it is not base64url", remedy);
    }
    let (id, key) = (&acme.external_account_id, &acme.external_account_key);
    let (written, missing) = match (id, key) {
        (Some(_), None) => ("external-account-id", "external-account-key"),
        (None, Some(_)) => ("external-account-key", "external-account-id"),
        (Some(_), Some(_)) | (None, None) => return,
    };
    let message = format!("it means nothing without {missing}");
    let remedy = format!("add acme.{missing}");
    reader.fault_of_key(&format!("acme.{written}"), message, remedy);
}

/// Without these no authority takes an order, told where the names are: `key`.
fn check_asked(acme: &Acme, key: &str, reader: &mut SectionReader) {
    if acme.contacts.is_empty() {
        let message = "the authority is told nobody whom it may write to";
        let remedy = "add contacts = [\"NAME@HOST\"] below [acme]";
        reader.fault_of_key(key, message, remedy);
    }
    if !acme.terms_agreed {
        let message = "nobody has agreed to the authority's terms of service";
        let remedy = "read them, and add terms-agreed = true below [acme]";
        reader.fault_of_key(key, message, remedy);
    }
}

/// Each challenge is answered by a listener of its kind; one that is left must be there.
fn check_challenges(config: &Config, key: &str, reader: &mut SectionReader) {
    let kinds = &config.acme.challenges;
    let is_answered = |kind: &ChallengeKind| config.answering(*kind).next().is_some();
    if kinds.is_empty() || kinds.iter().any(is_answered) {
        return;
    }
    let message = match kinds.as_slice() {
        [ChallengeKind::Http01] => {
            "http-01 is answered by a plain HTTP listener, and none is there"
        }
        [ChallengeKind::TlsAlpn01] => {
            "tls-alpn-01 is answered by TLS over TCP, and only QUIC is here"
        }
        _ => "no listener can answer a challenge",
    };
    let remedy = "add a plain HTTP listener at port 80, or have TLS over TCP at port 443";
    reader.fault_of_key(key, message, remedy);
}

/// Names of one listener. An authority such as Let's Encrypt issues 300 certificates in three hours.
const NAMES_MAX: usize = 1000;
