//! What callers say of themselves, and how often they may be wrong.

use super::*;

/// Of `bob's`.
const BOBS: &str = "sha256:ee27442e4ca26b4c7944f1ac68c9fd5c995e84a2cd04b2bad3c41e4b232478f2";

#[test]
fn wrong_credentials_are_counted_and_good_ones_pass() {
    let folder = tempfile::tempdir().expect("a folder");
    let (forge, forger) = (Forge::ed("a"), Forge::ed("a"));
    let set = file(
        folder.path(),
        "set.json",
        &set_of(std::slice::from_ref(&forge)),
    );
    let text = format!(
        "[auth]\nfailures-rate = 1\nfailures-burst = 3\n{}\n[auth.api-keys.keys.bob]\nhash = \"{BOBS}\"",
        issuer(&format!("jwks-file = {set}"))
    );
    let guard = guard(&text);
    let known = forge.sign(&claims(NOW));
    identify(&guard, &mut bearer(&known)).expect("good");
    let forged = |n: u64| forger.sign(&changed("sub", json!(n)));
    let kinds = (0..12).map(|n| {
        let error = identify(&guard, &mut bearer(&forged(n))).expect_err("forged");
        assert_eq!(
            error.kind == Kind::ResourceExhausted,
            matches!(error.retry, Retry::After(_)),
            "whoever is over the limit is told when to come again"
        );
        error.kind
    });
    let kinds: Vec<_> = kinds.collect();
    assert_eq!(&kinds[..3], [Kind::Unauthenticated; 3]);
    // A second may pass on a slow machine, hardly more.
    let n_refused = kinds
        .iter()
        .filter(|kind| **kind == Kind::ResourceExhausted)
        .count();
    assert!(n_refused >= 6, "{kinds:?}");
    let key = identify(&guard, &mut with("x-vsp-api-key", "bob's")).expect("a good key passes");
    assert_eq!(key.expect("somebody").name, "bob");
    identify(&guard, &mut bearer(&known)).expect("a known token passes");
    let wrong = identify(&guard, &mut with("x-vsp-api-key", "guess")).expect_err("wrong");
    assert!(matches!(
        wrong.kind,
        Kind::ResourceExhausted | Kind::Unauthenticated
    ));
}

#[test]
fn limits_on_callers_hold_for_those_with_wrong_credentials() {
    for by in ["principal", "peer"] {
        let guard = guard(&format!(
            "[auth.api-keys.keys.bob]\nhash = \"{BOBS}\"\n[limits.a]\nby = \"{by}\"\nrate = 1\nper = \"1h\""
        ));
        let kinds: Vec<_> = (0..12)
            .map(|_| {
                identify(&guard, &mut with("x-vsp-api-key", "guess"))
                    .expect_err("wrong")
                    .kind
            })
            .collect();
        assert_eq!(kinds[0], Kind::Unauthenticated, "{by}");
        assert_eq!(kinds[1..], [Kind::ResourceExhausted; 11], "{by}");
    }
}

#[test]
fn only_a_gateway_that_proves_to_be_one_vouches_for_a_call() {
    let secret = Forge::hs256(SECRET.as_bytes());
    let guard = guard(&format!(
        "[auth]\noff = [\"open/*\"]\n{}[auth.api-keys.keys.bob]\nhash = \"{BOBS}\"\nroles = [\"peer\"]",
        issuer(&format!("secret = \"{SECRET}\""))
    ));
    let recognise = |mut call: Call| {
        let sender = guard.recognise_now(&mut call, at(NOW))?;
        let proof = call.headers.get_str(GATEWAY_HEADER).is_some();
        assert!(!proof, "a proof goes no further");
        Ok::<_, Error>((sender, call.context.principal.is_some()))
    };
    let proof = |value: &str| with(GATEWAY_HEADER, value);
    assert_eq!(
        recognise(bearer("x")).expect("none"),
        (Sender::Caller, false)
    );
    // Who hands the call on is not who calls.
    assert_eq!(
        recognise(proof("bob's")).expect("good"),
        (Sender::Gateway, false)
    );
    assert_eq!(
        recognise(with("X-VSP-Gateway", "bob's")).expect("good").0,
        Sender::Gateway
    );
    let token = secret.sign(&changed("roles", json!(["peer"])));
    assert_eq!(recognise(proof(&token)).expect("good").0, Sender::Gateway);
    // Good credentials of somebody who is no gateway.
    for wrong in [secret.sign(&claims(NOW)), "guess".to_owned(), String::new()] {
        let error = recognise(proof(&wrong)).expect_err("no gateway");
        assert_eq!(error.kind, Kind::Unauthenticated, "{wrong}");
    }
    let mut two = proof("bob's");
    two.headers.push(GATEWAY_HEADER, "bob's").expect("fits");
    assert!(recognise(two).is_err());
    let mut unwatched = proof("guess");
    unwatched.service = "open".into();
    assert_eq!(
        recognise(unwatched).expect("not looked at").0,
        Sender::Caller
    );
}

#[test]
fn what_may_be_called_is_told_without_calling() {
    let guard = guard(
        "[auth]\nrequired = [\"users/*\"]\n[authorization.rules.a]\neffect = \"deny\"\ncalls = [\"*/Delete\"]",
    );
    let ann = Principal::default();
    assert!(guard.may_call(Some(&ann), "users", "Get"));
    assert!(!guard.may_call(Some(&ann), "users", "Delete"));
    assert!(!guard.may_call(None, "users", "Get"));
    assert!(guard.may_call(None, "echo", "Get"));
}
