//! The guard whole: configurations as they are written, keys made for the occasion.

mod fetched;
mod listeners;
mod trust;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use postern_core::{Call, Kind, Principal, Retry, json};
use postern_system::clock;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    forge::{Forge, claims, set_of},
    *,
};
use crate::{config, sources::files::FileWatch};

/// A second in 2027.
const NOW: u64 = 1_800_000_000;

fn at(unix: u64) -> Moment {
    Moment {
        instant: clock::now(),
        unix,
    }
}

fn guard(text: &str) -> Guard {
    open(text, None).unwrap_or_else(|error| panic!("{error}"))
}

fn open(text: &str, before: Option<&Guard>) -> Result<Guard, GuardError> {
    let (config, _) = config::parse("t", text, &BTreeMap::new())?;
    let failures = Arc::new(Failures::new(&config.auth, clock::now()));
    Guard::open(&config, before, failures, clock::now())
}

fn bearer(token: &str) -> Call {
    with("authorization", &format!("Bearer {token}"))
}

fn with(name: &str, value: &str) -> Call {
    let mut call = Call::unary("users", "Get", "");
    call.headers.push(name, value).expect("fits");
    call
}

fn identify(guard: &Guard, call: &mut Call) -> Result<Option<Arc<Principal>>, Error> {
    match guard.identify(call, at(NOW))? {
        Identified::Settled => guard.require(call)?,
        Identified::Waiting(_) => panic!("these keys are not fetched"),
    }
    Ok(call.context.principal.clone())
}

/// Expects a token to be refused as `unauthenticated`, and the message to tell why.
#[track_caller]
fn refuses(guard: &Guard, token: &str, told: &str) {
    let error = identify(guard, &mut bearer(token)).expect_err("refused");
    assert_eq!(error.kind, Kind::Unauthenticated);
    assert!(
        error.message.contains(told),
        "{} says not {told}",
        error.message
    );
    let challenge =
        json::member(&error.details.expect("details"), "challenge").and_then(json::string);
    let challenge = challenge.expect("a challenge");
    assert!(
        challenge.starts_with("Bearer error=\"invalid_token\""),
        "{challenge}"
    );
}

fn issuer(source: &str) -> String {
    format!(
        "[auth.jwt.id]\nissuer = \"https://id.example.org\"\naudiences = [\"postern\"]\n{source}\n"
    )
}

fn changed(name: &str, value: Value) -> Value {
    let mut claims = claims(NOW);
    claims[name] = value;
    claims
}

/// A file of a test, as TOML writes its path.
fn file(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("written");
    format!("{:?}", path.display().to_string())
}

const SECRET: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn a_good_token_of_each_algorithm_says_who_calls() {
    let folder = tempfile::tempdir().expect("a folder");
    let forges = [Forge::rs256("r"), Forge::es256("e"), Forge::ed("d")];
    let set = file(folder.path(), "set.json", &set_of(&forges));
    let of_set = guard(&issuer(&format!("jwks-file = {set}")));
    let mut cases = Vec::new();
    for forge in &forges {
        let pem = file(folder.path(), "key.pem", forge.public_pem());
        cases.push((forge, guard(&issuer(&format!("public-key-file = {pem}")))));
    }
    let secret = Forge::hs256(SECRET.as_bytes());
    cases.push((&secret, guard(&issuer(&format!("secret = \"{SECRET}\"")))));
    let path = file(folder.path(), "secret", &format!("{SECRET}\n"));
    cases.push((&secret, guard(&issuer(&format!("secret-file = {path}")))));
    let of_set = forges.iter().map(|forge| (forge, &of_set));
    for (forge, guard) in cases
        .iter()
        .map(|(forge, guard)| (*forge, guard))
        .chain(of_set)
    {
        let token = forge.sign(&claims(NOW));
        let found = identify(guard, &mut bearer(&token)).expect("good");
        let principal = found.expect("somebody");
        assert_eq!(principal.name, "ann");
        assert_eq!(principal.roles, ["user", "admin"]);
    }
}

