//! What is remembered, and what is not taken for nothing.

use super::*;

fn files() -> (tempfile::TempDir, TrustFiles) {
    let folder = tempfile::tempdir().expect("a folder");
    let files = TrustFiles::new(folder.path(), "users");
    (folder, files)
}

fn record(n: u64) -> ApprovalRecord {
    ApprovalRecord {
        at: n,
        by: "uid 0 (root)".to_owned(),
        version: "users".to_owned(),
        digest: "d".repeat(64),
        component: "c".repeat(64),
        growth: Vec::new(),
    }
}

#[test]
fn what_is_noted_is_read_again_and_nothing_is_where_nothing_was() {
    let (folder, files) = files();
    assert_eq!(files.state().expect("nothing"), TrustState::default());
    let mut state = TrustState::default();
    state.approve("one");
    let served = Served {
        digest: "two".to_owned(),
        component: Some("three".to_owned()),
        manifest: None,
        schema: None,
        asks: Asks::of(b"", Some("[grants]\nkv = \"s\"\n")),
        claimed: Some(Claimed::of(["users"], &[])),
    };
    state.on_served(served, None);
    files.note(&state).expect("written");
    assert_eq!(files.state().expect("readable"), state);
    let other = tempfile::tempdir().expect("a folder");
    copy(folder.path(), other.path());
    let copied = TrustFiles::new(other.path(), "users");
    assert_eq!(copied.state().expect("readable"), state);
}

#[test]
fn other_versions_of_a_plugin_are_found_and_other_plugins_are_not() {
    let (folder, files) = files();
    assert_eq!(files.others().expect("none"), []);
    let of = |label: &str| {
        let mut state = TrustState::default();
        state.approve(label);
        let files = TrustFiles::new(folder.path(), label);
        files.note(&state).expect("written");
        state
    };
    of("users");
    of("users2");
    of("user");
    let mut expected = vec![of("users@1"), of("users@next")];
    let mut found = files.others().expect("readable");
    found.sort_by(|a, b| a.approved.cmp(&b.approved));
    expected.sort_by(|a, b| a.approved.cmp(&b.approved));
    assert_eq!(found, expected);
    let torn = folder.path().join("trust/users@1").join(STATE);
    fs::write(torn, "{").expect("written");
    assert!(files.others().is_err(), "nobody knows what it asked for");
}

#[test]
fn what_a_gateway_noted_that_knew_less_is_read() {
    let (_folder, files) = files();
    files.note(&TrustState::default()).expect("written");
    let noted = "{\"served\":{\"digest\":\"d\",\"asks\":{}}}";
    fs::write(files.folder.join(STATE), noted).expect("written");
    let served = files.state().expect("readable").served.expect("it served");
    assert_eq!(served.claimed, None);
    let line = "{\"at\":7,\"digest\":\"d\",\"component\":\"c\",\"growth\":[]}\n";
    fs::write(files.folder.join(LOG), line).expect("written");
    let by: Vec<_> = files
        .records()
        .into_iter()
        .map(|record| record.by)
        .collect();
    assert_eq!(by, ["unknown"]);
}

#[test]
fn what_cannot_be_read_is_not_taken_for_nothing() {
    let (_folder, files) = files();
    files.note(&TrustState::default()).expect("written");
    fs::write(files.folder.join(STATE), "{\"approved\":").expect("written");
    let fault = files.state().expect_err("it is torn").to_string();
    assert!(fault.contains("state.json cannot be read"), "{fault}");
}

#[test]
fn approvals_are_bounded_and_the_oldest_goes() {
    let mut state = TrustState::default();
    for n in 0..=APPROVED_MAX {
        state.approve(&n.to_string());
    }
    assert!(!state.is_approved("0") && state.is_approved("1"));
    assert_eq!(state.approved.len(), APPROVED_MAX);
    state.approve("1");
    assert_eq!(state.approved.last().map(String::as_str), Some("1"));
}

#[test]
fn the_log_is_bounded_and_loses_no_line_of_late() {
    let (_folder, files) = files();
    files.record(&record(0)).expect("written");
    let full = "x".repeat(usize::try_from(LOG_BYTES_MAX).expect("small"));
    let mut text = fs::read_to_string(files.folder.join(LOG)).expect("readable");
    text += &full;
    fs::write(files.folder.join(LOG), text).expect("written");
    files.record(&record(1)).expect("written");
    assert_eq!(files.records(), [record(0), record(1)]);
    let length = fs::metadata(files.folder.join(LOG)).expect("there").len();
    assert!(length < 1024, "{length}");
}
