//! The folder as deployers, editors and orchestrators treat it, with real files.

use std::{fs, io};

use postern_system::clock;

use super::*;
#[cfg(unix)]
use crate::sources::tests::{swap, versions};

const QUIET: Duration = Duration::from_millis(300);
const SOON: Duration = Duration::from_millis(150);
const PATIENCE: Duration = Duration::from_secs(10);
/// Far below a quiet time of `PATIENCE`, and enough on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(4);

/// A folder with these plugins, and a watch on it.
fn with_plugins(names: &[&str], settle: Duration) -> (tempfile::TempDir, FolderWatch) {
    let folder = tempfile::tempdir().expect("a folder");
    for name in names {
        let path = folder.path().join(format!("{name}.wasm"));
        fs::write(path, "component").expect("written");
    }
    let watch = FolderWatch::new(folder.path(), settle, Arc::default());
    (folder, watch)
}

async fn check_next(watch: &mut FolderWatch, expected: Option<&str>) {
    assert_eq!(next_within(watch, AT_ONCE).await.as_deref(), expected);
}

async fn next_within(watch: &mut FolderWatch, limit: Duration) -> Option<String> {
    tokio::time::timeout(limit, watch.next()).await.ok()
}

#[tokio::test]
async fn a_renamed_file_is_seen_once_and_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut watch = FolderWatch::new(folder.path(), PATIENCE, Arc::default());
    fs::write(folder.path().join(".users.tmp"), "component").expect("written");
    fs::rename(
        folder.path().join(".users.tmp"),
        folder.path().join("users.wasm"),
    )
    .expect("renamed");
    assert_eq!(
        next_within(&mut watch, AT_ONCE).await.as_deref(),
        Some("users")
    );
    assert_eq!(next_within(&mut watch, QUIET * 2).await, None);
}

#[tokio::test]
async fn a_copied_file_is_seen_when_it_is_closed() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut watch = FolderWatch::new(folder.path(), PATIENCE, Arc::default());
    let mut file = fs::File::create(folder.path().join("users.wasm")).expect("created");
    io::Write::write_all(&mut file, b"half").expect("written");
    assert_eq!(
        next_within(&mut watch, SOON).await,
        None,
        "still being written"
    );
    io::Write::write_all(&mut file, b"whole").expect("written");
    drop(file);
    assert_eq!(
        next_within(&mut watch, AT_ONCE).await.as_deref(),
        Some("users")
    );
}

#[tokio::test]
async fn a_removed_file_and_a_changed_manifest_are_seen() {
    let (folder, mut watch) = with_plugins(&["users"], QUIET);
    fs::write(folder.path().join("users.toml"), "# nothing").expect("written");
    check_next(&mut watch, Some("users")).await;
    fs::remove_file(folder.path().join("users.wasm")).expect("removed");
    check_next(&mut watch, Some("users")).await;
    assert!(watch.watched().is_removed("users"));
}

#[tokio::test]
async fn a_file_that_is_removed_and_written_anew_was_not_removed() {
    let (folder, mut watch) = with_plugins(&["users"], AT_ONCE);
    fs::remove_file(folder.path().join("users.wasm")).expect("removed");
    assert_eq!(
        next_within(&mut watch, SOON).await,
        None,
        "it may come back"
    );
    fs::write(folder.path().join("users.wasm"), "another").expect("written");
    check_next(&mut watch, Some("users")).await;
    assert!(!watch.watched().is_removed("users"));
}

