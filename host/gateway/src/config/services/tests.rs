//! The table in `host/docs/resilience.md`, the layers, and what contradicts.

use std::{collections::BTreeMap, fs, path::Path};

use super::*;
use crate::config::{Config, Faults, Manifest, environment::leaf_paths, parse};

fn read(text: &str) -> Result<ServiceTables, Faults> {
    parse("f", text, &BTreeMap::new()).map(|(config, _)| config.services)
}

/// The columns of each row of the table, without their backticks.
fn rows() -> Vec<Vec<String>> {
    let table = include_str!("../../../../docs/resilience.md");
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let columns = |row: &str| {
        let columns = row.trim_matches('|').split(" |").map(str::trim);
        columns.map(str::to_owned).collect::<Vec<_>>()
    };
    let rows: Vec<_> = rows.map(columns).collect();
    assert!(rows.len() > 50, "{}", rows.len());
    // The second table has no option of the documents.
    let key_first = |row: Vec<String>| match row.len() {
        5 => row[1..].to_vec(),
        _ => row,
    };
    rows.into_iter().map(key_first).collect()
}

fn bare(column: &str) -> &str {
    column.trim_matches('`')
}

#[test]
fn every_key_of_the_table_is_there_with_its_default() {
    let config = Config::default();
    let paths = leaf_paths(&config.keys(), "");
    let sample = crate::config::sample();
    let has_directory = paths.iter().any(|path| path.starts_with("directory."));
    for row in rows() {
        let key = bare(&row[0]);
        if key.starts_with("directory.") && !has_directory {
            continue;
        }
        let path = match key.starts_with("pool.") || key.starts_with("directory.") {
            true => key.to_owned(),
            false => format!("services.default.{key}"),
        };
        assert!(paths.contains(&path), "{path}");
        let variable = crate::config::environment::variable(&path);
        let (_, after) = sample.split_once(&format!("# {variable}")).expect(&path);
        let line = after.lines().nth(1).expect("a line");
        let name = key.rsplit('.').next().unwrap_or(key);
        let expected = match bare(&row[1]) {
            "" => format!("# {name} = "),
            default => format!("{name} = {default}"),
        };
        assert!(
            line.starts_with(&expected),
            "{path}: {line} is not {expected}"
        );
    }
}

#[test]
fn every_key_of_a_service_is_in_the_table() {
    let rows = rows();
    for path in leaf_paths(&Service::default().keys(), "") {
        assert!(rows.iter().any(|row| bare(&row[0]) == path), "{path}");
    }
}

#[test]
fn every_test_of_the_table_is_there() {
    let host = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut sources = String::new();
    for folder in [
        "core/src",
        "net/src",
        "net/tests",
        "gateway/src",
        "../tests/gateway",
    ] {
        gather(&host.join(folder), &mut sources);
    }
    for row in rows() {
        let test = bare(&row[3]);
        assert!(sources.contains(&format!("fn {test}(")), "{test}");
    }
}

fn gather(folder: &Path, sources: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            gather(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push_str(&fs::read_to_string(&path).expect("a source"));
        }
    }
}

#[test]
fn the_defaults_are_those_of_the_clusters() {
    let policy = Service::default().policy().expect("they work");
    assert_eq!(policy, crate::cluster::ServicePolicy::default());
}

#[test]
fn a_service_has_what_it_says_and_else_what_holds_for_all() {
    let text = "[services.users]\nretry.attempts = 5\n[services.default]\nretry.attempts = 2\nretry.budget-min = 7\n\
                [services.\"shop.Cart\"]\ntimeout = \"2s\"";
    let services = read(text).expect("good");
    let own: BTreeMap<_, _> = services.own().collect();
    let found = |name: &str| (own[name].retry.attempts, own[name].retry.budget_min);
    assert_eq!((found("users"), found("shop.Cart")), ((5, 7), (2, 7)));
    assert_eq!(own["shop.Cart"].timeout, Some(Duration::from_secs(2)));
    assert_eq!(services.of("other", None).retry.attempts, 2);
}

