//! `postern plugins pull`.

use std::{fs, io::Read as _, path::PathBuf};

use clap::Args;
use postern_wasm::Digest;
use serde_json::json;

use super::{failure::CommandFailure, options::SharedOptions, output::Output, runtime::block_on};
use crate::{
    oci::{
        Artifact, ArtifactReference, FetchOptions, ManifestChoice, Placed, PullFault, PutFault,
        RegistryCredentials, credentials_of, fetch, put,
    },
    plugins::folder::is_name,
};

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  postern plugins pull oci://registry.example/acme/users:1.2
  postern plugins pull oci://registry.example/acme/users@sha256:DIGEST --as users
  printf %s \"$TOKEN\" | postern plugins pull oci://registry.example/acme/users:1.2 \\
    --username ci --password-stdin

Taken are artifacts with one layer of type application/wasm; a layer with a title that ends with .toml is the
manifest, one of type application/vnd.postern.schema.v1 the schema of protobuf, and layers NAME.wasm.minisig,
NAME.toml.minisig and NAME.proto.minisig are the signatures. A gateway that watches the folder deploys what comes, by
the rules that hold for every file there.")]
pub(super) struct PullArgs {
    /// The artifact: oci://REGISTRY/REPOSITORY[:TAG][@sha256:DIGEST].
    #[arg(value_name = "REFERENCE")]
    reference: ArtifactReference,
    /// What the plugin is called; the last part of the repository when left out.
    #[arg(long = "as", value_name = "NAME")]
    name: Option<String>,
    /// Folder of plugins, in the place of the configured one.
    #[arg(long, value_name = "DIR")]
    plugins: Option<PathBuf>,
    /// What becomes of a manifest that lies there and differs from that of the artifact; refused when left
    /// out.
    #[arg(long, value_name = "CHOICE")]
    manifest: Option<ManifestChoice>,
    /// Who asks, in the place of whom `docker login` has kept.
    #[arg(long, value_name = "NAME", requires = "password_stdin")]
    username: Option<String>,
    /// Read the password from the standard input.
    #[arg(long, requires = "username")]
    password_stdin: bool,
    /// Certificates in PEM by which alone the registry is verified.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Ask without TLS. Only a registry on this machine.
    #[arg(long, conflicts_with = "ca_file")]
    insecure: bool,
}

pub(super) fn pull(
    options: &SharedOptions,
    args: &PullArgs,
    output: &Output,
) -> Result<(), CommandFailure> {
    let folder = match &args.plugins {
        Some(folder) => folder.clone(),
        None => options.load(&[], output)?.config.plugins.folder,
    };
    let reference = &args.reference;
    let name = args.name.as_deref();
    let name = name.unwrap_or_else(|| reference.base_name());
    if !is_name(name) {
        let message = format!("{name:?} is no name of a plugin");
        let remedy =
            "name it with --as: 1 to 64 letters, digits, -, _ or ., the first a letter or a digit";
        return Err(CommandFailure::usage(message).with_remedy(remedy));
    }
    if args.insecure && !reference.is_loopback() {
        let message = format!(
            "{} is not on this machine, so it is asked over TLS",
            reference.registry()
        );
        return Err(CommandFailure::usage(message).with_remedy("leave out --insecure"));
    }
    let artifact = artifact(args)?;
    let pinned = reference.pinned(&artifact.digest);
    let placed = put(&folder, name, (&artifact, &pinned), args.manifest);
    let placed = placed.map_err(|fault| unplaced(&fault))?;
    tell(name, &pinned, (&artifact, &placed), output)
}

