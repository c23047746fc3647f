//! Signatures that minisign 0.11 made with two keys, of the octets `component` and of a manifest of one
//! line.

use super::*;
use crate::config::SigningKey;

const NOW: Duration = Duration::from_secs(1_700_000_100);
const COMPONENT: &[u8] = b"component";
const MANIFEST: &str = "service = \"users\"\n";
const KEY: &str = "RWQYGdh3Xkj4+TLorX1gTytpf9qL+EYXUf1dc4gGT1v8QeH1Sd1Sw4eM";
const KEY_ID: &str = "F9F8485E77D81918";
const OTHER_KEY_ID: &str = "7F0640922BBC4084";

/// Of the component.
const GOOD: [&str; 3] = [
    "RUQYGdh3Xkj4+bIgzl4fw03f/GdNAlOX9/Q0w3Tkma2MQsaCUTniwYJresHhfPeX2tsGf4FwQXl5aKzVR64OoGlbwtHSkWW6IgA=",
    "timestamp:1700000000\tfile:users.wasm\thashed",
    "N4bn4/akMri37Pwq7BnV7swPJxcnWxe3q2XJA5rixMVpfsprtfxgshchrJcjwKE589JrN3zYAdu1tM3gGuc5Bg==",
];
/// Of the manifest.
const GOOD_MANIFEST: [&str; 3] = [
    "RUQYGdh3Xkj4+Y4rEBBasWwEO1odTnmUiaZHJ5WAo8Z7zcDS6+TxLETQVjKQEohAxBrW9wTVqZaUJ6uKEtjah7SGIPNoFRp9nQQ=",
    "timestamp:1700000001\tfile:users.toml\thashed",
    "jU6h1S7rBUw/XbYjOCqImucgW+/5Q+Bjp44+w/opApSiDF7LZFjDozq91VjSTfeEO2/U2MvzQ0kjot+oe1WRCg==",
];
/// Of the component, by the other key.
const BY_ANOTHER: [&str; 3] = [
    "RUSEQLwrkkAGf+gRGgO0ENZLLPzk5YStt8O8Vj7xgfirAIg6c+rvcJ/oS2VzsgCf167YIpSa1qWFCQqKhrYe0WL8O4cFLd3THg4=",
    "timestamp:1700000000\tfile:users.wasm\thashed",
    "Dn909CV/JvW46f+cDJTGPFGupzGa7qNficqEjRs4kXhnyZsGDMO1Kccz3H+AvE3qrvH9d7GLn8KF5eXR5d4gAg==",
];
/// Of the component, as `other.wasm`.
const AS_OTHER: [&str; 3] = [
    "RUQYGdh3Xkj4+bIgzl4fw03f/GdNAlOX9/Q0w3Tkma2MQsaCUTniwYJresHhfPeX2tsGf4FwQXl5aKzVR64OoGlbwtHSkWW6IgA=",
    "timestamp:1700000000\tfile:other.wasm\thashed",
    "Z/018hjoEEXlc9buELsijbmX4VXCjNryYfS2Ukf7cxchy0eBJs0cZzsXLfNHcJYG5KMMbP/Bst1O/3Hf2sP1Cg==",
];
/// Of the component, as `users@2.wasm`.
const AS_VERSION: [&str; 3] = [
    "RUQYGdh3Xkj4+bIgzl4fw03f/GdNAlOX9/Q0w3Tkma2MQsaCUTniwYJresHhfPeX2tsGf4FwQXl5aKzVR64OoGlbwtHSkWW6IgA=",
    "timestamp:1700000000\tfile:users@2.wasm\thashed",
    "YwanZ0A/tugLmANs7FqmA3qNJOV9ziayF5cOiFxAmLBf4v2+aLjFYqj5k7Eq64ygGAg6V+3iwTnP+f2HDQD6CA==",
];
/// Of the component, with a comment of the signer's own.
const WITHOUT_TIME: [&str; 3] = [
    "RUQYGdh3Xkj4+bIgzl4fw03f/GdNAlOX9/Q0w3Tkma2MQsaCUTniwYJresHhfPeX2tsGf4FwQXl5aKzVR64OoGlbwtHSkWW6IgA=",
    "release 7",
    "/bIqaslrKCRii6Yr6O6BQ+bqm3eTuDT5ab1D8CEAk34GdySKSiSwlg+t64Iomagld02LghpcG3bwKWg8vJhJCw==",
];
/// Of the component, with a time in a comment of the signer's own.
const WITH_OWN_COMMENT: [&str; 3] = [
    "RUQYGdh3Xkj4+bIgzl4fw03f/GdNAlOX9/Q0w3Tkma2MQsaCUTniwYJresHhfPeX2tsGf4FwQXl5aKzVR64OoGlbwtHSkWW6IgA=",
    "release 7 timestamp:1700000002",
    "kO+C7SyzhXC2Mp7LuoT8u1PLoEEsKRD7SEF/FJhF0MLnyu4AYxrbp2zPaEeWnwkUWo8Qc0/hT77VAlaqCnqKCA==",
];
/// Of the component, with `-l`.
const OLD_FORM: [&str; 3] = [
    "RWQYGdh3Xkj4+YTMN5A3ToLM/QcMDuFbZu79vDybIDXnOZZ9++D3ketO8bI3RjXMdHHLiqNf47lXULexXOBvDTHLgz3qU2x8jwg=",
    "timestamp:1700000000\tfile:users.wasm",
    "10YF6F1SNOeHxjvmr+8DyVwmjdr/toMn4jvEr/uybGETNCQRfF+YDQLeV1BC7FzVwheUgpJy3Dn8Sw3RWdAjBw==",
];

