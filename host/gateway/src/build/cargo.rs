//! Runs cargo and reads what it says: which packages a workspace has, which files were made.

use std::{
    io::{self, BufRead, BufReader, IsTerminal, Read},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use serde::Deserialize;

use super::{
    outcome::{BuildError, BuildProgress},
    toolchain::TARGET,
};

/// A package of a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WorkspaceMember {
    pub name: String,
    pub manifest: PathBuf,
    /// Whether its library is a `cdylib`, which the target makes a component of.
    pub is_component: bool,
}

/// A component file that cargo made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Artifact {
    pub manifest: PathBuf,
    pub path: PathBuf,
}

impl WorkspaceMember {
    pub(super) fn is_in(&self, folder: &Path) -> bool {
        let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        self.manifest.parent() == Some(folder.as_path())
    }
}

/// All packages of the workspace that the project in `folder` belongs to.
pub(super) fn workspace_of(folder: &Path) -> Result<Vec<WorkspaceMember>, BuildError> {
    if !folder.join("Cargo.toml").is_file() {
        return Err(BuildError::NoProject(folder.to_owned()));
    }
    let output = Command::new("cargo")
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(folder)
        .output()
        .map_err(no_cargo)?;
    let unreadable = |reason: String| BuildError::Unreadable {
        folder: folder.to_owned(),
        reason,
    };
    if !output.status.success() {
        return Err(unreadable(
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        ));
    }
    let metadata: Metadata =
        serde_json::from_slice(&output.stdout).map_err(|error| unreadable(error.to_string()))?;
    Ok(metadata
        .packages
        .into_iter()
        .map(Package::into_member)
        .collect())
}

/// Compiles the packages in one run. The profile is the same whatever the project's own says:
/// small, fast, and without what a component has no use for.
pub(super) fn build(
    members: &[&WorkspaceMember],
    on: &mut dyn FnMut(BuildProgress),
) -> Result<Vec<Artifact>, BuildError> {
    let names: Vec<_> = members.iter().map(|member| member.name.clone()).collect();
    let Some(first) = members.first() else {
        return Ok(Vec::new());
    };
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--lib", "--target", TARGET, "--quiet"]);
    cargo.arg("--message-format=json-render-diagnostics");
    cargo.arg(format!(
        "--color={}",
        if io::stderr().is_terminal() {
            "always"
        } else {
            "never"
        }
    ));
    for setting in PROFILE {
        cargo.args(["--config", &format!("profile.release.{setting}")]);
    }
    for name in &names {
        cargo.args(["--package", name]);
    }
    if let Some(folder) = first.manifest.parent() {
        cargo.current_dir(folder);
    }
    on(BuildProgress::Started {
        names: names.clone(),
    });
    let mut child = cargo
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(no_cargo)?;
    // Both pipes are read at once: a full one would stop the compiler.
    let errors = child
        .stderr
        .take()
        .map(|stderr| thread::spawn(move || read_all(stderr)));
    let mut artifacts = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            read_message(&line, &mut artifacts, on);
        }
    }
    let diagnostics = errors
        .and_then(|thread| thread.join().ok())
        .unwrap_or_default();
    let status = child.wait().map_err(no_cargo)?;
    if status.success() {
        if !diagnostics.trim().is_empty() {
            on(BuildProgress::Warned { diagnostics });
        }
        return Ok(artifacts);
    }
    Err(BuildError::Failed { names, diagnostics })
}

fn read_all(mut source: impl Read) -> String {
    let mut octets = Vec::new();
    // What was read before an error is still worth telling.
    let _ = source.read_to_end(&mut octets);
    String::from_utf8_lossy(&octets).into_owned()
}

fn read_message(line: &str, artifacts: &mut Vec<Artifact>, on: &mut dyn FnMut(BuildProgress)) {
    let Ok(Message::CompilerArtifact {
        manifest_path,
        target,
        filenames,
        fresh,
    }) = serde_json::from_str(line)
    else {
        return;
    };
    let component = filenames
        .into_iter()
        .find(|path| path.extension().is_some_and(|e| e == "wasm"));
    if let Some(path) = component {
        artifacts.push(Artifact {
            manifest: manifest_path,
            path,
        });
    }
    on(BuildProgress::Compiled {
        name: target.name,
        fresh,
    });
}

fn no_cargo(source: io::Error) -> BuildError {
    BuildError::NoProgram {
        program: "cargo",
        source,
    }
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    #[serde(default)]
    crate_types: Vec<String>,
}

#[derive(Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
enum Message {
    CompilerArtifact {
        manifest_path: PathBuf,
        target: Target,
        filenames: Vec<PathBuf>,
        fresh: bool,
    },
    #[serde(other)]
    Other,
}

impl Package {
    fn into_member(self) -> WorkspaceMember {
        let is_cdylib = |target: &Target| target.crate_types.iter().any(|kind| kind == "cdylib");
        WorkspaceMember {
            is_component: self.targets.iter().any(is_cdylib),
            name: self.name,
            manifest: self.manifest_path,
        }
    }
}

/// Measured on the Rust guests: 45 KiB instead of some MiB, and calls twice as fast.
const PROFILE: [&str; 6] = [
    "opt-level=3",
    "lto=true",
    "codegen-units=1",
    "strip=true",
    "panic=\"abort\"",
    "debug=false",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_component_among_what_cargo_made() {
        let line = r#"{"reason":"compiler-artifact","package_id":"x","manifest_path":"/p/Cargo.toml",
            "target":{"kind":["cdylib","rlib"],"crate_types":["cdylib","rlib"],"name":"echo"},
            "filenames":["/t/libecho.rlib","/t/echo.wasm"],"fresh":true}"#;
        let (mut artifacts, mut told) = (Vec::new(), Vec::new());
        read_message(line, &mut artifacts, &mut |progress| told.push(progress));
        let artifact = Artifact {
            manifest: "/p/Cargo.toml".into(),
            path: "/t/echo.wasm".into(),
        };
        assert_eq!(artifacts, [artifact]);
        assert_eq!(
            told,
            [BuildProgress::Compiled {
                name: "echo".into(),
                fresh: true
            }]
        );
    }

    #[test]
    fn passes_over_everything_else_that_cargo_says() {
        let lines = [
            r#"{"reason":"build-finished","success":true}"#,
            r#"{"reason":"build-script-executed","package_id":"x"}"#,
            "no json at all",
        ];
        let mut artifacts = Vec::new();
        for line in lines {
            read_message(line, &mut artifacts, &mut |progress| panic!("{progress:?}"));
        }
        assert!(artifacts.is_empty());
    }
}