#[test]
fn a_token_that_is_not_good_is_refused_with_its_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let forge = Forge::ed("a");
    let set = file(
        folder.path(),
        "set.json",
        &set_of(std::slice::from_ref(&forge)),
    );
    let guard = guard(&issuer(&format!("jwks-file = {set}")));
    refuses(
        &guard,
        &forge.sign(&changed("exp", json!(NOW - 60))),
        "expired 60 s ago",
    );
    refuses(
        &guard,
        &forge.sign(&changed("nbf", json!(NOW + 60))),
        "good only in 60 s",
    );
    refuses(
        &guard,
        &forge.sign(&changed("aud", json!("other"))),
        "for another audience",
    );
    let foreign = forge.sign(&changed("iss", json!("https://evil \"x\"")));
    refuses(&guard, &foreign, "is not known");
    refuses(
        &guard,
        &Forge::ed("a").sign(&claims(NOW)),
        "signature is wrong",
    );
    refuses(
        &guard,
        &Forge::ed("b").sign(&claims(NOW)),
        "key \"b\" is not known",
    );
    refuses(&guard, "a.b.c", "not a signed token");
    // A payload that was changed after it was signed.
    let good = forge.sign(&claims(NOW));
    let other = forge.sign(&changed("sub", json!("root")));
    let (head, rest) = good.split_once('.').expect("three parts");
    let (_, signature) = rest.split_once('.').expect("three parts");
    let claims = other.split('.').nth(1).expect("three parts");
    refuses(
        &guard,
        &format!("{head}.{claims}.{signature}"),
        "signature is wrong",
    );
    assert!(identify(&guard, &mut bearer(&good)).is_ok());
}

#[test]
fn no_algorithm_is_no_signature() {
    let guard = guard(&issuer(&format!("secret = \"{SECRET}\"")));
    let good = Forge::hs256(SECRET.as_bytes()).sign(&claims(NOW));
    let claims = good.split('.').nth(1).expect("three parts");
    // {"alg":"none"}, {"alg":"None"} and {"alg":"NONE"}, as base64url.
    for head in [
        "eyJhbGciOiJub25lIn0",
        "eyJhbGciOiJOb25lIn0",
        "eyJhbGciOiJOT05FIn0",
    ] {
        refuses(
            &guard,
            &format!("{head}.{claims}."),
            "algorithm that is known",
        );
        refuses(
            &guard,
            &format!("{head}.{claims}.AAAA"),
            "algorithm that is known",
        );
    }
}

#[test]
fn a_public_key_is_never_a_secret() {
    let folder = tempfile::tempdir().expect("a folder");
    for forge in [Forge::rs256("a"), Forge::es256("a"), Forge::ed("a")] {
        let set = file(
            folder.path(),
            "set.json",
            &set_of(std::slice::from_ref(&forge)),
        );
        let pem = file(folder.path(), "key.pem", forge.public_pem());
        for source in [
            format!("jwks-file = {set}"),
            format!("public-key-file = {pem}"),
        ] {
            let guard = guard(&issuer(&source));
            let forged = Forge::hs256(forge.public_pem().as_bytes()).sign(&claims(NOW));
            refuses(&guard, &forged, "tokens signed with HS256 are not taken");
        }
    }
    let pem = file(folder.path(), "key.pem", Forge::ed("a").public_pem());
    let text = issuer(&format!(
        "public-key-file = {pem}\nalgorithms = [\"HS256\"]"
    ));
    let error = open(&text, None).expect_err("refused");
    assert!(
        error.to_string().contains("HS256 needs a secret"),
        "{error}"
    );
}

#[test]
fn absent_credentials_are_for_the_lists_to_judge() {
    let text = format!(
        "[auth]\nauthentication = \"required\"\noptional = [\"echo\", \"users/Get\"]\n\
         off = [\"*/Health\", \"echo/Say\"]\nrequired = [\"users/Get\"]\n{}",
        issuer(&format!("secret = \"{SECRET}\""))
    );
    let guard = guard(&text);
    let nobody = |service: &str, method: &str| {
        identify(&guard, &mut Call::unary(service, method, "")).map_err(|error| error.kind)
    };
    assert_eq!(nobody("users", "List"), Err(Kind::Unauthenticated));
    assert_eq!(nobody("users", "Get"), Err(Kind::Unauthenticated));
    assert_eq!(nobody("echo", "Say"), Ok(None));
    assert_eq!(nobody("users", "Health"), Ok(None));
    let bad = |service: &str, method: &str| {
        let mut call = bearer("bad");
        (call.service, call.method) = (service.into(), method.into());
        identify(&guard, &mut call).map_err(|error| error.kind)
    };
    assert_eq!(bad("users", "Health"), Ok(None), "not looked at");
    assert_eq!(
        bad("echo", "Say"),
        Err(Kind::Unauthenticated),
        "optional wins over off"
    );
    let error = identify(&guard, &mut Call::unary("users", "List", "")).expect_err("refused");
    assert!(
        error.message.contains("send authorization: Bearer TOKEN"),
        "{}",
        error.message
    );
}