/// What was fetched, as it came.
fn artifact(args: &PullArgs) -> Result<Artifact, CommandFailure> {
    let given = given(args)?;
    let authorities = args.ca_file.as_ref().map(|path| {
        let text = fs::read_to_string(path);
        let unread = |error| format!("cannot read {}: {error}", path.display());
        text.map_err(|error| CommandFailure::new(unread(error)))
    });
    let authorities = authorities.transpose()?;
    let reference = &args.reference;
    block_on(async {
        let credentials = match given {
            Some(credentials) => Some(credentials),
            None => credentials_of(reference.registry())
                .await
                .map_err(CommandFailure::new)?,
        };
        let options = FetchOptions {
            credentials,
            is_plain: args.insecure,
            authorities,
        };
        let fetched = fetch(reference, options).await;
        fetched.map_err(|fault| failure(&fault))
    })
}

fn tell(
    name: &str,
    pinned: &str,
    (artifact, placed): (&Artifact, &Placed),
    output: &Output,
) -> Result<(), CommandFailure> {
    let paths = |paths: &[PathBuf]| -> Vec<String> {
        let paths = paths.iter();
        paths.map(|path| path.display().to_string()).collect()
    };
    let component = Digest::of(&artifact.component).to_string();
    if output.is_json() {
        return output.json(&json!({
            "name": name,
            "reference": pinned,
            "component": component,
            "bytes": artifact.component.len(),
            "signed": is_signed(artifact),
            "written": paths(&placed.written),
            "kept": paths(&placed.kept),
            "removed": paths(&placed.removed),
        }));
    }
    let signed = if is_signed(artifact) { ", signed" } else { "" };
    let short: String = component.chars().take(12).collect();
    let bytes = artifact.component.len();
    output.line(&format!("{name}: {short}, {bytes} bytes{signed}"))?;
    output.line(&format!("from     {pinned}"))?;
    for (what, paths) in [
        ("written", paths(&placed.written)),
        ("kept", paths(&placed.kept)),
        ("removed", paths(&placed.removed)),
    ] {
        for path in paths {
            output.line(&format!("{what:<8} {path}"))?;
        }
    }
    Ok(())
}

fn is_signed(artifact: &Artifact) -> bool {
    artifact.component_signature.is_some()
}

/// Credentials of the options.
fn given(args: &PullArgs) -> Result<Option<RegistryCredentials>, CommandFailure> {
    let Some(user) = &args.username else {
        return Ok(None);
    };
    let mut password = String::new();
    let mut input = std::io::stdin().lock().take(PASSWORD_BYTES_MAX + 1);
    let read = input.read_to_string(&mut password);
    let n_bytes = read.map_err(|error| {
        CommandFailure::new(format!(
            "the password cannot be read from the standard input: {error}"
        ))
    })?;
    if n_bytes as u64 > PASSWORD_BYTES_MAX {
        let message = format!("the password has more than {PASSWORD_BYTES_MAX} bytes");
        return Err(CommandFailure::usage(message));
    }
    let password = password.trim_end_matches(['\r', '\n']).to_owned();
    if password.is_empty() {
        let message = "there is no password on the standard input";
        return Err(
            CommandFailure::usage(message).with_remedy("pipe it in: printf %s PASSWORD | ...")
        );
    }
    let user = user.clone();
    Ok(Some(RegistryCredentials { user, password }))
}

fn failure(fault: &PullFault) -> CommandFailure {
    let failure = CommandFailure::new(fault.to_string());
    match fault.remedy() {
        Some(remedy) => failure.with_remedy(remedy),
        None => failure,
    }
}

fn unplaced(fault: &PutFault) -> CommandFailure {
    let failure = CommandFailure::new(fault.to_string());
    match fault {
        PutFault::OtherManifest(_) => failure.with_remedy(
            "--manifest keep leaves it, --manifest replace takes that of the artifact",
        ),
        PutFault::OtherSchema { .. } => failure.with_remedy("move it away"),
        PutFault::Unread { .. } => failure.with_remedy("make it readable, or move it away"),
        PutFault::Unwritten { .. } => failure
            .with_remedy("--plugins names the folder, which must be there and be yours to write"),
    }
}

/// Tokens of registries have some kilobytes.
const PASSWORD_BYTES_MAX: u64 = 64 * 1024;
