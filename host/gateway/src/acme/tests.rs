//! When certificates are due, what is kept in files, and who may order.

mod refusals;

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use postern_net::tls::ChallengeAnswers;

use super::{
    answers::{Answers, ChallengeProof},
    *,
};
use crate::config::ChallengeKind;

const DAY: i64 = 24 * 3600;
const PAUSES: Pauses = Pauses {
    first: Duration::from_secs(60),
    longest: Duration::from_secs(6 * 3600),
};

/// Key and certificate of `name`, good from day `from` of 1970 to day `until`.
fn issued(name: &str, from: i64, until: i64) -> String {
    let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).expect("a name");
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let days = |days: i64| Duration::from_secs((days * DAY).unsigned_abs());
    params.not_before = epoch + days(from);
    params.not_after = epoch + days(until);
    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("signs");
    key.serialize_pem() + &certificate.pem()
}

fn folder() -> (tempfile::TempDir, AuthorityFolder) {
    let above = tempfile::tempdir().expect("a folder");
    let folder = AuthorityFolder::new(above.path().join("ca.example"));
    folder.create().expect("created");
    (above, folder)
}

#[test]
fn a_certificate_is_due_at_two_thirds_of_its_life_and_a_twentieth_at_most_later() {
    let (_above, folder) = folder();
    for _ in 0..20 {
        let pem = issued("a.example", 1000, 1090);
        folder.put_issued("a.example", &pem).expect("written");
        let standing = folder.standing("a.example");
        let renewal = standing.renewal().expect("it is there");
        assert!(
            (1060 * DAY..=1060 * DAY + 90 * DAY / 20).contains(&renewal),
            "{renewal}"
        );
        for now in [0, 1001 * DAY, 2000 * DAY] {
            assert_eq!(standing.due(now, &PAUSES), renewal);
        }
        assert_eq!(standing.trouble(1059 * DAY), None);
    }
}

#[test]
fn a_name_without_a_certificate_is_due_at_once_and_after_a_failure_at_its_time() {
    let now = 1000 * DAY;
    let first = Standing {
        name: "a.example".to_owned(),
        info: None,
        attempts: Attempts::default(),
    };
    assert_eq!(first.due(now, &PAUSES), now);
    let failed = first
        .attempts
        .failed(now, "no".to_owned(), Duration::from_secs(60));
    let after = Standing {
        attempts: failed,
        ..first
    };
    assert_eq!(after.due(now, &PAUSES), now + 60);
    assert!(after.due(now + 61, &PAUSES) <= now + 61);
    let trouble = after.trouble(now).expect("somebody should know");
    let expected = "no certificate was issued, 1 time in a row: no; clients that ask for it are refused; \
                    tried again Wed, 27 Sep 1972 00:01:00 GMT";
    assert_eq!(trouble, expected);
    // The clock was set back: a try that lies further away than any pause does not count.
    let before = now - 30 * DAY;
    assert_eq!(after.due(before, &PAUSES), before);
}

#[test]
fn pauses_grow_fourfold_to_their_limit_and_to_what_the_authority_asks_for() {
    let after = |failures, asked: Option<u64>| {
        let pause = PAUSES.after(failures, asked.map(Duration::from_secs));
        pause.as_secs()
    };
    let pauses: Vec<_> = (1..=7).map(|failures| after(failures, None)).collect();
    assert_eq!(pauses, [60, 240, 960, 3840, 15_360, 21_600, 21_600]);
    assert_eq!(after(u32::MAX, None), 21_600);
    assert_eq!(after(1, Some(3600)), 3600);
    assert_eq!(after(6, Some(3600)), 21_600);
    // Nobody is kept waiting for a year.
    assert_eq!(after(1, Some(365 * 24 * 3600)), 8 * 24 * 3600);
}

