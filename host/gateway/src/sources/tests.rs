//! Single files as editors, orchestrators and half-done writers treat them, with real files.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    files::{FileVersion, FileWatch},
    links,
    troubles::{SourceTroubles, Trouble},
};

const SETTLE: Duration = Duration::from_millis(300);
/// Far longer than any test: no look comes to help.
const NEVER: Duration = Duration::from_secs(3600);
const PATIENCE: Duration = Duration::from_secs(20);
/// Long enough for what must not come; a loaded machine makes such a test pass, never fail.
const SHORT: Duration = Duration::from_millis(900);

struct Case {
    folder: tempfile::TempDir,
    watch: FileWatch,
    troubles: Arc<SourceTroubles>,
}

impl Case {
    /// A file that says `one`, which is in force.
    fn new(look_interval: Duration) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("file"), "one").expect("written");
        Self::of(folder, look_interval)
    }

    fn of(folder: tempfile::TempDir, look_interval: Duration) -> Self {
        let troubles = Arc::<SourceTroubles>::default();
        let mut watch = FileWatch::new(SETTLE, look_interval, Some(Arc::clone(&troubles)));
        watch.add(&folder.path().join("file"), Some(b"one"));
        Self {
            folder,
            watch,
            troubles,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn next_within(&mut self, limit: Duration) -> Option<FileVersion> {
        tokio::time::timeout(limit, self.watch.next()).await.ok()
    }

    /// The reading that every watch begins with: what was in force is there.
    async fn begun(mut self) -> Self {
        let first = self.next_within(PATIENCE).await.expect("read once");
        assert_eq!((&*first.bytes, first.is_new), (&b"one"[..], false));
        self
    }

    #[track_caller]
    fn check_next(found: Option<FileVersion>, expected: &str, is_new: bool) {
        let found = found.map(|version| {
            let text = String::from_utf8_lossy(&version.bytes).into_owned();
            (text, version.is_new)
        });
        assert_eq!(found, Some((expected.to_owned(), is_new)));
    }

    async fn until_trouble(&mut self, expected: Trouble) {
        let troubles = Arc::clone(&self.troubles);
        let is_told = async {
            while troubles.all().iter().all(|(_, told)| *told != expected) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            version = self.watch.next() => panic!("{expected}: {version:?} counts"),
            told = tokio::time::timeout(PATIENCE, is_told) => told.expect("told in time"),
        }
    }
}

#[tokio::test]
async fn what_was_written_before_anybody_watched_counts() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("file"), "two").expect("written");
    let mut case = Case::of(folder, NEVER);
    Case::check_next(case.next_within(PATIENCE).await, "two", true);
}

#[tokio::test]
async fn nothing_of_a_file_counts_before_its_writer_closes_it() {
    let mut case = Case::new(NEVER).begun().await;
    let mut file = fs::File::create(case.path("file")).expect("truncated");
    assert_eq!(case.next_within(SHORT).await, None, "truncated");
    for piece in ["t", "w"] {
        file.write_all(piece.as_bytes()).expect("written");
        assert_eq!(case.next_within(SHORT).await, None, "half of it");
    }
    file.write_all(b"o").expect("written");
    drop(file);
    Case::check_next(case.next_within(PATIENCE).await, "two", true);
    assert_eq!(case.troubles.all(), []);
}

#[tokio::test]
async fn a_file_saved_again_as_it_was_is_told_and_is_not_new() {
    let mut case = Case::new(NEVER).begun().await;
    fs::write(case.path("file"), "one").expect("written");
    Case::check_next(case.next_within(PATIENCE).await, "one", false);
}

#[tokio::test]
async fn a_file_of_no_bytes_never_counts() {
    let mut case = Case::new(NEVER).begun().await;
    fs::write(case.path("file"), "").expect("written");
    case.until_trouble(Trouble::Empty).await;
    fs::write(case.path("file"), "two").expect("written");
    Case::check_next(case.next_within(PATIENCE).await, "two", true);
    assert_eq!(case.troubles.all(), []);
}

#[tokio::test]
async fn a_file_that_is_gone_is_told_and_found_when_it_comes_back() {
    let mut case = Case::new(NEVER).begun().await;
    fs::rename(case.path("file"), case.path("off")).expect("renamed");
    case.until_trouble(Trouble::Gone).await;
    fs::rename(case.path("off"), case.path("file")).expect("renamed");
    Case::check_next(case.next_within(PATIENCE).await, "one", false);
    assert_eq!(case.troubles.all(), []);
}

#[tokio::test]
async fn a_folder_that_goes_and_comes_back_is_watched_again() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("keys")).expect("created");
    fs::write(folder.path().join("keys/file"), "one").expect("written");
    let mut case = Case::of(folder, NEVER);
    let key_file = case.path("keys/file");
    case.watch.set(&[key_file.clone()].into());
    assert!(case.next_within(PATIENCE).await.is_some());
    fs::rename(case.path("keys"), case.path("off")).expect("renamed");
    case.until_trouble(Trouble::Gone).await;
    fs::rename(case.path("off"), case.path("keys")).expect("renamed");
    assert!(case.next_within(PATIENCE).await.is_some());
    fs::write(&key_file, "two").expect("written");
    Case::check_next(case.next_within(PATIENCE).await, "two", true);
}

