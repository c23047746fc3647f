//! Faults and layers of whole texts.

mod acme;
mod environment;
mod security;
mod tls;

use std::time::Duration;

use postern_core::Transport;

use super::*;

fn faults_of(text: &str, environment: &[(&str, &str)]) -> Faults {
    parse("postern.toml", text, &variables(environment)).expect_err("the text has faults")
}

fn config_of(text: &str, environment: &[(&str, &str)]) -> Config {
    match parse("postern.toml", text, &variables(environment)) {
        Ok((config, _)) => config,
        Err(faults) => panic!("{}", faults.draw(false)),
    }
}

/// One fault: its line, its key and a part of its message or remedy.
#[track_caller]
fn check(text: &str, line: usize, path: &str, told: &str) {
    let faults = faults_of(text, &[]);
    let found: Vec<_> = faults.faults.iter().map(ToString::to_string).collect();
    let [fault] = faults.faults.as_slice() else {
        panic!("expected one fault: {found:?}")
    };
    assert_eq!(fault.path, path);
    assert_eq!(
        faults.position(fault).map(|position| position.line),
        Some(line),
        "{fault}"
    );
    let whole = format!("{}; {}", fault.message, fault.remedy);
    assert!(whole.contains(told), "{whole:?} does not say {told:?}");
}

#[test]
fn nothing_written_is_the_default() {
    assert_eq!(config_of("", &[]), Config::default());
}

#[test]
fn a_file_with_ten_mistakes_shows_ten_at_their_lines() {
    let faults = faults_of(TEN_MISTAKES, &[]);
    let position = |fault| faults.position(fault).map(|position| position.line);
    let lines: Vec<_> = faults.faults.iter().filter_map(position).collect();
    assert_eq!(
        lines,
        [1, 4, 5, 6, 7, 10, 12, 17, 20, 24],
        "{}",
        faults.draw(false)
    );
    let drawing = faults.draw(false);
    for line in lines {
        assert!(
            drawing.contains(&format!("postern.toml:{line}:")),
            "line {line} in {drawing}"
        );
    }
    assert!(drawing.contains("10 faults in postern.toml"));
    assert!(drawing.contains("did you mean \"timeout\"?"));
}

const TEN_MISTAKES: &str = r#"data_dir = "state"

[listeners.vstp]
address = "127.0.0.1"
idle-timeout = "fast"
transports = ["tcp", "sctp"]
connections-max = 0

[listeners.vstp.udp]
retries = "three"

[listeners.edge]
protocol = "http"

[listeners.http]
address = "127.0.0.1:8080"
default-service = "users"

[calls]
timout = "5s"
timeout-max = "5m"

[plugins.limits]
memory = "64Mb"
"#;

#[test]
fn each_kind_of_mistake_is_told_once() {
    check(
        "[calls]\ntimeout = 30",
        2,
        "calls.timeout",
        "30 has no unit",
    );
    check(
        "[calls]\ntimeout = \"25h\"",
        2,
        "calls.timeout",
        "above the limit of 24h",
    );
    check("calls = 5", 1, "calls", "5 is not a table");
    check(
        "[calls]\ndepth-max = 65",
        2,
        "calls.depth-max",
        "above the limit of 64",
    );
    check(
        "[calls]\ndepth-max = 300",
        2,
        "calls.depth-max",
        "300 is not a whole number",
    );
    check(
        "[calls]\ndepth_max = 3",
        2,
        "calls.depth_max",
        "did you mean \"depth-max\"?",
    );
    check("[cals]\n", 1, "cals", "did you mean \"calls\"?");
    check(
        "[log]\nlevel = \"loud\"",
        2,
        "log.level",
        "\"loud\" names no level",
    );
    check(
        "[log]\nformat = \"xml\"",
        2,
        "log.format",
        "\"auto\", \"text\", \"json\"",
    );
    check(
        "[admin]\nenabled = \"yes\"",
        2,
        "admin.enabled",
        "true or false",
    );
    check(
        "[listeners.Edge]\n",
        1,
        "listeners.Edge",
        "lower-case letters",
    );
    check(
        "[listeners.vstp]\ntransports = []",
        2,
        "listeners.vstp.transports",
        "no transport",
    );
}

#[test]
fn bounds_hold_at_their_edge() {
    let depth = |n: u32| parse("f", &format!("[calls]\ndepth-max = {n}"), &variables(&[]));
    assert!(depth(1).is_ok() && depth(64).is_ok());
    assert!(depth(0).is_err() && depth(65).is_err());
    let frame = |size: &str| {
        let text = format!("[listeners.vstp.limits]\nframe-bytes-max = {size}");
        parse("f", &text, &variables(&[]))
    };
    assert!(frame("1024").is_ok() && frame("\"1GiB\"").is_ok());
    assert!(frame("1023").is_err() && frame("1073741825").is_err());
}

#[test]
fn keys_that_contradict_each_other_are_told_at_the_one_written() {
    check(
        "[calls]\ntimeout = \"10m\"",
        2,
        "calls.timeout",
        "above calls.timeout-max (5m)",
    );
    check(
        "[calls]\ntimeout-max = \"5s\"",
        2,
        "calls.timeout-max",
        "below calls.timeout (30s)",
    );
    let text = "[listeners.vstp]\nkeep-alive = \"6m\"";
    check(text, 2, "listeners.vstp.keep-alive", "idle-timeout");
}

