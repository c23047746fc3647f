//! Certificates without keys, and listeners that anybody on the way could read.

use std::net::IpAddr;

use postern_core::Transport;

use crate::config::{
    address::ListenAddress,
    listener::{Listener, Protocol},
    section::SectionReader,
    settings::{Admin, Config},
    tls::{ClientCertificateMode, ListenerTls},
};

/// Faults of what is shown and asked, and of listeners that anybody on the way could read.
pub(super) fn check(config: &Config, reader: &mut SectionReader) {
    for (name, listener) in &config.listeners {
        let path = format!("listeners.{name}");
        check_listener_tls(&format!("{path}.tls"), &listener.tls, reader);
        check_unix_tls(&path, &listener.address, &listener.tls, reader);
        if listener.enabled {
            check_plain(&path, listener, reader);
        }
    }
    let Admin {
        tls,
        address,
        enabled,
        insecure,
        ..
    } = &config.admin;
    check_listener_tls("admin.tls", tls, reader);
    check_unix_tls("admin", address, tls, reader);
    if *enabled && !tls.is_on() && !insecure {
        refuse_plain("admin", address, "http", reader);
    }
    let upstream = &config.upstream_tls;
    let (certificate, key) = (&upstream.certificate_file, &upstream.key_file);
    check_pair("upstream-tls", certificate.is_some(), key.is_some(), reader);
}

/// What goes over a Unix socket does not leave the machine.
fn check_unix_tls(
    path: &str,
    address: &ListenAddress,
    tls: &ListenerTls,
    reader: &mut SectionReader,
) {
    if tls.is_on() && matches!(address, ListenAddress::Unix(_)) {
        let key = match tls.certificate_file {
            Some(_) => format!("{path}.tls.certificate-file"),
            None => format!("{path}.tls.acme"),
        };
        let message = format!("{address} has no TLS: what goes over it does not leave the machine");
        let remedy =
            format!("remove [{path}.tls]; callers are known by their users, see [auth.unix]");
        reader.fault_of_key(&key, message, remedy);
    }
}

fn check_listener_tls(path: &str, tls: &ListenerTls, reader: &mut SectionReader) {
    let has_certificate = tls.certificate_file.is_some();
    check_pair(path, has_certificate, tls.key_file.is_some(), reader);
    for (name, pair) in &tls.certificates {
        let path = format!("{path}.certificates.{name}");
        for (key, file) in [
            ("certificate-file", &pair.certificate_file),
            ("key-file", &pair.key_file),
        ] {
            if file.is_none() {
                let message = format!("the key {key:?} is missing");
                reader.fault_of_table(&path, message, format!("add {key}"));
            }
        }
    }
    if !tls.is_on() {
        let nothing = ListenerTls::default();
        let lonely = [
            ("certificates", tls.certificates != nothing.certificates),
            ("version-min", tls.version_min != nothing.version_min),
            ("resumption", tls.resumption != nothing.resumption),
            (
                "client-certificates",
                tls.client_certificates != nothing.client_certificates,
            ),
            ("client-ca-files", !tls.client_ca_files.is_empty()),
            ("client-crl-files", !tls.client_crl_files.is_empty()),
        ];
        for (key, is_written) in lonely {
            if is_written {
                let message = "it means nothing without certificate-file or acme";
                let remedy = format!("add {path}.certificate-file, or names in {path}.acme");
                reader.fault_of_key(&format!("{path}.{key}"), message, remedy);
            }
        }
        return;
    }
    let (mode, key) = (tls.client_certificates, |key| format!("{path}.{key}"));
    match (mode, tls.client_ca_files.is_empty()) {
        (ClientCertificateMode::Off, true) if tls.client_crl_files.is_empty() => {}
        (ClientCertificateMode::Off, _) => {
            let named = ["client-ca-files", "client-crl-files"].map(key);
            let named = named.iter().find(|key| reader.places.contains_key(*key));
            let named = named.cloned().unwrap_or_default();
            let message = "no client is asked for a certificate";
            let remedy = "write client-certificates = \"optional\" or \"required\"";
            reader.fault_of_key(&named, message, remedy);
        }
        (ClientCertificateMode::Optional | ClientCertificateMode::Required, true) => {
            let message = "there is no authority to verify clients by";
            let remedy = "add client-ca-files";
            reader.fault_of_key(&key("client-certificates"), message, remedy);
        }
        (ClientCertificateMode::Optional | ClientCertificateMode::Required, false) => {}
    }
}

/// A certificate is of use with its key only.
pub(super) fn check_pair(
    path: &str,
    has_certificate: bool,
    has_key: bool,
    reader: &mut SectionReader,
) {
    let (written, missing) = match (has_certificate, has_key) {
        (true, false) => ("certificate-file", "key-file"),
        (false, true) => ("key-file", "certificate-file"),
        (true, true) | (false, false) => return,
    };
    let message = format!("it means nothing without {missing}");
    let remedy = format!("add {path}.{missing}");
    reader.fault_of_key(&format!("{path}.{written}"), message, remedy);
}

/// Whoever is on the way to another machine could read and change what is not encrypted.
fn check_plain(path: &str, listener: &Listener, reader: &mut SectionReader) {
    if listener.insecure {
        return;
    }
    let is_on = listener.tls.is_on();
    match listener.protocol {
        Protocol::Http | Protocol::Grpc | Protocol::Mqtt | Protocol::Redis | Protocol::Velithon
            if is_on => {}
        protocol @ (Protocol::Http
        | Protocol::Grpc
        | Protocol::Mqtt
        | Protocol::Redis
        | Protocol::Velithon) => {
            refuse_plain(path, &listener.address, protocol.name(), reader);
        }
        Protocol::Vstp => {
            let mut transports = listener.transports.iter();
            let plain = transports.find(|one| !is_on || one.0 == Transport::Udp);
            if let Some(plain) = plain {
                refuse_plain(path, &listener.address, plain.0.name(), reader);
            }
        }
    }
}

/// A socket that is passed is looked at when it is there.
fn refuse_plain(path: &str, address: &ListenAddress, transport: &str, reader: &mut SectionReader) {
    let Some(address) = address.ip().filter(|address| !is_local(address.ip())) else {
        return;
    };
    let message = format!("{address} can be reached from other machines, and {transport} is plain");
    let remedy = match transport {
        "udp" => format!(
            "write transports = [\"tcp\"] and {path}.tls, or insecure = true where nobody else is on the way"
        ),
        _ => format!(
            "add certificate-file and key-file, or acme, below [{path}.tls], or write insecure = true where nobody else is on the way"
        ),
    };
    reader.fault_of_key(&format!("{path}.address"), message, remedy);
}

fn is_local(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}
