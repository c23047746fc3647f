//! Credentials as `docker login` keeps them: in `config.json` of `$DOCKER_CONFIG` or `~/.docker`, in it as
//! they are or with a program `docker-credential-NAME` that is asked for them.

use std::{fs, io, path::PathBuf, process::Stdio, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value as Json;
use tokio::{io::AsyncWriteExt, process::Command, time::timeout};

/// Who asks a registry.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RegistryCredentials {
    pub user: String,
    pub password: String,
}

/// What a file says of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Kept {
    Nothing,
    Here(RegistryCredentials),
    /// Name of the program that has them.
    Program(String),
}

impl std::fmt::Debug for RegistryCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials of {}", self.user)
    }
}

/// What is kept for `registry` (`HOST:PORT`); `None` where nothing is.
///
/// # Errors
/// What is wrong with the file, or with the program that it names.
pub(crate) async fn credentials_of(registry: &str) -> Result<Option<RegistryCredentials>, String> {
    let Some(path) = config_path() else {
        return Ok(None);
    };
    let shown = path.display();
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("cannot read {shown}: {error}")),
    };
    let kept = kept(&text, registry).map_err(|reason| format!("{shown}: {reason}"))?;
    match kept {
        Kept::Nothing => Ok(None),
        Kept::Here(credentials) => Ok(Some(credentials)),
        Kept::Program(name) => ask(&format!("docker-credential-{name}"), registry).await,
    }
}

fn config_path() -> Option<PathBuf> {
    let folder = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let folder = folder.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".docker")));
    Some(folder?.join("config.json"))
}

/// What the file `text` says of `registry`. A program for one registry comes before what is written, and
/// that before the program for all.
fn kept(text: &str, registry: &str) -> Result<Kept, String> {
    let config: Json = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let program = |name: &Json| {
        let name = name.as_str().unwrap_or_default();
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        match !name.is_empty() && name.chars().all(is_name) {
            true => Ok(Kept::Program(name.to_owned())),
            false => Err(format!("{name:?} names no program for credentials")),
        }
    };
    let of_registry = |table: &str| {
        let entries = config.get(table).and_then(Json::as_object);
        let mut entries = entries.into_iter().flatten();
        entries.find_map(|(key, value)| (host_of(key) == registry).then_some(value))
    };
    if let Some(name) = of_registry("credHelpers") {
        return program(name);
    }
    if let Some(written) = of_registry("auths")
        && let Some(credentials) = written_in(written, registry)?
    {
        return Ok(Kept::Here(credentials));
    }
    match config.get("credsStore") {
        Some(name) if name.as_str() != Some("") => program(name),
        Some(_) | None => Ok(Kept::Nothing),
    }
}

/// `{"auth": BASE64 of NAME:PASSWORD}`, or both by themselves; an empty table says that a program has them.
fn written_in(written: &Json, registry: &str) -> Result<Option<RegistryCredentials>, String> {
    let text = |key: &str| {
        written
            .get(key)
            .and_then(Json::as_str)
            .filter(|s| !s.is_empty())
    };
    if text("identitytoken").is_some() {
        return Err(format!(
            "for {registry} it holds a token of an identity, which is not taken; give --username and --password-stdin"
        ));
    }
    if let (Some(user), Some(password)) = (text("username"), text("password")) {
        return Ok(Some(RegistryCredentials {
            user: user.to_owned(),
            password: password.to_owned(),
        }));
    }
    let Some(auth) = text("auth") else {
        return Ok(None);
    };
    let octets = STANDARD.decode(auth.trim()).ok();
    let decoded = octets.and_then(|octets| String::from_utf8(octets).ok());
    let parts = decoded.as_deref().and_then(|text| text.split_once(':'));
    let Some((user, password)) = parts else {
        return Err(format!(
            "what it holds for {registry} is no NAME:PASSWORD in base64"
        ));
    };
    Ok(Some(RegistryCredentials {
        user: user.to_owned(),
        // Docker itself pads it.
        password: password.trim_end_matches('\0').to_owned(),
    }))
}