/// Not even root follows a link to itself.
#[cfg(unix)]
#[tokio::test]
async fn a_file_that_cannot_be_read_is_told_and_found_when_it_can() {
    let mut case = Case::new(NEVER).begun().await;
    let (path, beside) = (case.path("file"), case.path("beside"));
    std::os::unix::fs::symlink(&path, &beside).expect("linked");
    fs::rename(&beside, &path).expect("renamed");
    let reason = fs::read(&path).expect_err("a circle").kind().to_string();
    case.until_trouble(Trouble::Unreadable(reason)).await;
    fs::write(&beside, "two").expect("written");
    fs::rename(&beside, &path).expect("renamed");
    Case::check_next(case.next_within(PATIENCE).await, "two", true);
    assert_eq!(case.troubles.all(), []);
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_swapped_to_a_file_of_the_same_size_and_time_is_noticed() {
    let folder = tempfile::tempdir().expect("a folder");
    versions(folder.path(), "file");
    let mut case = Case::of(folder, NEVER).begun().await;
    swap(case.folder.path());
    Case::check_next(case.next_within(PATIENCE).await, "two", true);
    // The folder of the new target is watched from here on.
    fs::write(case.path("..v2/file"), "three").expect("written");
    Case::check_next(case.next_within(PATIENCE).await, "three", true);
}

#[cfg(unix)]
#[tokio::test]
async fn a_look_finds_what_no_notice_told() {
    let folder = tempfile::tempdir().expect("a folder");
    versions(folder.path(), "file");
    let mut case = Case::of(folder, Duration::from_millis(100));
    case.watch.silence();
    let mut case = case.begun().await;
    swap(case.folder.path());
    Case::check_next(case.next_within(PATIENCE).await, "two", true);
}

#[cfg(unix)]
#[tokio::test]
async fn a_time_that_was_set_back_hides_nothing() {
    let mut case = Case::new(Duration::from_millis(100)).begun().await;
    case.watch.silence();
    let path = case.path("file");
    let time = fs::metadata(&path).and_then(|signs| signs.modified());
    fs::write(&path, "two").expect("written");
    let file = fs::File::options().write(true).open(&path);
    let set = file.and_then(|file| file.set_modified(time.expect("it has one")));
    set.expect("set back");
    Case::check_next(case.next_within(PATIENCE).await, "two", true);
}

/// A write through a mapping gives no notice, and a new time only when the page is written back.
#[tokio::test]
async fn a_look_finds_other_content_under_the_same_signs() {
    let mut case = Case::new(Duration::from_millis(100)).begun().await;
    assert_eq!(case.next_within(SHORT).await, None, "looks tell of nothing");
    case.watch.misremember();
    Case::check_next(case.next_within(PATIENCE).await, "one", true);
}

#[tokio::test]
async fn a_writer_that_holds_a_file_open_is_told_of() {
    let mut case = Case::new(Duration::from_millis(100)).begun().await;
    let mut file = fs::File::create(case.path("file")).expect("truncated");
    file.write_all(b"half").expect("written");
    case.until_trouble(Trouble::HeldOpen).await;
    drop(file);
    Case::check_next(case.next_within(PATIENCE).await, "half", true);
    assert_eq!(case.troubles.all(), []);
}

#[tokio::test]
async fn a_file_that_was_never_there_is_no_trouble_until_it_was() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut case = Case::of(folder, NEVER);
    let other = case.path("other");
    case.watch.set(&[].into());
    case.watch.add(&other, None);
    assert_eq!(case.next_within(SHORT).await, None);
    assert_eq!(case.troubles.all(), []);
    fs::write(&other, "one").expect("written");
    Case::check_next(case.next_within(PATIENCE).await, "one", true);
    fs::remove_file(&other).expect("removed");
    case.until_trouble(Trouble::Gone).await;
}

#[cfg(unix)]
#[test]
fn every_link_on_a_path_is_a_name_to_watch() {
    let folder = tempfile::tempdir().expect("a folder");
    let real = folder.path().canonicalize().expect("there");
    versions(&real, "file");
    let names = |path: &str| {
        let names = links::names(&real.join(path));
        let below = names.iter().map(|name| name.strip_prefix(&real));
        let below = below.map(|name| name.expect("below").to_owned());
        below.collect::<Vec<_>>()
    };
    let expected = ["file", "..data", "..v1/file"].map(PathBuf::from);
    assert_eq!(names("file"), expected);
    assert_eq!(names("..v1/absent"), [PathBuf::from("..v1/absent")]);
    assert_eq!(names("absent/file"), [PathBuf::from("absent")]);
    std::os::unix::fs::symlink("../x", real.join("..v1/up")).expect("linked");
    assert_eq!(names("..v1/up"), ["..v1/up", "x"].map(PathBuf::from));
    std::os::unix::fs::symlink("circle", real.join("circle")).expect("linked");
    assert!(names("circle").len() < 50, "bounded");
}

/// `NAME → ..data/NAME`, `..data → ..v1`, and `..v2` of the same size and time, as an orchestrator
/// leaves them.
#[cfg(unix)]
pub(crate) fn versions(folder: &Path, name: &str) {
    use std::os::unix::fs::symlink;
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    for (version, text) in [("..v1", "one"), ("..v2", "two")] {
        let path = folder.join(version);
        fs::create_dir_all(&path).expect("created");
        fs::write(path.join(name), text).expect("written");
        let file = fs::File::options().write(true).open(path.join(name));
        file.and_then(|file| file.set_modified(time)).expect("set");
    }
    symlink("..v1", folder.join("..data")).expect("linked");
    symlink(Path::new("..data").join(name), folder.join(name)).expect("linked");
}

#[cfg(unix)]
pub(crate) fn swap(folder: &Path) {
    std::os::unix::fs::symlink("..v2", folder.join("..data_tmp")).expect("linked");
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).expect("renamed");
}
