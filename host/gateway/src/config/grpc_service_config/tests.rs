//! Documents that mean the same here, and what is refused of others.

use super::*;
use crate::config::services::Service;

const PLACE: Provenance = Provenance::File(0..1);

/// What `document` makes of the service `user.UserService`.
fn read(document: &str) -> Service {
    let document = serde_json::from_str(document).expect("json");
    let node = translate("user.UserService", &document, &PLACE).expect("it means the same");
    let (mut service, mut reader) = (Service::default(), SectionReader::default());
    service.merge(&node, "services.user", None, &mut reader);
    assert_eq!(reader.faults, []);
    service
}

#[track_caller]
fn check_refused(document: &str, expected: &str) {
    let document = serde_json::from_str(document).expect("json");
    let refusals = translate("user.UserService", &document, &PLACE).expect_err("refused");
    let told: Vec<_> = refusals
        .iter()
        .map(|refusal| format!("{}: {}", refusal.part, refusal.message))
        .collect();
    assert!(told[0].starts_with(expected), "{told:#?}");
    assert_eq!(told.len(), 1, "{told:#?}");
}

/// A method configuration of one method, with `policy` in it.
fn of_method(policy: &str) -> String {
    let name = r#""name":[{"service":"user.UserService","method":"GetUser"}]"#;
    format!("{{\"methodConfig\":[{{{name},{policy}}}]}}")
}

const RETRY: &str = r#""retryPolicy":{"maxAttempts":4,"initialBackoff":"0.1s","maxBackoff":"1s",
    "backoffMultiplier":1.5,"retryableStatusCodes":["UNAVAILABLE",13]}"#;

#[test]
fn what_holds_for_the_service_becomes_its_keys() {
    let service = read(
        r#"{"methodConfig":[
            {"name":[{}],"timeout":"9s"},
            {"name":[{"service":"shop.Cart"}],"timeout":"7s"},
            {"name":[{"service":"user.UserService"}],"timeout":"1.5s","waitForReady":false,
             "maxRequestMessageBytes":1024,"maxResponseMessageBytes":"2048"}],
            "loadBalancingConfig":[{"xds":{}},{"round_robin":{}}],
            "healthCheckConfig":{"serviceName":"user"}}"#,
    );
    assert_eq!(
        service.timeout,
        Some(std::time::Duration::from_millis(1500))
    );
    assert_eq!(service.grpc.send_bytes_max.octets(), 1024);
    assert_eq!(service.grpc.receive_bytes_max.octets(), 2048);
    assert_eq!(service.grpc.health_service.as_deref(), Some("user"));
}

#[test]
fn a_retry_policy_of_methods_makes_them_repeatable() {
    let service = read(&of_method(RETRY));
    assert_eq!(service.idempotent, ["GetUser"]);
    let retry = &service.retry;
    let millis = |time: std::time::Duration| time.as_millis();
    assert_eq!(
        (
            retry.attempts,
            millis(retry.backoff_min),
            millis(retry.backoff_max)
        ),
        (4, 100, 1000)
    );
    assert!((retry.backoff_factor - 1.5).abs() < 1e-9);
    let kinds: Vec<_> = retry.kinds.iter().map(|kind| kind.0.name()).collect();
    assert_eq!(kinds, ["internal", "unavailable"]);
    let service = read(&of_method(&RETRY.replace(":4", ":9")));
    assert_eq!(service.retry.attempts, 5, "gRPC makes no more");
}

#[test]
fn a_hedging_policy_is_the_hedges_beside_the_first_try() {
    let policy = r#""hedgingPolicy":{"maxAttempts":3,"hedgingDelay":"0.05s","nonFatalStatusCodes":
        ["UNKNOWN","DEADLINE_EXCEEDED","RESOURCE_EXHAUSTED","INTERNAL","UNAVAILABLE","DATA_LOSS"]}"#;
    let service = read(&of_method(policy));
    assert_eq!(service.idempotent, ["GetUser"]);
    assert_eq!(service.hedge.max, 2);
    assert_eq!(
        service.hedge.delay,
        Some(std::time::Duration::from_millis(50))
    );
}

#[test]
fn what_would_mean_something_else_is_refused_by_its_name() {
    for (document, expected) in [
        (r#"[]"#.to_owned(), ": [] is no object"),
        (r#"{"a":1}"#.to_owned(), "a: unknown key"),
        (
            r#"{"retryThrottling":{"maxTokens":10,"tokenRatio":0.1}}"#.to_owned(),
            "retryThrottling: tokens by failure are not kept",
        ),
        (
            r#"{"loadBalancingPolicy":"pick_first"}"#.to_owned(),
            "loadBalancingPolicy: \"pick_first\" is not known",
        ),
        (
            of_method(r#""timeout":"1s""#),
            "methodConfig[0].timeout: it holds for some methods",
        ),
        (
            of_method(r#""waitForReady":true"#),
            "methodConfig[0].waitForReady: calls do not wait",
        ),
        (
            of_method(&RETRY.replace("UNAVAILABLE", "ABORTED")),
            "methodConfig[0].retryPolicy.retryableStatusCodes: aborted is the caller's",
        ),
        (
            of_method(&RETRY.replace("0.1s", "soon")),
            "methodConfig[0].retryPolicy.initialBackoff: \"soon\" is no duration",
        ),
        (
            of_method(&RETRY.replace("1.5", "0.5")),
            "methodConfig[0].retryPolicy.backoffMultiplier: 0.5 is no number from 1",
        ),
        (
            of_method(&RETRY.replace(":4", ":1")),
            "methodConfig[0].retryPolicy.maxAttempts: 1 is no number from 2",
        ),
    ] {
        check_refused(&document, expected);
    }
}

#[test]
fn policies_that_differ_by_method_are_refused() {
    let other = RETRY.replace(":4", ":3");
    let two = format!(
        r#"{{"methodConfig":[{{"name":[{{"service":"user.UserService","method":"GetUser"}}],{RETRY}}},
            {{"name":[{{"service":"user.UserService","method":"ListUsers"}}],{other}}}]}}"#
    );
    check_refused(
        &two,
        "methodConfig[1].retryPolicy: it differs from methodConfig[0].retryPolicy",
    );
    let exempt = format!(
        r#"{{"methodConfig":[{{"name":[{{}}],{RETRY}}},
            {{"name":[{{"service":"user.UserService","method":"Pay"}}]}}]}}"#
    );
    check_refused(
        &exempt,
        "methodConfig[0].retryPolicy: Pay is exempt from it",
    );
}