/// `https://index.docker.io/v1/` is `index.docker.io`.
fn host_of(key: &str) -> &str {
    let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
    rest.split_once('/').map_or(rest, |(host, _)| host)
}

/// Asks a program by its protocol: the registry in, JSON out.
async fn ask(program: &str, registry: &str) -> Result<Option<RegistryCredentials>, String> {
    let asking = async {
        let mut child = Command::new(program)
            .arg("get")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(registry.as_bytes()).await?;
        }
        child.wait_with_output().await
    };
    let asked = timeout(PROGRAM_TIME_MAX, asking).await;
    let late = || {
        io::Error::other(format!(
            "it gives no answer within {} s",
            PROGRAM_TIME_MAX.as_secs()
        ))
    };
    let output = asked.unwrap_or_else(|_| Err(late()));
    let output = output.map_err(|error| format!("{program} cannot be asked: {error}"))?;
    if !output.status.success() {
        // It has none for this registry.
        return Ok(None);
    }
    said_by(&output.stdout)
        .map(Some)
        .ok_or_else(|| format!("{program} answers neither `Username` nor `Secret`"))
}

fn said_by(octets: &[u8]) -> Option<RegistryCredentials> {
    let said: Json = serde_json::from_slice(octets).ok()?;
    let text = |key: &str| Some(said.get(key)?.as_str()?.to_owned());
    Some(RegistryCredentials {
        user: text("Username")?,
        password: text("Secret")?,
    })
}

const PROGRAM_TIME_MAX: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    fn here(user: &str, password: &str) -> Kept {
        Kept::Here(RegistryCredentials {
            user: user.to_owned(),
            password: password.to_owned(),
        })
    }

    #[track_caller]
    fn check(text: &str, registry: &str, expected: &Kept) {
        assert_eq!(kept(text, registry).as_ref(), Ok(expected), "{registry}");
    }

    #[test]
    fn finds_what_is_written_for_a_registry() {
        // printf 'ada:p:w' | base64
        let text = r#"{"auths": {"127.0.0.1:5000": {"auth": "YWRhOnA6dw=="},
            "https://index.docker.io/v1/": {"username": "bob", "password": "x"},
            "empty.example": {}}}"#;
        check(text, "127.0.0.1:5000", &here("ada", "p:w"));
        check(text, "index.docker.io", &here("bob", "x"));
        check(text, "empty.example", &Kept::Nothing);
        check(text, "127.0.0.1", &Kept::Nothing);
        check("{}", "127.0.0.1", &Kept::Nothing);
    }

    #[test]
    fn finds_the_program_that_has_them() {
        let text = r#"{"credsStore": "desktop", "credHelpers": {"ecr.example": "ecr-login"},
            "auths": {"own.example": {"auth": "YWRhOnA6dw=="}, "kept.example": {}}}"#;
        check(text, "ecr.example", &Kept::Program("ecr-login".to_owned()));
        check(text, "own.example", &here("ada", "p:w"));
        check(text, "kept.example", &Kept::Program("desktop".to_owned()));
    }

    #[test]
    fn what_cannot_be_used_is_told_without_secrets() {
        for (text, told) in [
            ("{", "EOF"),
            (
                r#"{"auths": {"r.example": {"auth": "c2VjcmV0"}}}"#,
                "no NAME:PASSWORD",
            ),
            (
                r#"{"auths": {"r.example": {"identitytoken": "secret"}}}"#,
                "token of an identity",
            ),
            (r#"{"credsStore": "../x"}"#, "names no program"),
        ] {
            let reason = kept(text, "r.example").expect_err(text);
            assert!(
                reason.contains(told) && !reason.contains("secret"),
                "{reason}"
            );
        }
        let shown = format!("{:?}", here("ada", "hunter2"));
        assert!(
            shown.contains("ada") && !shown.contains("hunter2"),
            "{shown}"
        );
    }

    #[test]
    fn reads_what_a_program_says() {
        let said = br#"{"ServerURL": "r.example", "Username": "ada", "Secret": "p"}"#;
        assert_eq!(said_by(said).map(Kept::Here), Some(here("ada", "p")));
        assert_eq!(said_by(b"{}"), None);
    }
}
