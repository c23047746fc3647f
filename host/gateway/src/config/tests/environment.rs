//! Variables that others set: service links of an orchestrator, octets that are no text.

use std::ffi::OsString;

use super::*;
use crate::config::{environment::service_links, own_variables};

/// What Kubernetes sets for a service `postern-admin` with a port named `http`.
const LINKS: [(&str, &str); 7] = [
    ("POSTERN_ADMIN_PORT", "tcp://10.0.0.1:9900"),
    ("POSTERN_ADMIN_PORT_9900_TCP", "tcp://10.0.0.1:9900"),
    ("POSTERN_ADMIN_PORT_9900_TCP_ADDR", "10.0.0.1"),
    ("POSTERN_ADMIN_PORT_9900_TCP_PORT", "9900"),
    ("POSTERN_ADMIN_PORT_9900_TCP_PROTO", "tcp"),
    ("POSTERN_ADMIN_SERVICE_HOST", "10.0.0.1"),
    ("POSTERN_ADMIN_SERVICE_PORT_HTTP", "9900"),
];

#[test]
fn service_links_are_left_alone_whatever_the_service_is_called() {
    for name in [
        "POSTERN",
        "POSTERN_ADMIN",
        "POSTERN_HTTP",
        "POSTERN_LISTENERS_VSTP",
    ] {
        let renamed =
            LINKS.map(|(variable, value)| (variable.replacen("POSTERN_ADMIN", name, 1), value));
        let links: Vec<_> = renamed
            .iter()
            .map(|(variable, value)| (variable.as_str(), *value))
            .collect();
        assert_eq!(config_of("", &links), Config::default());
        assert_eq!(
            service_links(&variables(&links)).len(),
            links.len(),
            "{name}"
        );
    }
    let v6 = [
        ("POSTERN_SERVICE_HOST", "fd00::1"),
        ("POSTERN_SERVICE_PORT", "53"),
        ("POSTERN_PORT_53_UDP", "udp://[fd00::1]:53"),
        ("POSTERN_PORT_53_UDP_PROTO", "udp"),
    ];
    assert_eq!(config_of("", &v6), Config::default());
}

#[test]
fn a_misspelt_key_is_not_taken_for_a_service_link() {
    for (variable, value) in [
        ("POSTERN_ADMIN_PORT", "9900"),
        ("POSTERN_ADMIN_PORT", "127.0.0.1:9900"),
        ("POSTERN_SERVICE_DEFAULT_TIMEOUT", "5s"),
        ("POSTERN_SERVICE_HOST", "edge.example"),
        ("POSTERN_PORT_VSTP", "9090"),
        ("POSTERN_ADMIN_ADRESS", "10.0.0.1"),
    ] {
        let faults = faults_of("", &[(variable, value)]);
        let told: Vec<_> = faults.faults.iter().map(ToString::to_string).collect();
        let expected = format!("{variable}: no key has this variable");
        assert_eq!(told, [expected], "{variable}={value}");
    }
    let faults = faults_of("", &[("POSTERN_ADMIN_ADRESS", "10.0.0.1")]);
    assert_eq!(
        faults.faults[0].remedy,
        "did you mean POSTERN_ADMIN_ADDRESS?"
    );
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_no_text_matters_only_where_it_is_a_key() {
    use std::os::unix::ffi::OsStringExt;
    let no_text = || OsString::from_vec(b"\xff\xfe".to_vec());
    let own = |name: OsString| own_variables([(name, no_text())].into_iter());
    assert_eq!(own("LESSCHARSET".into()), BTreeMap::new());
    assert_eq!(own(no_text()), BTreeMap::new());
    let environment = own("POSTERN_DATA_DIR".into());
    let faults = parse("postern.toml", "", &environment).expect_err("refused");
    let told: Vec<_> = faults.faults.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["POSTERN_DATA_DIR: the value is not UTF-8"]);
}
