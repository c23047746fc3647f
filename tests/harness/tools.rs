//! Programs of others that tests run against the gateway. `tests/run machine` installs them: those of
//! the system as packages, all others below `target/tools`, in the versions of `tests/tools`.
//!
//! | where | what | named in |
//! | --- | --- | --- |
//! | `target/tools/bin` | programs in Go | `tests/tools/go.mod` |
//! | `target/tools/python` | an environment of Python | `tests/tools/requirements.txt` |
//! | `target/tools/velithon` | an environment of Python with the published peer of velithon | `tests/tools/velithon` |
//! | `target/tools/grpc` | packages of Node: clients of gRPC and Connect | `tests/tools/grpc` |
//! | `target/tools/mqtt` | packages of Node: a client of MQTT | `tests/tools/mqtt` |
//! | `target/tools/redis` | packages of Node: a client of Redis | `tests/tools/redis` |
//! | the system | packages | `need` of `tests/run` |
//!
//! A test whose program is missing fails and says so.

use std::{
    fs,
    net::SocketAddr,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command},
};

use tokio::net::TcpStream;

use crate::{caller::patiently, guests};

/// A running program and all that it has started. Dropping it kills them.
#[derive(Debug)]
pub struct ToolProcess(Child);

impl ToolProcess {
    /// Starts `command` as the head of a process group of its own.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        let program = command.get_program().to_owned();
        let child = command.process_group(0).spawn();
        Self(child.unwrap_or_else(|error| unusable(&program.to_string_lossy(), &error.to_string())))
    }

    /// The process's number, which is that of its group.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Waits until something listens at `address`, for at most a minute.
    ///
    /// # Panics
    /// When the program ends before, or nothing listens in time.
    pub async fn listening(&mut self, address: SocketAddr) {
        patiently("the program listens", async || {
            let ended = self.0.try_wait().expect("the child can be waited for");
            assert!(ended.is_none(), "the program has ended: {ended:?}");
            TcpStream::connect(address).await.is_ok()
        })
        .await;
    }
}

impl Drop for ToolProcess {
    fn drop(&mut self) {
        let group = format!("-{}", self.id());
        // An error means that all of them have ended already.
        let _ = Command::new("kill").args(["-KILL", "--", &group]).output();
        let _ = self.0.wait();
    }
}

/// Where `postern build` keeps what it installs for tests, for the next run as well.
#[must_use]
pub fn cache() -> PathBuf {
    guests::target().join("tools/projects")
}

/// A program below `target/tools/bin`.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn tool(name: &str) -> PathBuf {
    let path = guests::target().join("tools/bin").join(name);
    if !is_program(&path) {
        unusable(name, "it is not in target/tools/bin");
    }
    path
}

/// Python with the packages of `tests/tools/requirements.txt`.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn python() -> PathBuf {
    python_of("python")
}

/// Python with the package `velithon`, as `tests/tools/velithon/requirements.txt` has it.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn velithon_python() -> PathBuf {
    python_of("velithon")
}

fn python_of(environment: &str) -> PathBuf {
    let folder = format!("tools/{environment}/bin");
    let path = guests::target().join(&folder).join("python");
    if !is_program(&path) {
        unusable("python", &format!("it is not in target/{folder}"));
    }
    path
}

/// The folder that has the packages of `tests/tools/NAME`, in `node_modules`.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn node_packages(name: &str) -> PathBuf {
    let path = guests::target().join("tools").join(name);
    if !path.join("node_modules").is_dir() {
        unusable("node", "its packages are not in target/tools/grpc");
    }
    path
}

/// A program of the system, also where only administrators look for it.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn system_tool(name: &str) -> PathBuf {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&folders);
    let places = folders.chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    let found = places.map(|folder| folder.join(name));
    let found = found.into_iter().find(|path| is_program(path));
    found.unwrap_or_else(|| unusable(name, "it is not installed"))
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file())
}

#[expect(clippy::panic, reason = "a test that cannot run fails and says why")]
fn unusable(program: &str, reason: &str) -> ! {
    panic!("`{program}` does not run, {reason}: `tests/run machine` installs it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_the_system_is_found() {
        assert!(system_tool("sh").ends_with("sh"));
    }

    #[test]
    #[should_panic(expected = "`no-such-program` does not run, it is not installed")]
    fn what_is_missing_is_named_with_the_remedy() {
        let _ = system_tool("no-such-program");
    }

    #[tokio::test]
    async fn what_a_program_has_started_ends_with_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let script = "sleep 1000 & echo $! > child; wait";
        let mut command = Command::new("sh");
        let process = ToolProcess::start(command.args(["-c", script]).current_dir(&folder));
        let mut child = String::new();
        patiently("the child is started", async || {
            child = fs::read_to_string(folder.path().join("child")).unwrap_or_default();
            child.ends_with('\n')
        })
        .await;
        drop(process);
        patiently("it has ended", async || {
            let status = fs::read_to_string(format!("/proc/{}/status", child.trim()));
            // Whoever reaps it may take a while.
            status.map_or(true, |status| status.contains("State:\tZ"))
        })
        .await;
    }
}