fn text([line, comment, global]: [&str; 3]) -> String {
    format!("untrusted comment: anything\n{line}\ntrusted comment: {comment}\n{global}\n")
}

fn policy(require_signature: bool) -> SignaturePolicy {
    let key = PublicKey::from_base64(KEY).expect("a key");
    let text = KEY.to_owned();
    let settings = SignatureSettings {
        keys: vec![SigningKey { text, key }],
        require_signature,
        ..SignatureSettings::default()
    };
    SignaturePolicy::open(&settings).expect("no files")
}

/// What becomes of a component without a manifest whose signature is `lines`.
fn judged(lines: [&str; 3]) -> Result<SignedFile, SignatureFault> {
    let texts = SignatureTexts {
        component: Some(text(lines)),
        manifest: None,
        ..SignatureTexts::default()
    };
    let signed = policy(true).judge("users", (COMPONENT, None), &texts, NOW)?;
    Ok(signed.and_then(|signed| signed.component).expect("signed"))
}

#[track_caller]
fn check_refused(lines: [&str; 3], expected: &str) {
    let told = judged(lines).expect_err("refused").to_string();
    assert!(told.contains(expected), "{told}");
}

#[test]
fn a_good_signature_tells_key_time_and_comment() {
    let signed = judged(GOOD).expect("good");
    let expected = SignedFile {
        key: KEY_ID.to_owned(),
        at: 1_700_000_000,
        comment: "timestamp:1700000000\tfile:users.wasm\thashed".to_owned(),
    };
    assert_eq!(signed, expected);
    assert_eq!(
        judged(AS_VERSION).expect("a version of it").at,
        1_700_000_000
    );
    assert_eq!(judged(WITH_OWN_COMMENT).expect("a time").at, 1_700_000_002);
}

#[test]
fn component_and_manifest_are_signed_each_by_itself() {
    let texts = SignatureTexts {
        component: Some(text(GOOD)),
        manifest: Some(text(GOOD_MANIFEST)),
        ..SignatureTexts::default()
    };
    let both = (COMPONENT, Some(MANIFEST));
    let signed = policy(true).judge("users", both, &texts, NOW);
    let signed = signed.expect("good").expect("signed");
    assert_eq!(signed.manifest.expect("signed").at, 1_700_000_001);
    let texts = SignatureTexts {
        manifest: None,
        ..texts
    };
    let fault = policy(true).judge("users", both, &texts, NOW);
    let fault = fault.expect_err("the manifest is not").to_string();
    assert!(
        fault.starts_with("users.toml is not signed: users.toml.minisig"),
        "{fault}"
    );
    let signed = policy(false).judge("users", both, &texts, NOW);
    assert!(signed.expect("not required").is_some());
}

#[test]
fn what_was_changed_is_refused_whichever_part_it_is() {
    let [line, comment, global] = GOOD;
    let tampered = &format!("is not what the key {KEY_ID} has signed");
    let other = comment.replace("1700000000", "1700000001");
    check_refused([line, &other, global], tampered);
    check_refused([GOOD_MANIFEST[0], comment, global], tampered);
    check_refused([line, comment, GOOD_MANIFEST[2]], tampered);
    let texts = SignatureTexts {
        component: Some(text(GOOD)),
        manifest: None,
        ..SignatureTexts::default()
    };
    let fault = policy(false).judge("users", (b"Component", None), &texts, NOW);
    let fault = fault
        .expect_err("one octet differs, and it is looked at")
        .to_string();
    assert!(fault.contains(tampered), "{fault}");
}