/// The component is complete; the manifest's second table comes late.
#[tokio::test]
async fn component_and_manifest_are_waited_for_together() {
    let (folder, mut watch) = with_plugins(&["users"], QUIET);
    let manifest = fs::File::create(folder.path().join("users.toml"));
    let mut manifest = manifest.expect("created");
    io::Write::write_all(&mut manifest, b"[limits]\n").expect("written");
    fs::write(folder.path().join("users.wasm"), "another").expect("written");
    assert_eq!(next_within(&mut watch, QUIET * 4).await, None, "half of it");
    assert!(watch.watched().is_changing("users"));
    io::Write::write_all(&mut manifest, b"[extension]\n").expect("written");
    drop(manifest);
    check_next(&mut watch, Some("users")).await;
    assert!(!watch.watched().is_changing("users"));
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_swapped_to_files_of_the_same_size_and_time_is_noticed_at_once() {
    for name in ["users.wasm", "users.toml", "users/users.wasm"] {
        let has_component = name == "users.toml";
        let (folder, _) = with_plugins(if has_component { &["users"] } else { &[] }, QUIET);
        let within = folder.path().join(name);
        let within = within.parent().expect("a folder");
        fs::create_dir_all(within).expect("created");
        let file = Path::new(name).file_name().expect("a name");
        versions(within, file.to_str().expect("text"));
        // Notices alone: a settle time of `PATIENCE` leaves nothing to the looks.
        let mut watch = FolderWatch::new(folder.path(), PATIENCE, Arc::default());
        assert_eq!(next_within(&mut watch, SOON).await, None, "nothing changed");
        swap(within);
        check_next(&mut watch, Some("users")).await;
    }
}

#[tokio::test]
async fn a_folder_that_goes_and_comes_back_takes_nothing_along() {
    let (folder, _) = with_plugins(&["users", "chat"], QUIET);
    let (plugins, off) = (folder.path().join("plugins"), folder.path().join("off"));
    fs::create_dir(&plugins).expect("created");
    for name in ["users.wasm", "chat.wasm"] {
        fs::rename(folder.path().join(name), plugins.join(name)).expect("moved");
    }
    let troubles = Arc::<SourceTroubles>::default();
    let mut watch = FolderWatch::new(&plugins, QUIET, Arc::clone(&troubles));
    fs::rename(&plugins, &off).expect("moved");
    assert_eq!(next_within(&mut watch, LOOK_INTERVAL * 2).await, None);
    assert_eq!(troubles.all(), [(plugins.clone(), Trouble::Gone)]);
    fs::create_dir(&plugins).expect("created");
    assert_eq!(next_within(&mut watch, LOOK_INTERVAL * 2).await, None);
    assert_eq!(troubles.all(), [(plugins.clone(), Trouble::Replaced)]);
    fs::remove_dir(&plugins).expect("removed");
    fs::rename(&off, &plugins).expect("moved back");
    // Both may be read again; what they say decides.
    while let Some(name) = next_within(&mut watch, LOOK_INTERVAL * 2).await {
        assert!(!watch.watched().is_removed(&name), "{name}");
    }
    assert_eq!(troubles.all(), []);
    // It is watched as before.
    fs::write(plugins.join("users.wasm"), "another").expect("written");
    check_next(&mut watch, Some("users")).await;
    fs::remove_file(plugins.join("chat.wasm")).expect("removed");
    check_next(&mut watch, Some("chat")).await;
    assert!(watch.watched().is_removed("chat"));
}

#[cfg(unix)]
#[tokio::test]
async fn a_folder_behind_a_link_is_watched_at_once_and_so_is_the_next_one() {
    use std::os::unix::fs::symlink;
    let (folder, _) = with_plugins(&[], QUIET);
    let path = |name: &str| folder.path().join(name);
    for version in ["v1", "v2"] {
        fs::create_dir(path(version)).expect("created");
        fs::write(path(version).join("users.wasm"), version).expect("written");
    }
    symlink("v1", path("plugins")).expect("linked");
    let mut watch = FolderWatch::new(&path("plugins"), QUIET, Arc::default());
    let begun = clock::now();
    for n in 0..8 {
        fs::write(path("v1/users.wasm"), format!("component {n}")).expect("written");
        check_next(&mut watch, Some("users")).await;
    }
    assert!(clock::since(begun) < LOOK_INTERVAL * 8, "each by a notice");
    symlink("v2", path("next")).expect("linked");
    fs::rename(path("next"), path("plugins")).expect("swapped");
    check_next(&mut watch, Some("users")).await;
    fs::write(path("v2/users.wasm"), "another").expect("written");
    check_next(&mut watch, Some("users")).await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_to_nothing_takes_nothing_along() {
    let (folder, _) = with_plugins(&[], QUIET);
    versions(folder.path(), "users.wasm");
    let troubles = Arc::<SourceTroubles>::default();
    let mut watch = FolderWatch::new(folder.path(), QUIET, Arc::clone(&troubles));
    fs::remove_file(folder.path().join("..data")).expect("removed");
    assert_eq!(next_within(&mut watch, LOOK_INTERVAL * 2).await, None);
    let expected = (folder.path().join("users.wasm"), Trouble::Dangling);
    assert_eq!(troubles.all(), [expected]);
    std::os::unix::fs::symlink("..v2", folder.path().join("..data")).expect("linked");
    check_next(&mut watch, Some("users")).await;
    assert_eq!(next_within(&mut watch, LOOK_INTERVAL * 2).await, None);
    assert_eq!(troubles.all(), []);
}

#[tokio::test]
async fn a_folder_that_comes_later_is_watched_from_then_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut watch = FolderWatch::new(folder.path(), QUIET, Arc::default());
    let sub = folder.path().join("chat");
    fs::create_dir(&sub).expect("created");
    assert_eq!(next_within(&mut watch, SOON).await, None);
    fs::write(sub.join("chat.wasm"), "component").expect("written");
    assert_eq!(
        next_within(&mut watch, PATIENCE).await.as_deref(),
        Some("chat")
    );
}

#[tokio::test]
async fn without_notices_a_look_finds_the_change() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut watch = FolderWatch::new(folder.path(), QUIET, Arc::default());
    watch.notices.silence();
    fs::write(folder.path().join("users.wasm"), "component").expect("written");
    assert_eq!(
        next_within(&mut watch, PATIENCE).await.as_deref(),
        Some("users")
    );
}

