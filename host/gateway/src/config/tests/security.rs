//! Issuers, keys, rules, limits and sharing: what must be written, and what contradicts itself.

use super::*;

#[test]
fn every_key_of_an_issuer_is_read() {
    let text = r#"
        [auth]
        authentication = "required"
        off = ["health/*"]
        tokens-max = 5
        [auth.jwt.main]
        issuer = "https://id.example.org"
        audiences = ["a", "b"]
        algorithms = ["ES256", "EdDSA"]
        jwks-url = "https://id.example.org/keys"
        jwks-refresh = "1m"
        leeway = "0s"
        role-claims = ["groups"]
        [auth.api-keys.keys.ann]
        hash = "sha256:0000000000000000000000000000000000000000000000000000000000000001"
        expires = 2027-01-31T00:00:00Z
    "#;
    let auth = config_of(text, &[]).auth;
    assert_eq!(auth.authentication, AuthenticationMode::Required);
    assert!(auth.off[0].matches("health", "Check"));
    let jwt = &auth.jwt["main"];
    assert_eq!(jwt.algorithms, [Algorithm::Es256, Algorithm::EdDsa]);
    assert_eq!(jwt.jwks_refresh, Duration::from_secs(60));
    assert_eq!(jwt.role_claims, ["groups"]);
    let key = &auth.api_keys.keys["ann"];
    assert_eq!(key.hash.map(|hash| hash.0[31]), Some(1));
    assert_eq!(key.expires, Some(Timestamp(1_801_353_600)));
}

#[test]
fn an_issuer_says_once_how_its_tokens_are_signed() {
    check(
        "[auth.jwt.a]\nissuer = \"x\"",
        1,
        "auth.jwt.a",
        "how its tokens are signed",
    );
    check(
        "[auth.jwt.a]\nsecret = \"s\"\njwks-file = \"f\"",
        3,
        "auth.jwt.a.jwks-file",
        "secret already says",
    );
    check(
        "[auth.jwt.a]\nsecret = \"s\"\nalgorithms = [\"RS256\"]",
        3,
        "auth.jwt.a.algorithms",
        "RS256 needs public keys",
    );
    check(
        "[auth.jwt.a]\njwks-file = \"f\"\nalgorithms = [\"HS256\"]",
        3,
        "auth.jwt.a.algorithms",
        "HS256 needs a secret",
    );
    check(
        "[auth.jwt.a]\njwks-file = \"f\"\nalgorithms = [\"none\"]",
        3,
        "auth.jwt.a.algorithms",
        "\"none\" is not known here",
    );
    check(
        "[auth.jwt.a]\nsecret = \"s\"\njwks-refresh = \"1m\"",
        3,
        "auth.jwt.a.jwks-refresh",
        "only an issuer with jwks-url",
    );
    let twice = "[auth.jwt.a]\nsecret = \"s\"\nissuer = \"x\"\n[auth.jwt.b]\nsecret = \"t\"\nissuer = \"x\"";
    check(twice, 6, "auth.jwt.b.issuer", "auth.jwt.a too");
}

#[test]
fn keys_are_fetched_in_secret_unless_that_is_said() {
    let url = "[auth.jwt.a]\njwks-url = \"http://id.example.org/keys\"";
    check(url, 2, "auth.jwt.a.jwks-url", "is not https");
    config_of(&format!("{url}\njwks-allow-http = true"), &[]);
    check(
        "[auth.jwt.a]\njwks-url = \"id.example.org\"",
        2,
        "auth.jwt.a.jwks-url",
        "not an address",
    );
}

#[test]
fn a_caller_over_a_unix_socket_is_somebody() {
    check(
        "[auth.unix.backup]\nroles = [\"reader\"]",
        1,
        "auth.unix.backup",
        "it names nobody; add users = [\"NAME\"] or groups = [\"NAME\"]",
    );
}

#[test]
fn a_caller_with_a_certificate_is_somebody_and_is_asked_for_it() {
    let asking = "[listeners.vstp.tls]\ncertificate-file = \"a\"\nkey-file = \"a\"\n\
        client-certificates = \"required\"\nclient-ca-files = [\"a\"]\n";
    let table = "auth.certificates.reports";
    check(
        &format!("{asking}[{table}]\nroles = [\"reader\"]"),
        6,
        table,
        "it names nobody; add names, subjects or fingerprints",
    );
    check(
        &format!("[{table}]\nnames = [\"DNS:a\"]"),
        1,
        table,
        "no listener asks for certificates",
    );
    check(
        &format!("{asking}[{table}]\nfingerprints = [\"AB\"]"),
        7,
        "auth.certificates.reports.fingerprints",
        "\"AB\" is not 64 hexadecimal digits in lower case",
    );
}

#[test]
fn an_api_key_is_written_as_its_hash() {
    check(
        "[auth.api-keys.keys.ann]\n",
        1,
        "auth.api-keys.keys.ann",
        "\"hash\" is missing",
    );
    let text = "[auth.api-keys.keys.ann]\nhash = \"hunter2\"";
    check(
        text,
        2,
        "auth.api-keys.keys.ann.hash",
        "64 hexadecimal digits",
    );
    let faults = faults_of(text, &[]);
    let told: Vec<_> = faults.faults.iter().map(ToString::to_string).collect();
    assert!(!told.join("").contains("hunter2"), "{told:?}");
    check(
        "[auth.api-keys]\nheader = \"a b\"",
        2,
        "auth.api-keys.header",
        "not a header name",
    );
}