#[test]
fn a_signature_of_another_key_name_form_or_time_is_refused() {
    let unknown = format!("key {OTHER_KEY_ID}, which is none of plugins.signatures ({KEY_ID})");
    check_refused(BY_ANOTHER, &unknown);
    check_refused(AS_OTHER, "users.wasm was signed as other.wasm");
    check_refused(OLD_FORM, "signed in the old form");
    check_refused(
        WITHOUT_TIME,
        "says no time: its trusted comment is \"release 7\"",
    );
    let texts = SignatureTexts {
        component: Some(text(GOOD)),
        manifest: None,
        ..SignatureTexts::default()
    };
    for (now, is_taken) in [
        (1_700_000_000 - 86_400, true),
        (1_700_000_000 - 86_401, false),
    ] {
        let now = Duration::from_secs(now);
        let judged = policy(true).judge("users", (COMPONENT, None), &texts, now);
        assert_eq!(judged.is_ok(), is_taken, "{judged:?}");
    }
}

#[test]
fn what_is_no_signature_is_refused_with_the_reason() {
    for broken in [
        "",
        "text",
        "untrusted comment: x\nAAAA\ntrusted comment: y\nAAAA\n",
    ] {
        let texts = SignatureTexts {
            component: Some(broken.to_owned()),
            manifest: None,
            ..SignatureTexts::default()
        };
        let fault = policy(true).judge("users", (COMPONENT, None), &texts, NOW);
        let fault = fault.expect_err("refused");
        assert!(matches!(fault, SignatureFault::Malformed { .. }), "{fault}");
        assert!(fault.may_be_half());
    }
}

#[test]
fn without_keys_no_signature_is_looked_at() {
    let policy = SignaturePolicy::open(&SignatureSettings::default()).expect("nothing to read");
    let texts = SignatureTexts {
        component: Some("text".to_owned()),
        manifest: None,
        ..SignatureTexts::default()
    };
    let judged = policy.judge("users", (COMPONENT, None), &texts, NOW);
    assert_eq!(judged, Ok(None));
}

#[test]
fn keys_come_from_files_as_well_and_what_is_none_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("release.pub");
    let settings = SignatureSettings {
        key_files: vec![path.clone()],
        ..SignatureSettings::default()
    };
    let fault = |settings| {
        SignaturePolicy::open(settings)
            .expect_err("no key")
            .to_string()
    };
    assert!(fault(&settings).contains("release.pub is no public key"));
    fs::write(&path, format!("untrusted comment: x\n{KEY}\n")).expect("written");
    let policy = SignaturePolicy::open(&settings).expect("a key");
    assert_eq!(policy.keys[0].id, KEY_ID);
    fs::write(&path, "untrusted comment: x\nRWQ\n").expect("written");
    assert!(fault(&settings).contains("release.pub is no public key"));
    fs::write(&path, "x".repeat(5000)).expect("written");
    assert!(fault(&settings).contains("5000 bytes, the limit is 4096"));
}

#[test]
fn what_is_older_than_what_has_served_is_refused_and_what_is_as_old_is_not() {
    let file = |at| {
        Some(SignedFile {
            key: KEY_ID.to_owned(),
            at,
            comment: String::new(),
        })
    };
    let signed = |component, manifest| Signed {
        component: file(component),
        manifest: file(manifest),
        ..Signed::default()
    };
    let mut newest = Newest::default();
    newest.on_served(&signed(100, 50));
    newest.on_served(&signed(90, 60));
    assert_eq!((newest.component, newest.manifest), (Some(100), Some(60)));
    let check = |signed: Option<&Signed>| newest.check("users", signed, true, true);
    assert_eq!(check(Some(&signed(100, 60))), Ok(()));
    let older = check(Some(&signed(99, 60))).expect_err("older").to_string();
    let begin = "users.wasm was signed on Thu, 01 Jan 1970 00:01:39 GMT";
    assert!(older.starts_with(begin), "{older}");
    let older = check(Some(&signed(100, 59)))
        .expect_err("older")
        .to_string();
    assert!(older.starts_with("users.toml was signed on"), "{older}");
    let gone = newest.check("users", Some(&signed(100, 0)), false, true);
    assert!(gone.is_err(), "its manifest has gone");
    let alone = Signed {
        component: file(100),
        manifest: None,
        ..Signed::default()
    };
    let gone = newest.check("users", Some(&alone), false, true);
    let expected = SignatureFault::ManifestGone {
        file: "users.toml".to_owned(),
    };
    assert_eq!(gone, Err(expected));
    assert_eq!(newest.check("users", None, false, false), Ok(()));
}

#[test]
fn signatures_are_told_apart_by_what_they_sign() {
    let of = |component: Option<&str>, manifest: Option<&str>| SignatureTexts {
        component: component.map(str::to_owned),
        manifest: manifest.map(str::to_owned),
        ..SignatureTexts::default()
    };
    assert_eq!(of(None, None).digest(), None);
    let all = [
        of(Some("a"), None),
        of(None, Some("a")),
        of(Some("a"), Some("a")),
    ];
    let digests: std::collections::BTreeSet<_> = all.iter().map(SignatureTexts::digest).collect();
    assert_eq!(digests.len(), 3);
}