#[tokio::test]
async fn a_signature_is_a_file_of_its_plugin_in_both_layouts() {
    for is_told in [true, false] {
        for name in ["users.wasm", "users/users.wasm"] {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("below")).expect("made");
            fs::write(&path, "component").expect("written");
            let mut watch = FolderWatch::new(folder.path(), QUIET, Arc::default());
            if !is_told {
                watch.notices.silence();
            }
            for signed in [path.clone(), path.with_extension("toml")] {
                fs::write(folder::signature_of(&signed), "signature").expect("written");
                let next = next_within(&mut watch, PATIENCE).await;
                assert_eq!(next.as_deref(), Some("users"), "{name} {is_told}");
            }
            fs::remove_file(folder::signature_of(&path)).expect("removed");
            let next = next_within(&mut watch, PATIENCE).await;
            assert_eq!(next.as_deref(), Some("users"), "{name} {is_told}");
            assert!(!watch.watched().is_removed("users"));
        }
    }
}

#[tokio::test]
async fn temporaries_are_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut watch = FolderWatch::new(folder.path(), QUIET, Arc::default());
    for name in [".users.wasm.swp", "users.wasm~", "users.wasm.tmp", "4913"] {
        fs::write(folder.path().join(name), "text").expect("written");
    }
    assert_eq!(next_within(&mut watch, QUIET * 3).await, None);
}

/// Want of descriptors passes without any change of the file.
#[tokio::test]
async fn a_plugin_that_could_not_be_read_is_tried_again_at_every_look() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("users.wasm");
    fs::write(&path, "component").expect("written");
    let troubles = Arc::<SourceTroubles>::default();
    let mut watch = FolderWatch::new(folder.path(), QUIET, Arc::clone(&troubles));
    let trouble = Trouble::Unreadable("too many open files".to_owned());
    let unread = Unread {
        path: path.clone(),
        trouble: trouble.clone(),
        is_held: true,
    };
    assert!(watch.watched().on_unread("users", unread.clone()), "new");
    assert_eq!(troubles.all(), [(path, trouble)]);
    for _ in 0..2 {
        check_next(&mut watch, Some("users")).await;
        assert!(!watch.watched().on_unread("users", unread.clone()), "known");
    }
    watch.watched().on_read("users", None);
    assert_eq!(troubles.all(), []);
    assert_eq!(next_within(&mut watch, LOOK_INTERVAL * 2).await, None);
}