#[test]
fn a_manifest_stands_between_the_default_and_the_service() {
    let manifest = "[policy]\nidempotent = [\"Get*\"]\ntimeout = \"3s\"\nretry.attempts = 4";
    let hints = Manifest::parse("m", manifest, &Config::default())
        .expect("good")
        .policy;
    let text = "[services.default]\ntimeout = \"9s\"\n[services.users]\nretry.attempts = 1";
    let services = read(text).expect("good");
    let users = services.of("users", Some(&hints));
    assert_eq!(
        (users.retry.attempts, users.timeout),
        (1, Some(Duration::from_secs(3)))
    );
    assert_eq!(services.of("other", Some(&hints)).retry.attempts, 4);
    let all = services.policies(&[("other".into(), hints)].into(), None);
    assert!(all.of(&"other".into()).idempotent[0].matches("GetUser"));
    assert!(all.of(&"users".into()).idempotent.is_empty());
}

#[test]
fn reads_the_words_of_the_documents() {
    let text = "[services.default]\nbalancer = \"LEAST_CONNECTIONS\"\nretry.kinds = [\"connection_error\", \"timeout\"]";
    let service = read(text).expect("good").default;
    let policy = service.policy().expect("it works");
    assert_eq!(
        policy.plan.policy,
        postern_core::balance::Policy::LeastConnections
    );
    let kinds = policy.retry.config().kinds;
    use postern_core::Kind;
    assert!(kinds.contains(Kind::Unavailable) && kinds.contains(Kind::DeadlineExceeded));
    assert!(!kinds.contains(Kind::ResourceExhausted));
}

#[test]
fn reads_every_section() {
    let text = r#"
        [services.users]
        balancer = "plugin:geo"
        fallback-balancer = "p2c-ewma"
        hash-on = "header:x-user"
        weights = { a = 3, b = 0 }
        split = { "1" = 90, "2" = 10 }
        subset-headers = { region = "x-region" }
        slow-start = "30s"
        slow-start-aggression = 2
        [services.users.outlier]
        success-rate-factor = 0
        latency-factor = 2.5
        latency-floor = "1ms"
        minimum-hosts = 3
        request-volume = 10
        [services.users.concurrency]
        limit = "adaptive"
        [services.users.hedge]
        percentile = 0.9
        [services.users.fallback]
        reply = "[]"
    "#;
    let services = read(text).expect("good");
    let policies = services.policies(&BTreeMap::new(), None);
    let policy = policies.of(&"users".into());
    assert_eq!(policy.component.as_deref(), Some("geo"));
    assert_eq!(policy.slow_start.window, Duration::from_secs(30));
    let outlier = policy.outlier.expect("on");
    assert_eq!(
        (outlier.stdev_factor, outlier.latency_factor),
        (None, Some(2.5))
    );
    assert_eq!((outlier.minimum_hosts, outlier.request_volume), (3, 10));
    assert!(policy.concurrency.is_some() && policy.hedge.is_some() && policy.fallback.is_some());
    assert_eq!(policies.of(&"others".into()).component, None);
}

#[test]
fn what_contradicts_is_told_at_its_key() {
    let check = |keys: &str, key: &str| {
        let faults = read(&format!("[services.users]\n{keys}")).expect_err(keys);
        let paths: Vec<_> = faults
            .faults
            .iter()
            .map(|fault| fault.path.as_str())
            .collect();
        assert_eq!(paths, [format!("services.users.{key}")], "{keys}");
    };
    check("load-factor = 99", "load-factor");
    check("split = { \"1\" = 0 }", "split");
    check(
        "outlier.max-ejection-time = \"29s\"",
        "outlier.max-ejection-time",
    );
    check("retry.backoff-max = \"24ms\"", "retry.backoff-max");
    let adaptive = "concurrency = { limit = \"adaptive\", adaptive-min = 9, adaptive-max = 8 }";
    check(adaptive, "concurrency.adaptive-max");
    check(
        "hedge = { delay = \"1ms\", percentile = 0.9 }",
        "hedge.delay",
    );
    check("fallback.reply = \"{\"", "fallback.reply");
    check(
        "fallback = { reply = \"1\", service = \"x\" }",
        "fallback.reply",
    );
    for good in [
        "load-factor = 100",
        "load-factor = 0",
        "retry.backoff-max = \"25ms\"",
    ] {
        read(&format!("[services.users]\n{good}")).expect(good);
    }
}

#[test]
fn a_service_of_the_environment_alone() {
    let environment = [(
        "POSTERN_SERVICES_USERS_RETRY_ATTEMPTS".to_owned(),
        "7".to_owned(),
    )];
    let (config, _) = parse("f", "", &environment.into()).expect("good");
    assert_eq!(config.services.of("users", None).retry.attempts, 7);
    assert_eq!(config.services.default.retry.attempts, 3);
}
