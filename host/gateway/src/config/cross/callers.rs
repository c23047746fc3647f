//! Callers that are known by their connections: tables that fit nobody.

use crate::config::{section::SectionReader, settings::Config, tls::ClientCertificateMode};

/// Adds a fault for each table that fits nobody.
pub(super) fn check(config: &Config, reader: &mut SectionReader) {
    for (name, caller) in &config.auth.unix {
        if caller.users.is_empty() && caller.groups.is_empty() {
            let remedy = "add users = [\"NAME\"] or groups = [\"NAME\"]";
            reader.fault_of_table(&format!("auth.unix.{name}"), "it names nobody", remedy);
        }
    }
    let mut listeners = config.listeners.values();
    let asks = listeners.any(|one| one.tls.client_certificates != ClientCertificateMode::Off);
    for (name, caller) in &config.auth.certificates {
        let path = format!("auth.certificates.{name}");
        let is_empty = caller.names.is_empty() && caller.subjects.is_empty();
        if is_empty && caller.fingerprints.is_empty() {
            let remedy = "add names, subjects or fingerprints";
            reader.fault_of_table(&path, "it names nobody", remedy);
        } else if !asks {
            let remedy = "write client-certificates = \"required\" or \"optional\" below its tls";
            reader.fault_of_table(&path, "no listener asks for certificates", remedy);
        }
        let is_digit = |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
        let is_fingerprint = |text: &&String| text.len() == 64 && text.bytes().all(is_digit);
        let mut fingerprints = caller.fingerprints.iter();
        if let Some(wrong) = fingerprints.find(|text| !is_fingerprint(text)) {
            let message = format!("{wrong:?} is not 64 hexadecimal digits in lower case");
            let remedy = "`postern certs list --output json` and sha256sum write them so";
            reader.fault_of_key(&format!("{path}.fingerprints"), message, remedy);
        }
    }
}
