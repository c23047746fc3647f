//! What is written about the directory, and what is told of its faults.

use super::*;
use crate::config::{Config, parse};

fn config_of(text: &str) -> Config {
    match parse("postern.toml", text, &BTreeMap::new()) {
        Ok((config, _)) => config,
        Err(faults) => panic!("{}", faults.draw(false)),
    }
}

/// Every fault as `LINE PATH: MESSAGE; REMEDY`.
fn faults_of(text: &str) -> Vec<String> {
    let faults = parse("postern.toml", text, &BTreeMap::new()).expect_err("the text has faults");
    let told = faults.faults.iter().map(|fault| {
        let line = faults.position(fault).map_or(0, |position| position.line);
        format!("{line} {fault}; {}", fault.remedy)
    });
    told.collect()
}

#[test]
fn defaults_are_those_of_the_pure_directory() {
    let core = DirectorySettings::default().to_core();
    assert_eq!(core, DirectoryConfig::default());
    assert!(postern_core::registry::Directory::new(core, 1).is_ok());
}

#[test]
fn defaults_are_those_of_the_documents() {
    let settings = DirectorySettings::default();
    assert_eq!(settings.probe_interval, Duration::from_secs(30));
    assert_eq!(settings.probe_timeout, Duration::from_secs(5));
    assert_eq!(settings.failure_threshold, 3);
    assert_eq!(settings.recovery_threshold, 2);
    assert_eq!(settings.lease, Duration::from_secs(60));
    assert_eq!(settings.registration, RegistrationMode::Off);
}

#[test]
fn an_instance_becomes_an_entry() {
    let config = config_of(
        r#"
        [instances.fx-1]
        service = "vol-surface"
        version = "2.1"
        addresses = ["tcp://10.0.0.1:9090", "udp://10.0.0.1:9090"]
        params = { ccy = "USD", tenor = { years = 10 }, ratio = 0.5, live = true }
        vnets = ["trading"]
        permissions = ["trade"]
        weight = 7
        zone = "a"
        metadata = { track = "canary" }
        idempotent = ["get"]
        "#,
    );
    let entry = config.instances["fx-1"].entry("fx-1").expect("an entry");
    assert_eq!(entry.instance.as_str(), "fx-1");
    assert_eq!(entry.service, "vol-surface");
    assert_eq!(entry.version, Version::parse("2.1").ok());
    assert_eq!(entry.addresses.len(), 2);
    let years = Param::Map([("years".into(), Param::Number(Number::integer(10)))].into());
    assert_eq!(entry.params["tenor"], years);
    assert_eq!(
        entry.params["ratio"],
        Param::Number(Number::float(0.5).expect("finite"))
    );
    assert_eq!(entry.params["live"], Param::Bool(true));
    assert!(entry.vnets.contains("trading") && entry.permissions.contains("trade"));
    assert_eq!((entry.weight, entry.zone.as_deref()), (7, Some("a")));
    assert_eq!(entry.metadata["track"], "canary");
    assert!(entry.method("get").is_some_and(|method| method.idempotent));
}

#[test]
fn a_peer_is_read_and_its_token_is_hidden() {
    let config = config_of("[peers.west]\naddress = \"tcp://[::1]:9090\"\ntoken = \"hunter2\"\n");
    let peer = &config.peers["west"];
    let address = peer.address.as_ref().map(ToString::to_string);
    assert_eq!(address.as_deref(), Some("tcp://[::1]:9090"));
    assert!(peer.enabled && !format!("{peer:?}").contains("hunter2"));
}

#[test]
fn tells_every_fault_at_its_line() {
    let text = r#"
[directory]
registration = "all"
lease = "999ms"
entries-reserved = 10001

[peers.west]
token = "t"

[peers.east]
address = "http://east:80"

[instances.one]
addresses = ["tcp://h"]

[instances.two]
service = "s"
addresses = ["tcp://h:1", "tcp://h:2"]
"#;
    let told = faults_of(text);
    let expected = [
        "3 directory.registration: \"all\" is not known here",
        "4 directory.lease: \"999ms\" is below the limit of 1s",
        "5 directory.entries-reserved: 10001 is above directory.entries-max (10000)",
        "7 peers.west: the key \"address\" is missing",
        "11 peers.east.address: this gateway dials tcp, tls, udp, quic, ws, wss, unix, not http",
        "14 instances.one.addresses: `tcp://h` is not of the form scheme://host:port",
        "13 instances.one: the key \"service\" is missing",
        "18 instances.two.addresses: two addresses for tcp",
    ];
    for expected in expected {
        assert!(
            told.iter().any(|told| told.starts_with(expected)),
            "{expected}\n{told:#?}"
        );
    }
    assert_eq!(told.len(), expected.len(), "{told:#?}");
}

#[test]
fn free_tables_refuse_what_an_entry_cannot_hold() {
    let text = r#"
[instances.one]
service = "s"
addresses = ["tcp://h:1"]
params = { a = inf, b = 1979-05-27 }
metadata = { c = 1 }
"#;
    let told = faults_of(text);
    assert_eq!(told.len(), 3, "{told:#?}");
    assert!(
        told[0].contains("params.a: inf is not a finite number"),
        "{told:#?}"
    );
    assert!(
        told[1].contains("params.b: 1979-05-27 is not a finite number"),
        "{told:#?}"
    );
    assert!(told[2].contains("metadata.c: 1 is not a text"), "{told:#?}");
}

#[test]
fn the_bounds_of_an_entry_are_told_at_their_key() {
    let check = |line: &str, expected: &str| {
        let text =
            format!("[instances.one]\nservice = \"s\"\naddresses = [\"tcp://h:1\"]\n{line}\n");
        let told = faults_of(&text);
        assert!(
            told[0].starts_with(&format!("4 instances.one.{expected}")),
            "{told:#?}"
        );
    };
    let long = "v".repeat(entry::NAME_BYTES_MAX + 1);
    check(
        &format!("vnets = [\"{long}\"]"),
        "vnets: virtual network of 256 octets",
    );
    check(&format!("zone = \"{long}\""), "zone: zone of 256 octets");
    check(
        "weight = 10001",
        "weight: 10001 is above the limit of 10000",
    );
    check(
        "idempotent = [\"a\", \"a\"]",
        "idempotent: method `a` stands twice",
    );
    let deep = format!("params = {}1{}", "{ a = ".repeat(9), " }".repeat(9));
    check(&deep, "params: parameters are nested deeper than 8");
}

#[test]
fn an_instance_may_be_at_whatever_is_dialled() {
    let of =
        |addresses: &str| format!("[instances.one]\nservice = \"s\"\naddresses = [{addresses}]\n");
    for transport in dial::all() {
        let address = match transport.form() {
            AddressForm::Path => format!("\"{transport}:///run/s.sock\""),
            AddressForm::HostPort
            | AddressForm::HostOrPath
            | AddressForm::Url
            | AddressForm::Unaddressed => format!("\"{transport}://h:1\""),
        };
        let config = config_of(&of(&address));
        assert_eq!(config.instances["one"].addresses.len(), 1, "{address}");
    }
    let told = faults_of(&of("\"carrier://h:1\""));
    assert!(
        told.len() == 1 && told[0].contains("`carrier` is not one of"),
        "{told:#?}"
    );
}