#[test]
fn files_are_read_by_their_owner_alone_and_a_good_certificate_ends_failures() {
    let (above, folder) = folder();
    let failed = Attempts::default().failed(5, "no".to_owned(), Duration::from_secs(60));
    folder.put_attempts("a.example", &failed).expect("written");
    assert_eq!(folder.standing("a.example").attempts, failed);
    let pem = issued("a.example", 1000, 1090);
    folder.put_issued("a.example", &pem).expect("written");
    let standing = folder.standing("a.example");
    assert_eq!(standing.attempts, Attempts::default());
    assert!(standing.info.is_some());
    let root = above.path().join("ca.example");
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&folder.issued("a.example")), 0o600);
    assert_eq!(mode(&root), 0o700);
    let lock = folder.try_lock().expect("a file").expect("nobody has it");
    assert_eq!(mode(&root.join("lock")), 0o600);
    drop(lock);
}

#[test]
fn what_is_no_certificate_of_the_name_counts_as_none() {
    let (_above, folder) = folder();
    let whole = issued("a.example", 1000, 1090);
    let other = issued("b.example", 1000, 1090);
    let (key, _) = whole
        .split_once("-----BEGIN CERTIFICATE")
        .expect("both are there");
    let (_, foreign) = other
        .split_once("-----END PRIVATE KEY-----")
        .expect("both are there");
    let mixed = format!("{key}{foreign}");
    for pem in [
        "",
        "x",
        key,
        &mixed,
        &other,
        whole.get(..whole.len() / 2).expect("a half"),
    ] {
        folder.put_issued("a.example", pem).expect("written");
        assert_eq!(folder.standing("a.example").info, None, "{pem}");
    }
    folder.put_issued("a.example", &whole).expect("written");
    assert!(folder.standing("a.example").info.is_some());
}

#[test]
fn notes_that_are_cut_in_half_count_as_none() {
    let (_above, folder) = folder();
    let failed = Attempts::default().failed(5, "no".to_owned(), Duration::from_secs(60));
    folder.put_attempts("a.example", &failed).expect("written");
    let path = folder.issued("a.example").with_extension("json");
    let text = fs::read(&path).expect("there");
    fs::write(&path, text.get(..text.len() / 2).expect("a half")).expect("written");
    assert_eq!(folder.standing("a.example").attempts, Attempts::default());
}

#[test]
fn one_at_a_time_may_order_and_begins_without_what_the_one_before_left() {
    let (_above, folder) = folder();
    let lock = folder.try_lock().expect("a file").expect("nobody has it");
    // Another process, as far as locks are concerned.
    let other = folder.clone();
    assert!(other.try_lock().expect("a file").is_none());
    let left = folder
        .put_answer("http-01", "token", "text")
        .expect("written");
    std::mem::forget(left);
    assert_eq!(other.answer("http-01", "token").as_deref(), Some("text"));
    drop(lock);
    let lock = other.try_lock().expect("a file");
    assert!(lock.is_some());
    assert_eq!(other.answer("http-01", "token"), None);
}

#[tokio::test]
async fn what_authorities_are_answered_lies_in_the_folder_as_long_as_an_order_is_under_way() {
    let (_above, folder) = folder();
    let answers = Answers::default();
    assert_eq!(answers.http("token").await, None);
    answers.set_folder(Some(folder.clone()));
    let proof = |kind| ChallengeProof {
        kind,
        name: "a.example",
        token: "token",
        key_authorization: "token.thumbprint",
        digest: &[7; 32],
    };
    let http = proof(ChallengeKind::Http01).put(&folder).expect("written");
    let tls = proof(ChallengeKind::TlsAlpn01)
        .put(&folder)
        .expect("written");
    assert_eq!(
        answers.http("token").await.as_deref(),
        Some("token.thumbprint")
    );
    assert_eq!(answers.http("other").await, None);
    let shown = answers
        .tls_alpn("a.example")
        .await
        .expect("it is asked for");
    let text = String::from_utf8(shown.certificate.octets.to_vec()).expect("PEM");
    assert!(
        text.contains("BEGIN PRIVATE KEY") && text.contains("BEGIN CERTIFICATE"),
        "{text}"
    );
    for name in ["b.example", "../a.example", "", "a.example/"] {
        assert_eq!(answers.tls_alpn(name).await, None, "{name}");
    }
    drop((http, tls));
    assert_eq!(answers.http("token").await, None);
    assert_eq!(answers.tls_alpn("a.example").await, None);
}
