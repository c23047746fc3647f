//! Real projects, built by the real compiler. They have no dependencies, so that each takes a
//! second or two and no network.

use super::*;

struct Workshop(tempfile::TempDir);

impl Workshop {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn write(&self, path: &str, text: &str) -> &Self {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("written");
        self
    }

    fn project(&self, name: &str, crate_type: &str, source: &str) -> PathBuf {
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\
             [lib]\ncrate-type = [\"{crate_type}\"]\n"
        );
        self.write(&format!("{name}/Cargo.toml"), &manifest);
        self.write(&format!("{name}/src/lib.rs"), source);
        self.0.path().join(name)
    }
}

const SOUND: &str = "#[unsafe(no_mangle)] pub extern \"C\" fn answer() -> u32 { 42 }\n";

#[test]
fn leaves_the_component_beside_the_manifest_and_replaces_it_only_when_it_differs() {
    let workshop = Workshop::new();
    let folder = workshop.project("answer", "cdylib", SOUND);
    let mut told = Vec::new();
    let built = project(&folder, &mut |progress| told.push(progress)).expect("it compiles");
    assert_eq!(built.component, folder.join("answer.wasm"));
    assert!(built.changed);
    let component = fs::read(&built.component).expect("it is there");
    assert_eq!(component.len() as u64, built.octets);
    // Magic, then version 13 in layer 1: a component, not a core module.
    assert_eq!(component.get(..8), Some(&b"\0asm\x0d\0\x01\0"[..]));
    assert!(!folder.join(".answer.wasm.tmp").exists());
    assert!(told.contains(&BuildProgress::Compiled {
        name: "answer".into(),
        fresh: false
    }));

    let again = project(&folder, &mut |_| ()).expect("it compiles");
    assert!(!again.changed);
}

#[test]
fn builds_a_workspace_in_one_run_and_the_sound_ones_when_one_is_broken() {
    let workshop = Workshop::new();
    workshop.write(
        "Cargo.toml",
        "[workspace]\nresolver = \"3\"\nmembers = [\"broken\", \"plain\", \"sound\"]\n",
    );
    let folders = [
        workshop.project("broken", "cdylib", "pub fn broken() -> u32 { true }\n"),
        workshop.project("plain", "rlib", "pub fn plain() {}\n"),
        workshop.project("sound", "cdylib", SOUND),
    ];
    let mut runs = Vec::new();
    let outcomes = projects(&folders, &mut |progress| {
        if let BuildProgress::Started { names } = progress {
            runs.push(names);
        }
    });
    let all = vec!["broken".to_owned(), "sound".to_owned()];
    assert_eq!(
        runs,
        [all, vec!["broken".to_owned()], vec!["sound".to_owned()]]
    );
    let of = |name: &str| {
        let found = outcomes
            .iter()
            .find(|outcome| outcome.folder.ends_with(name));
        &found.expect("an outcome for each").result
    };
    assert!(matches!(of("plain"), Err(BuildError::NoComponent { .. })));
    assert!(of("sound").is_ok());
    let Err(BuildError::Failed { diagnostics, .. }) = of("broken") else {
        panic!("it fails")
    };
    assert!(diagnostics.contains("mismatched types"), "{diagnostics}");
}

#[test]
fn a_folder_without_a_project_is_refused() {
    let workshop = Workshop::new();
    let refused = project(workshop.0.path(), &mut |_| ());
    assert!(matches!(refused, Err(BuildError::NoProject(_))));
}

#[test]
fn finds_projects_one_level_below() {
    let workshop = Workshop::new();
    let folder = workshop.project("answer", "cdylib", SOUND);
    workshop.write("loose.wasm", "").write("data/readme", "");
    assert_eq!(
        find_projects(workshop.0.path()).expect("readable"),
        [folder]
    );
    let absent = workshop.0.path().join("absent");
    assert!(find_projects(&absent).expect("nothing").is_empty());
}

#[test]
fn a_remedy_asks_for_the_version_that_a_build_asks_for() {
    for (program, least) in [
        ("go", go::LEAST),
        ("python3", python::LEAST),
        ("node", javascript::LEAST),
    ] {
        let found = "0.9".to_owned();
        let error = BuildError::TooOld {
            program,
            found,
            least,
        };
        let remedy = error.remedy().expect("one for each program");
        let asked = format!(" {} or newer", least.trim_end_matches(".0"));
        assert!(remedy.contains(&asked), "{program}: {remedy}");
    }
}