#[test]
fn two_doors_at_one_address_are_refused() {
    let http = "[listeners.http]\naddress = \"127.0.0.1:9900\"";
    check(http, 2, "listeners.http.address", "taken by admin.address");
    let any = "[listeners.http]\naddress = \"0.0.0.0:9090\"\ninsecure = true";
    check(
        any,
        2,
        "listeners.http.address",
        "taken by listeners.vstp.address",
    );
    config_of(
        "[listeners.http]\naddress = \"127.0.0.1:9090\"\nenabled = false",
        &[],
    );
    // VSTP over UDP alone and HTTP share a port number.
    let shared = "[listeners.vstp]\ntransports = [\"udp\"]\naddress = \"127.0.0.1:8080\"";
    config_of(shared, &[]);
    config_of(
        "[listeners.http]\naddress = \"[::1]:0\"\n[admin]\naddress = \"[::1]:0\"",
        &[],
    );
}

#[test]
fn text_that_is_no_toml_is_told_together_with_the_rest() {
    let faults = faults_of("[calls]\ntimeout = = 5\n[log]\nlevel = \"loud\"\n", &[]);
    let lines: Vec<_> = faults
        .faults
        .iter()
        .filter_map(|f| faults.position(f))
        .collect();
    assert!(
        lines.iter().any(|p| p.line == 2) && lines.iter().any(|p| p.line == 4),
        "{faults}"
    );
}

#[test]
fn the_environment_wins_over_the_file() {
    let file = "[calls]\ntimeout = \"5s\"";
    let config = config_of(file, &[("POSTERN_CALLS_TIMEOUT", "7s")]);
    assert_eq!(config.calls.timeout, Duration::from_secs(7));
    let config = config_of(
        file,
        &[
            ("POSTERN_LISTENERS_VSTP_ADDRESS", "127.0.0.1:7000"),
            ("POSTERN_LISTENERS_VSTP_TRANSPORTS", "udp"),
            ("POSTERN_LISTENERS_VSTP_UDP_RETRIES", "5"),
            ("POSTERN_PLUGINS_LIMITS_MEMORY", "1MiB"),
        ],
    );
    assert_eq!(config.calls.timeout, Duration::from_secs(5));
    let vstp = &config.listeners["vstp"];
    assert_eq!(vstp.address.to_string(), "127.0.0.1:7000");
    assert_eq!(vstp.transports, [ListenerTransport(Transport::Udp)]);
    assert_eq!(vstp.udp.retries, 5);
    assert_eq!(config.plugins.limits.memory, Size::mib(1));
}

#[test]
fn the_environment_opens_a_listener() {
    let variables = [
        ("POSTERN_LISTENERS_EDGE_TWO_PROTOCOL", "http"),
        ("POSTERN_LISTENERS_EDGE_TWO_ADDRESS", "127.0.0.1:7001"),
        ("POSTERN_LISTENERS_EDGE_TWO_DRAIN_TIMEOUT", "1s"),
    ];
    let config = config_of("", &variables);
    assert_eq!(config.listeners["edge-two"].protocol, Protocol::Http);
    assert_eq!(
        config.listeners["edge-two"].drain_timeout,
        Duration::from_secs(1)
    );
}

#[test]
fn a_fault_in_the_environment_names_its_variable() {
    let faults = faults_of(
        "",
        &[
            ("POSTERN_CALLS_TIMEOUT", "soon"),
            ("POSTERN_CALS_TIMEOUT", "1s"),
        ],
    );
    let told: Vec<_> = faults.faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "POSTERN_CALLS_TIMEOUT: \"soon\" is not a duration",
            "POSTERN_CALS_TIMEOUT: no key has this variable",
        ]
    );
    assert_eq!(
        faults.faults[1].remedy,
        "did you mean POSTERN_CALLS_TIMEOUT?"
    );
}

#[test]
fn variables_of_others_are_left_alone() {
    let variables = [
        ("POSTERN_SERVICE_HOST", "10.0.0.1"),
        ("POSTERN_PORT", "tcp://10.0.0.1:80"),
        ("HOME", "/"),
    ];
    assert_eq!(config_of("", &variables), Config::default());
}

#[test]
fn a_missing_file_is_the_default_only_when_none_was_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("absent.toml");
    let source = ConfigSource {
        file: Some(file),
        environment: variables(&[]),
    };
    assert!(matches!(load(&source), Err(LoadError::Unreadable { .. })));
}

#[test]
fn another_text_meets_the_same_environment() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("postern.toml");
    std::fs::write(&file, "[calls]\ndepth-max = 2").expect("written");
    let loaded = load(&ConfigSource {
        file: Some(file.clone()),
        environment: variables(&[("POSTERN_CALLS_TIMEOUT", "7s")]),
    });
    let loaded = loaded.expect("valid");
    let after = loaded.with_text("[calls]\ndepth-max = 3".to_owned());
    let after = after.expect("valid");
    assert_eq!(after.config.calls.depth_max, 3);
    assert_eq!(after.config.calls.timeout, Duration::from_secs(7));
    assert_eq!(after.file.as_ref(), Some(&file));
    let refused = loaded.with_text("[calls]\ndepth-max = 0".to_owned());
    assert!(matches!(refused, Err(LoadError::Faults(_))));
}

fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}