#[test]
fn without_issuers_and_keys_credentials_are_the_services_own() {
    let guard = guard("");
    for mut call in [bearer("anything"), with("x-vsp-api-key", "anything")] {
        let before = call.headers.clone();
        assert!(identify(&guard, &mut call).expect("anonymous").is_none());
        assert_eq!(call.headers, before);
    }
}

#[test]
fn credentials_stay_with_the_gateway_unless_they_are_forwarded() {
    let token = Forge::hs256(SECRET.as_bytes()).sign(&claims(NOW));
    for (forward, n_headers) in [(false, 0), (true, 1)] {
        let source = issuer(&format!("secret = \"{SECRET}\""));
        let guard = guard(&format!(
            "[auth]\nforward-credentials = {forward}\n{source}"
        ));
        let mut call = bearer(&token);
        identify(&guard, &mut call).expect("good");
        assert_eq!(call.headers.iter().count(), n_headers);
    }
}

#[test]
fn the_header_of_api_keys_has_the_name_that_is_configured() {
    let hash = config::KeyHash(Sha256::digest("open-sesame").into());
    let text = format!(
        "[auth.api-keys]\nheader = \"X-Key\"\n[auth.api-keys.keys.ann]\nhash = \"{hash}\"\n"
    );
    let guard = guard(&text);
    let mut call = with("x-key", "open-sesame");
    assert!(identify(&guard, &mut call).expect("good").is_some());
    let mut call = with("x-vsp-api-key", "open-sesame");
    assert!(identify(&guard, &mut call).expect("anonymous").is_none());
}

#[test]
fn credentials_at_the_limit_are_looked_at_and_longer_ones_refused() {
    let source = issuer(&format!("secret = \"{SECRET}\""));
    let token = Forge::hs256(SECRET.as_bytes()).sign(&claims(NOW));
    let n_bytes = token.len();
    for (limit, is_good) in [(n_bytes, true), (n_bytes - 1, false)] {
        let text = format!("[auth]\ncredentials-bytes-max = {limit}\n{source}");
        let identified = identify(&guard(&text), &mut bearer(&token));
        assert_eq!(identified.is_ok(), is_good, "{identified:?}");
    }
}

#[test]
fn a_token_over_255_octets_is_continued_and_verified_whole() {
    let guard = guard(&issuer(&format!("secret = \"{SECRET}\"")));
    let mut claims = claims(NOW);
    claims["more"] = "x".repeat(2000).into();
    let token = Forge::hs256(SECRET.as_bytes()).sign(&claims);
    let mut call = bearer(&token);
    assert!(call.headers.entries().count() > 8);
    let principal = identify(&guard, &mut call)
        .expect("good")
        .expect("somebody");
    let more = principal.claims.iter().find(|(name, _)| name == "more");
    assert_eq!(more.map(|(_, value)| value.len()), Some(2000));
    assert!(call.headers.is_empty());
}

#[test]
fn a_plugins_call_is_made_for_whoever_called_it() {
    let guard = guard(&format!(
        "[auth]\nauthentication = \"required\"\n{}",
        issuer(&format!("secret = \"{SECRET}\""))
    ));
    let mut call = bearer("bad");
    let ann = Arc::new(Principal {
        name: "ann".into(),
        roles: Vec::new(),
        claims: Vec::new(),
    });
    call.context.principal = Some(Arc::clone(&ann));
    assert_eq!(identify(&guard, &mut call).expect("kept"), Some(ann));
}

#[test]
fn a_verified_token_is_remembered_until_it_expires() {
    let guard = guard(&issuer(&format!("secret = \"{SECRET}\"")));
    let token = Forge::hs256(SECRET.as_bytes()).sign(&claims(NOW));
    for _ in 0..3 {
        identify(&guard, &mut bearer(&token)).expect("good");
    }
    assert_eq!(guard.authenticator.n_tokens(), 1);
    let end = NOW + 3600 + 30;
    assert!(guard.identify(&mut bearer(&token), at(end - 1)).is_ok());
    let error = guard
        .identify(&mut bearer(&token), at(end))
        .expect_err("expired");
    assert!(
        error.message.contains("expired 30 s ago"),
        "{}",
        error.message
    );
    guard.authenticator.evict_expired(at(end));
    assert_eq!(guard.authenticator.n_tokens(), 0);
}