#[test]
fn secrets_and_hashes_are_not_shown() {
    let digits = "ab".repeat(32);
    let text = format!(
        "[auth.jwt.a]\nsecret = \"hunter2\"\n[auth.api-keys.keys.ann]\nhash = \"sha256:{digits}\""
    );
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("postern.toml");
    std::fs::write(&file, text).expect("written");
    let loaded = load(&ConfigSource {
        file: Some(file),
        environment: variables(&[]),
    });
    let shown = loaded.expect("valid").show();
    assert!(
        shown.contains("[auth.jwt.a]") && shown.contains("secret = \"(hidden)\""),
        "{shown}"
    );
    assert!(
        !shown.contains("hunter2") && !shown.contains(&digits),
        "{shown}"
    );
}

#[test]
fn a_limit_says_its_rate_and_what_shares_it() {
    check(
        "[limits.a]\nby = \"peer\"",
        1,
        "limits.a",
        "\"rate\" is missing",
    );
    check(
        "[limits.a]\nrate = 0",
        2,
        "limits.a.rate",
        "refuses every call",
    );
    check(
        "[limits.a]\nrate = 1\nby = \"header\"",
        1,
        "limits.a",
        "\"header\" is missing",
    );
    check(
        "[limits.a]\nrate = 1\nheader = \"x\"",
        3,
        "limits.a.header",
        "by \"peer\" looks at no header",
    );
    check(
        "[limits.a]\nrate = 1\nburst = 0",
        3,
        "limits.a.burst",
        "below the limit of 1",
    );
    check(
        "[limits.a]\nrate = 1\nby = \"header\"\nheader = \"a b\"",
        4,
        "limits.a.header",
        "not a header name",
    );
    config_of("[limits.a]\nrate = 1\nburst = 1", &[]);
}

#[test]
fn header_rules_name_headers_and_variables_that_exist() {
    check(
        "[headers.a.request]\nremove = [\"a b\"]",
        2,
        "headers.a.request.remove",
        "not a header name",
    );
    check(
        "[headers.a.request.set]\nx = \"{user}\"",
        1,
        "headers.a.request.set",
        "there is no variable {user}",
    );
    check(
        "[headers.a.response.rename]\nx = \"a b\"",
        1,
        "headers.a.response.rename",
        "not a header name",
    );
}

#[test]
fn sharing_is_for_http_and_for_origins_that_exist() {
    check(
        "[listeners.http.cors]\norigins = [\"example.org\"]",
        2,
        "listeners.http.cors.origins",
        "\"example.org\" is not an origin",
    );
    check(
        "[listeners.http.cors]\norigins = [\"*\"]\ncredentials = true",
        2,
        "listeners.http.cors.origins",
        "never shared with every origin",
    );
    check(
        "[listeners.vstp.cors]\norigins = [\"*\"]",
        2,
        "listeners.vstp.cors.origins",
        "only a listener that speaks http",
    );
    let config = config_of("[listeners.http.cors]\norigins = [\"*\"]", &[]);
    assert!(
        config.listeners["http"]
            .cors
            .sharing()
            .expect("legal")
            .is_some()
    );
    assert!(Cors::default().sharing().expect("legal").is_none());
}

#[test]
fn the_environment_makes_tables_of_any_name() {
    let variables = [
        ("POSTERN_AUTH_JWT_MAIN_SITE_SECRET", "from the environment"),
        ("POSTERN_AUTH_JWT_MAIN_SITE_JWKS_ALLOW_HTTP", "false"),
        ("POSTERN_AUTH_REQUIRED", "users/*, echo"),
        ("POSTERN_LIMITS_EACH_RATE", "5"),
        ("POSTERN_AUTHORIZATION_RULES_A_ROLES", "x,y"),
        ("POSTERN_HEADERS_A_REQUEST_REMOVE", "x-internal-*"),
        ("POSTERN_LISTENERS_HTTP_CORS_ORIGINS", "https://example.org"),
    ];
    let faults = faults_of("", &variables);
    assert_eq!(faults.faults.len(), 1, "{faults}");
    assert_eq!(faults.faults[0].path, "auth.jwt.main-site.jwks-allow-http");
    let variables: Vec<_> = variables
        .into_iter()
        .filter(|(name, _)| !name.ends_with("HTTP"))
        .collect();
    let config = config_of("", &variables);
    let secret = config.auth.jwt["main-site"].secret.as_ref();
    assert_eq!(secret.map(Secret::expose), Some("from the environment"));
    assert_eq!(config.auth.required.len(), 2);
    assert_eq!(config.limits["each"].rate, 5);
    assert_eq!(config.authorization.rules["a"].roles, ["x", "y"]);
    assert_eq!(config.headers["a"].request.remove, ["x-internal-*"]);
    assert_eq!(
        config.listeners["http"].cors.origins,
        ["https://example.org"]
    );
}
