//! Deployments as files: what is kept, for how long, and what a crash between two files leaves.

use super::*;

fn copy(component: &str, manifest: Option<&str>) -> Copy {
    let component = Bytes::from(format!("component {component}"));
    Copy::new(component, manifest.map(str::to_owned))
}

fn n_files(store: &PluginCopies, end: &str) -> usize {
    let entries = fs::read_dir(&store.folder).expect("there");
    let paths = entries.map(|entry| entry.expect("readable").path());
    paths
        .filter(|path| path.extension().is_some_and(|found| found == end))
        .count()
}

fn store() -> (tempfile::TempDir, PluginCopies) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = PluginCopies::new(folder.path(), "users");
    (folder, store)
}

#[test]
fn a_changed_manifest_is_a_deployment_of_its_own() {
    let (_folder, store) = store();
    for manifest in ["a = 1", "a = 2", "a = 3"] {
        store.keep(&copy("one", Some(manifest))).expect("kept");
    }
    let state = store.state();
    let good = state.good.expect("serves");
    assert_eq!(store.load(&good), Some(copy("one", Some("a = 3"))));
    assert_eq!(store.load_before(), Some(copy("one", Some("a = 2"))));
    assert_eq!((n_files(&store, "wasm"), n_files(&store, "toml")), (1, 3));
}

#[test]
fn rollbacks_go_back_one_deployment_each_until_none_is_kept() {
    let (_folder, store) = store();
    for (component, manifest) in [("one", "a = 1"), ("one", "a = 2"), ("two", "a = 2")] {
        store.keep(&copy(component, Some(manifest))).expect("kept");
    }
    for expected in [copy("one", Some("a = 2")), copy("one", Some("a = 1"))] {
        assert_eq!(store.load_before(), Some(expected.clone()));
        let to = expected.deployment();
        let skipped = copy("two", Some("a = 2")).deployment();
        store
            .keep_rollback(&to, Some(skipped.clone()))
            .expect("noted");
        let state = store.state();
        assert_eq!((state.good, state.skipped), (Some(to), Some(skipped)));
    }
    assert_eq!(store.load_before(), None);
    assert_eq!((n_files(&store, "wasm"), n_files(&store, "toml")), (1, 1));
}

#[test]
fn the_history_is_bounded_and_has_each_deployment_once() {
    let (_folder, store) = store();
    for component in ["a", "b", "c", "d", "e", "c"] {
        store.keep(&copy(component, None)).expect("kept");
    }
    let expected = ["e", "d", "b"].map(|component| copy(component, None).deployment());
    assert_eq!(store.state().before, expected);
    assert_eq!(store.state().before.len(), BEFORE_MAX);
    assert_eq!(n_files(&store, "wasm"), BEFORE_MAX + 1);
}

#[test]
fn a_crash_between_the_files_leaves_the_pair_before() {
    let (_folder, store) = store();
    store.keep(&copy("old", Some("a = 1"))).expect("kept");
    let new = copy("new", Some("a = 2"));
    // Component and manifest were written, the note was not.
    let deployment = new.deployment();
    let component_path = store.component_path(&deployment);
    store
        .write(&component_path, &new.component)
        .expect("written");
    let manifest_path = store.manifest_path(&deployment).expect("it has one");
    store.write(&manifest_path, b"a = 2").expect("written");
    let good = store.state().good.expect("serves");
    assert_eq!(store.load(&good), Some(copy("old", Some("a = 1"))));
    // What is torn is not there.
    fs::write(&component_path, b"compo").expect("written");
    assert_eq!(store.load(&deployment), None);
    store.keep(&new).expect("kept");
    assert_eq!(store.load(&deployment), Some(new));
}

#[test]
fn signatures_are_kept_with_what_they_sign() {
    let (_folder, store) = store();
    let signed = |text: &str| {
        copy("one", Some("a = 1")).signed(SignatureTexts {
            component: Some(text.to_owned()),
            manifest: None,
            ..SignatureTexts::default()
        })
    };
    for text in ["first", "second"] {
        store.keep(&signed(text)).expect("kept");
    }
    assert_eq!(store.load_good(), Some(signed("second")));
    assert_eq!(store.load_before(), Some(signed("first")));
    assert_eq!(
        (n_files(&store, "wasm"), n_files(&store, "minisig")),
        (1, 2)
    );
    let unsigned = copy("one", Some("a = 1"));
    assert_eq!(unsigned.content_digest(), signed("first").content_digest());
    assert_ne!(unsigned.deployment(), signed("first").deployment());
    assert_ne!(
        copy("one", None).content_digest(),
        unsigned.content_digest()
    );
}

#[test]
fn a_broken_note_counts_as_none() {
    let (_folder, store) = store();
    fs::create_dir_all(&store.folder).expect("created");
    fs::write(store.folder.join(STATE), "{\"good\":").expect("written");
    assert_eq!(store.state(), DeploymentState::default());
}

#[test]
fn knows_of_which_plugins_something_is_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let a = copy("a", None);
    for plugin in ["users", "chat"] {
        PluginCopies::new(folder.path(), plugin)
            .keep(&a)
            .expect("kept");
    }
    assert_eq!(
        kept(folder.path()),
        ["chat", "users"].map(str::to_owned).into()
    );
    let users = PluginCopies::new(folder.path(), "users");
    assert_eq!(users.load_good(), Some(a));
    users.clear().expect("cleared");
    assert_eq!(users.load_good(), None);
    assert_eq!(kept(folder.path()), ["chat".to_owned()].into());
    assert!(kept(Path::new("/nonexistent")).is_empty());
}