#[test]
fn a_key_that_leaves_its_file_takes_remembered_tokens_along() {
    let folder = tempfile::tempdir().expect("a folder");
    let (old, new) = (Forge::ed("old"), Forge::ed("new"));
    let write = |forges: &[&Forge]| {
        let keys: Vec<_> = forges.iter().map(|forge| forge.jwk()).collect();
        file(
            folder.path(),
            "set.json",
            &json!({ "keys": keys }).to_string(),
        )
    };
    let guard = guard(&issuer(&format!("jwks-file = {}", write(&[&old]))));
    let (old_token, new_token) = (old.sign(&claims(NOW)), new.sign(&claims(NOW)));
    identify(&guard, &mut bearer(&old_token)).expect("good");
    refuses(&guard, &new_token, "key \"new\" is not known");
    let take = |guard: &Guard| {
        let path = folder.path().join("set.json");
        let octets = std::fs::read(&path).expect("there");
        guard.authenticator.take(&path, &octets);
    };
    write(&[&old, &new]);
    take(&guard);
    identify(&guard, &mut bearer(&old_token)).expect("still good");
    identify(&guard, &mut bearer(&new_token)).expect("good");
    assert_eq!(guard.authenticator.n_tokens(), 2);
    write(&[&new]);
    take(&guard);
    refuses(&guard, &old_token, "key \"old\" is not known");
    guard.authenticator.evict_expired(at(NOW));
    assert_eq!(guard.authenticator.n_tokens(), 1);
    file(folder.path(), "set.json", "{\"keys\":");
    take(&guard);
    identify(&guard, &mut bearer(&new_token)).expect("a broken file changes nothing");
    write(&[]);
    take(&guard);
    refuses(&guard, &new_token, "key \"new\" is not known");
}

#[test]
fn no_verified_token_outlives_the_configuration() {
    let secret = Forge::hs256(SECRET.as_bytes());
    let text = issuer(&format!("secret = \"{SECRET}\""));
    let before = guard(&text);
    let token = secret.sign(&claims(NOW));
    identify(&before, &mut bearer(&token)).expect("good");
    let strict = text.replace("\"postern\"", "\"another\"");
    let after = open(&strict, Some(&before)).unwrap_or_else(|error| panic!("{error}"));
    refuses(&after, &token, "another audience");
}

#[test]
fn each_issuer_answers_for_its_own_tokens() {
    let other = "fedcba9876543210fedcba9876543210";
    let text = format!(
        "{}[auth.jwt.other]\nissuer = \"other\"\nsecret = \"{other}\"\nrole-claims = []\n",
        issuer(&format!("secret = \"{SECRET}\""))
    );
    let guard = guard(&text);
    let own = Forge::hs256(SECRET.as_bytes());
    let others = Forge::hs256(other.as_bytes());
    identify(&guard, &mut bearer(&own.sign(&claims(NOW)))).expect("good");
    let of_other = others.sign(&changed("iss", json!("other")));
    let principal = identify(&guard, &mut bearer(&of_other))
        .expect("good")
        .expect("somebody");
    assert!(principal.roles.is_empty());
    refuses(
        &guard,
        &own.sign(&changed("iss", json!("other"))),
        "signature is wrong",
    );
    refuses(&guard, &others.sign(&claims(NOW)), "signature is wrong");
    refuses(
        &guard,
        &own.sign(&changed("iss", json!("third"))),
        "\"third\" is not known",
    );
}

#[test]
fn keys_that_cannot_be_read_refuse_the_whole_configuration() {
    let folder = tempfile::tempdir().expect("a folder");
    let absent = folder.path().join("absent.pem");
    let text = issuer(&format!(
        "public-key-file = {:?}",
        absent.display().to_string()
    ));
    assert!(matches!(open(&text, None), Err(GuardError::Absent(_))));
    let broken = file(folder.path(), "broken.json", "{}");
    let text = issuer(&format!("jwks-file = {broken}"));
    let error = open(&text, None).expect_err("refused");
    assert!(error.to_string().contains("broken.json"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn without_a_guard_addresses_whose_failures_are_over_are_forgotten() {
    let settings = Auth {
        failures_rate: 1,
        failures_burst: 1,
        ..Auth::default()
    };
    let failures = Arc::new(Failures::new(&settings, clock::now()));
    let peer = &Call::unary("users", "Get", "").context.peer;
    failures.count(peer, clock::now()).expect("the first");
    let second = Duration::from_secs(1);
    let mut files = FileWatch::new(second, second, None);
    let maintained = maintain(None, Some(Arc::clone(&failures)), &mut files);
    // At the first tick, which comes at once, the failure is not over; at the second it is.
    let passed = async {
        tokio::time::sleep(second / 2).await;
        assert_eq!(failures.n_addresses(), 1);
        tokio::time::sleep(20 * second).await;
    };
    tokio::select! {
        () = maintained => panic!("it never completes"),
        () = passed => {}
    }
    assert_eq!(failures.n_addresses(), 0);
}
