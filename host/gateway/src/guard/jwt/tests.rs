//! What tokens say, and whether it holds. Signatures are claimed in guard/tests.rs.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::guard::forge::{Forge, claims};

const NOW: u64 = 1_800_000_000;

fn terms() -> Terms {
    Terms::new(&Jwt {
        issuer: Some("https://id.example.org".to_owned()),
        audiences: vec!["postern".to_owned(), "edge".to_owned()],
        algorithms: vec![config::Algorithm::Hs256],
        ..Jwt::default()
    })
}

/// The claims of a good token with `change` merged into them; `null` removes.
fn changed(change: &Value) -> Value {
    let mut claims = claims(NOW);
    for (name, value) in change.as_object().expect("an object") {
        if value.is_null() {
            let members = claims.as_object_mut().expect("an object");
            members.remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

fn sign(claims: &Value) -> String {
    Forge::hs256(&[7; 32]).sign(claims)
}

#[track_caller]
fn check(change: &Value, expected: Result<(), TokenError>) {
    let text = sign(&changed(change));
    let token = Token::read(&text).expect("a token");
    assert_eq!(terms().check(&token, NOW), expected, "{change}");
}

fn missing(name: &str) -> Result<(), TokenError> {
    Err(TokenError::Missing(name.to_owned()))
}

#[test]
fn a_token_expires_at_its_second_and_the_leeway_after_it() {
    check(&json!({}), Ok(()));
    check(&json!({ "exp": NOW - 29 }), Ok(()));
    check(&json!({ "exp": NOW - 30 }), Err(TokenError::Expired(30)));
    check(
        &json!({ "exp": NOW as f64 - 29.5 }),
        Err(TokenError::Expired(30)),
    );
    let strict = Terms::new(&Jwt {
        leeway: Duration::from_secs(5),
        algorithms: vec![config::Algorithm::Hs256],
        ..Jwt::default()
    });
    for (ago, expected) in [(4, Ok(())), (5, Err(TokenError::Expired(5)))] {
        let text = sign(&changed(&json!({ "exp": NOW - ago })));
        let token = Token::read(&text).expect("a token");
        assert_eq!(strict.check(&token, NOW), expected);
    }
    check(&json!({ "exp": 0 }), Err(TokenError::Expired(NOW)));
    check(&json!({ "exp": u64::MAX }), Ok(()));
    check(&json!({ "exp": null }), missing("exp"));
    for wrong in [json!("soon"), json!(-1), json!([NOW]), json!(1e300)] {
        check(&json!({ "exp": wrong }), Err(TokenError::Claim("exp")));
    }
}

#[test]
fn a_token_begins_at_its_second_less_the_leeway() {
    check(&json!({ "nbf": NOW + 30 }), Ok(()));
    check(&json!({ "nbf": NOW + 31 }), Err(TokenError::NotYet(31)));
    check(&json!({ "nbf": "x" }), Err(TokenError::Claim("nbf")));
}

#[test]
fn one_of_its_audiences_must_be_ours() {
    check(&json!({ "aud": "edge" }), Ok(()));
    check(&json!({ "aud": ["other", "postern"] }), Ok(()));
    check(&json!({ "aud": "other" }), Err(TokenError::Audience));
    check(&json!({ "aud": [] }), Err(TokenError::Audience));
    check(&json!({ "aud": 5 }), Err(TokenError::Audience));
    check(&json!({ "aud": null }), missing("aud"));
}

#[test]
fn only_algorithms_of_the_list_are_taken() {
    let forge = Forge::es256("a");
    let text = forge.sign(&claims(NOW));
    let token = Token::read(&text).expect("a token");
    let refused = TokenError::Algorithm(Algorithm::ES256);
    assert_eq!(terms().check(&token, NOW), Err(refused));
}

#[test]
fn an_issuer_is_taken_as_it_is_written() {
    let takes = |issuer| terms().takes(issuer);
    assert!(takes(Some("https://id.example.org")));
    assert!(!takes(Some("https://id.example.org/")) && !takes(None));
    let any = Terms::new(&Jwt::default());
    assert!(any.takes(Some("anybody")) && any.takes(None));
}

#[test]
fn required_claims_are_there_and_not_null() {
    let terms = Terms::new(&Jwt {
        required_claims: vec!["tenant.id".to_owned()],
        ..Jwt::default()
    });
    let check = |value: Value, expected| {
        let text = sign(&json!({ "sub": "ann", "tenant": value }));
        let token = Token::read(&text).expect("a token");
        let terms = Terms {
            algorithms: vec![Algorithm::HS256],
            ..terms.clone()
        };
        assert_eq!(terms.check(&token, NOW), expected);
    };
    check(json!({ "id": 7 }), Ok(()));
    check(json!({ "id": null }), missing("tenant.id"));
    check(json!({}), missing("tenant.id"));
    check(json!("id"), missing("tenant.id"));
}

#[test]
fn text_that_is_no_signed_token_is_refused() {
    let good = sign(&claims(NOW));
    let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJzdWIiOiJhbm4ifQ.";
    let more = format!("{good}.x");
    for text in ["", "a", "a.b", "a.b.c", "..", none, &more, &good[1..]] {
        let error = Token::read(text).err();
        assert_eq!(error, Some(TokenError::Malformed), "{text}");
    }
}

#[test]
fn extensions_that_must_be_understood_are_refused() {
    let mut header = Header::new(Algorithm::HS256);
    header.crit = Some(vec!["b64".to_owned()]);
    let text = Forge::hs256(&[7; 32]).sign_as(&header, &claims(NOW));
    assert_eq!(Token::read(&text).err(), Some(TokenError::Critical));
}

#[test]
fn name_roles_and_claims_come_from_where_they_are() {
    let text = sign(&json!({
        "sub": "ann",
        "roles": ["user", "admin", 5],
        "scope": "read user",
        "realm_access": { "roles": ["realm"] },
        "tenant": { "id": 7 },
    }));
    let token = Token::read(&text).expect("a token");
    let principal = Terms::new(&Jwt::default())
        .principal(&token)
        .expect("named");
    assert_eq!(principal.name, "ann");
    assert_eq!(principal.roles, ["user", "admin", "read", "realm"]);
    let tenant = principal.claims.iter().find(|(name, _)| name == "tenant");
    assert_eq!(tenant.map(|(_, value)| &**value), Some("{\"id\":7}"));
    assert!(principal.claims.iter().all(|(name, _)| name != "sub"));
    let terms = Terms::new(&Jwt {
        name_claim: "https://example.org/user.name".to_owned(),
        role_claims: vec!["https://example.org/roles".to_owned()],
        ..Jwt::default()
    });
    let missing = TokenError::Missing("https://example.org/user.name".to_owned());
    assert_eq!(terms.principal(&token), Err(missing));
    let text = sign(&json!({
        "https://example.org/user.name": "bob",
        "https://example.org/roles": "one two",
    }));
    let token = Token::read(&text).expect("a token");
    let principal = terms.principal(&token).expect("named");
    assert_eq!((&*principal.name, principal.roles.len()), ("bob", 2));
}

#[test]
fn a_token_is_believed_no_longer_than_it_lasts() {
    let until = |change: &Value| {
        let text = sign(&changed(change));
        terms().until(&Token::read(&text).expect("a token"))
    };
    assert_eq!(until(&json!({})), NOW + 3630);
    assert_eq!(until(&json!({ "exp": null })), u64::MAX);
}
