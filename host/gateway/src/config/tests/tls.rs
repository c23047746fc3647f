//! Keys of TLS that mean nothing alone, and listeners that anybody could read.

use super::{check, config_of};

#[test]
fn a_certificate_needs_its_key_and_a_key_its_certificate() {
    for (table, line) in [
        ("listeners.http.tls", 2),
        ("admin.tls", 2),
        ("upstream-tls", 2),
    ] {
        check(
            &format!("[{table}]\ncertificate-file = \"a.pem\""),
            line,
            &format!("{table}.certificate-file"),
            "it means nothing without key-file",
        );
        check(
            &format!("[{table}]\nkey-file = \"a.key\""),
            line,
            &format!("{table}.key-file"),
            "it means nothing without certificate-file",
        );
    }
    check(
        "[listeners.http.tls]\ncertificate-file = \"a.pem\"\nkey-file = \"a.key\"\n\
         [listeners.http.tls.certificates.other]\ncertificate-file = \"b.pem\"",
        4,
        "listeners.http.tls.certificates.other",
        "the key \"key-file\" is missing",
    );
}

#[test]
fn what_is_asked_of_clients_needs_somebody_to_verify_it() {
    let pair = "[listeners.http.tls]\ncertificate-file = \"a.pem\"\nkey-file = \"a.key\"\n";
    check(
        &format!("{pair}client-certificates = \"required\""),
        4,
        "listeners.http.tls.client-certificates",
        "there is no authority to verify clients by",
    );
    check(
        &format!("{pair}client-ca-files = [\"ca.pem\"]"),
        4,
        "listeners.http.tls.client-ca-files",
        "no client is asked for a certificate",
    );
    check(
        "[listeners.http.tls]\nversion-min = \"1.3\"",
        2,
        "listeners.http.tls.version-min",
        "it means nothing without certificate-file",
    );
}

#[test]
fn quic_has_a_certificate_and_a_port_of_its_own() {
    let pair = "[listeners.vstp.tls]\ncertificate-file = \"a.pem\"\nkey-file = \"a.key\"\n";
    let transports = |list: &str| format!("[listeners.vstp]\ntransports = [{list}]\n");
    let key = "listeners.vstp.transports";
    check(
        &transports("\"quic\""),
        2,
        key,
        "quic needs a certificate; add certificate-file and key-file below [listeners.vstp.tls]",
    );
    check(
        &format!("{}{pair}", transports("\"udp\", \"quic\"")),
        2,
        key,
        "udp and quic cannot share a port; leave one out",
    );
    let quic = format!(
        "{}address = \"127.0.0.1:7000\"\n{pair}",
        transports("\"tcp\", \"quic\"")
    );
    let other = "[listeners.other]\nprotocol = \"vstp\"\naddress = \"127.0.0.1:7000\"\n";
    check(
        &format!("{quic}{other}transports = [\"udp\"]"),
        3,
        "listeners.vstp.address",
        "127.0.0.1:7000 is taken by listeners.other.address (127.0.0.1:7000, udp)",
    );
    let open = quic.replace("127.0.0.1", "0.0.0.0");
    config_of(&open, &[]);
    check(
        &format!("{quic}[listeners.vstp.quic]\nkeep-alive = \"90s\""),
        8,
        "listeners.vstp.quic.keep-alive",
        "90s is not below listeners.vstp.quic.idle-timeout (90s)",
    );
    check(
        &format!("{quic}[listeners.vstp.quic]\nidle-timeout = \"60s\""),
        8,
        "listeners.vstp.quic.idle-timeout",
        "1m is not above listeners.vstp.quic.keep-alive (1m)",
    );
    check(
        "[listeners.http.quic]\nkeep-alive = \"5s\"",
        2,
        "listeners.http.quic.keep-alive",
        "only a listener that speaks vstp has this key",
    );
}

#[test]
fn a_unix_socket_has_no_tls_and_nothing_else_has_a_file() {
    let unix = "[listeners.vstp]\naddress = \"unix:/run/a.sock\"\n";
    let pair = "certificate-file = \"a.pem\"\nkey-file = \"a.key\"\n";
    config_of(
        &format!("{unix}[listeners.vstp.unix]\nmode = \"0600\""),
        &[],
    );
    check(
        &format!("{unix}[listeners.vstp.tls]\n{pair}"),
        4,
        "listeners.vstp.tls.certificate-file",
        "unix:/run/a.sock has no TLS: what goes over it does not leave the machine; \
         remove [listeners.vstp.tls]",
    );
    check(
        &format!("{unix}transports = [\"tcp\"]"),
        3,
        "listeners.vstp.transports",
        "a Unix socket carries VSTP as it is; remove it",
    );
    for address in ["127.0.0.1:7000", "unix:@a", "systemd:admin"] {
        check(
            &format!("[admin]\naddress = \"{address}\"\n[admin.unix]\nowner = \"root\""),
            4,
            "admin.unix.owner",
            &format!("{address} has no file; remove it"),
        );
    }
    for name in ["unix:/run/a.sock", "systemd:a"] {
        check(
            &format!("[listeners.http]\naddress = \"{name}\"\n[admin]\naddress = \"{name}\""),
            4,
            "admin.address",
            &format!("{name} is taken by listeners.http.address ({name}, tcp)"),
        );
    }
    // It is looked at when it is there.
    config_of("[admin]\naddress = \"systemd:admin\"", &[]);
}

#[test]
fn what_is_plain_and_open_to_others_is_refused_by_its_address() {
    let open = "address = \"0.0.0.0:7000\"";
    let reachable = "0.0.0.0:7000 can be reached from other machines, and ";
    let pair = "certificate-file = \"a.pem\"\nkey-file = \"a.key\"";
    for (table, keys, plain) in [
        ("listeners.http", "", "http is plain"),
        ("listeners.vstp", "", "tcp is plain"),
        ("admin", "", "http is plain"),
        // Datagrams are not in the connections that TLS is of.
        ("listeners.vstp", pair, "udp is plain"),
    ] {
        let tls = match keys {
            "" => String::new(),
            keys => format!("\n[{table}.tls]\n{keys}"),
        };
        let key = format!("{table}.address");
        check(
            &format!("[{table}]\n{open}{tls}"),
            2,
            &key,
            &format!("{reachable}{plain}"),
        );
    }
    for text in [
        format!("[listeners.http]\n{open}\ninsecure = true"),
        format!("[listeners.http]\n{open}\nenabled = false"),
        format!("[listeners.http]\n{open}\n[listeners.http.tls]\n{pair}"),
        format!("[admin]\n{open}\n[admin.tls]\n{pair}"),
        format!("[listeners.vstp]\n{open}\ntransports = [\"tcp\"]\n[listeners.vstp.tls]\n{pair}"),
        "[listeners.http]\naddress = \"127.0.0.2:7000\"".to_owned(),
        "[listeners.http]\naddress = \"[::ffff:127.0.0.1]:7000\"".to_owned(),
    ] {
        config_of(&text, &[]);
    }
}
