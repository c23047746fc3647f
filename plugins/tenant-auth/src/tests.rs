//! Who is let in, and to what.

use std::time::Duration;

use postern_guest::{
    Authenticator, Authorizer, Credentials, Failure, Identity, Kind, Plugin, Result, fake::Host,
};

use super::TenantAuth;

fn host() -> Host {
    let host = Host::new();
    host.config("tenants", &tenants());
    host
}

/// The table as the manifest gives it, with the SHA-256 of the keys `k1` and `k2`.
fn tenants() -> String {
    use sha2::{Digest, Sha256};
    let hex = |key: &str| -> String {
        Sha256::digest(key)
            .iter()
            .map(|octet| format!("{octet:02x}"))
            .collect()
    };
    let (k1, k2, k3) = (hex("k1"), hex("k2"), hex("k3"));
    format!(
        r#"{{"acme":{{"keys":["{k1}","{k2}"],"services":["users","order*"]}},
            "idle":{{"keys":["{k3}"]}}}}"#
    )
}

fn authenticate(scheme: &str, token: &str) -> Result<Option<Identity>> {
    let mut plugin = TenantAuth::start().expect("a good config");
    plugin.authenticate(&Credentials::new(scheme, token))
}

fn authorize(service: &str) -> Result<()> {
    TenantAuth::start()
        .expect("a good config")
        .authorize(service, "Get")
}

#[test]
fn a_tenant_is_known_by_each_of_its_keys() {
    let _host = host();
    let acme = Identity::new("acme")
        .role("tenant")
        .claim("tenant", "acme")
        .valid(Duration::from_secs(60));
    for (scheme, token) in [
        ("api-key", "acme.k1"),
        ("api-key", "acme.k2"),
        ("bearer", "tenant:acme.k1"),
    ] {
        assert_eq!(
            authenticate(scheme, token),
            Ok(Some(acme.clone())),
            "{token}"
        );
    }
}

#[test]
fn a_wrong_key_is_refused_in_the_same_words_as_an_unknown_tenant() {
    let _host = host();
    let refused = [
        ("api-key", "acme.k3"),
        ("api-key", "acme."),
        ("bearer", "tenant:acme.k3"),
        ("bearer", "tenant:nobody.k1"),
        ("bearer", "tenant:acme"),
    ]
    .map(|(scheme, token)| authenticate(scheme, token).expect_err(token));
    for failure in refused {
        assert_eq!(
            failure,
            Failure::unauthenticated("the tenant's key is not valid")
        );
    }
}

#[test]
fn credentials_of_others_are_not_judged() {
    let _host = host();
    for (scheme, token) in [
        ("api-key", "nobody.k1"),
        ("api-key", "plain"),
        ("bearer", "eyJh.x.y"),
        ("basic", "acme.k1"),
    ] {
        assert_eq!(authenticate(scheme, token), Ok(None), "{token}");
    }
}

#[test]
fn role_and_time_are_the_manifests() {
    let host = host();
    host.config("role", "customer").config("valid-ms", "250");
    let identity = authenticate("api-key", "acme.k1").unwrap().expect("known");
    assert_eq!(identity.roles, ["customer"]);
    assert_eq!(identity.valid, Some(Duration::from_millis(250)));
}

#[test]
fn a_tenant_calls_the_services_of_its_list_only() {
    let host = host();
    host.principal("acme", &["tenant"]).claim("tenant", "acme");
    assert_eq!([authorize("users"), authorize("orders")], [Ok(()), Ok(())]);
    let failure = authorize("payroll").unwrap_err();
    assert_eq!(failure.kind, Kind::PermissionDenied);
    assert_eq!(
        failure.message,
        "tenant `acme` may not call service `payroll`"
    );
    assert!(authorize("users2").is_err());
}

#[test]
fn a_tenant_without_a_list_or_without_an_entry_calls_nothing() {
    let host = host();
    host.claim("tenant", "idle");
    assert!(authorize("users").is_err());
    host.claim("tenant", "gone");
    assert!(authorize("users").is_err());
}

#[test]
fn who_is_no_tenant_is_not_judged() {
    let host = host();
    assert_eq!(authorize("payroll"), Ok(()));
    host.principal("ada", &["admin"]);
    assert_eq!(authorize("payroll"), Ok(()));
}

#[test]
fn a_bad_table_keeps_it_from_starting() {
    let host = Host::new();
    let refused = |tenants: &str| {
        host.config("tenants", tenants);
        TenantAuth::start().err().expect("refused").message
    };
    assert_eq!(
        refused(r#"{"acme":{"keys":["k1"]}}"#),
        "tenant `acme`: a key is not the SHA-256 of 64 hex digits"
    );
    assert_eq!(
        refused(r#"{"a.b":{"keys":[]}}"#),
        "tenant `a.b`: a name has no dot and is not empty"
    );
    assert!(refused(r#"{"acme":{"key":"x"}}"#).contains("unknown field"));
}
