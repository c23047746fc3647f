//! `postern plugins shadow --from FILE`.

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use clap::Args;
use futures_util::stream;
use postern_core::{Body, BodyStream, Error};
use serde_json::{Value as Json, json};

use super::{
    admin::{Admin, AdminArgs, path},
    failure::CommandFailure,
    options::SharedOptions,
    output::Output,
    replays::{self, FileReplay},
    runtime::block_on,
};
use crate::{
    build,
    recording::{self, CallReport, LocalReplay},
};

/// Octets of a file that are sent at one time.
const PIECE_BYTES: usize = 64 * 1024;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  postern plugins shadow --from users.calls                               by what a gateway serves as `users`
  postern plugins shadow --from users.calls users-next                    by what it serves as `users-next`
  postern plugins shadow --from users.calls --component target/users.wasm by a file, without a gateway

Each call is replayed in a fresh instance that is told what is recorded: the same time, the same random numbers,
the same answers of kv and of other services. Nothing is changed and nobody else is asked. Exits with 1 when
a reply differs, or when the component asked for what was not recorded.")]
pub(super) struct ShadowArgs {
    /// The plugin that answers; the recorded one when absent.
    #[arg(value_name = "NAME", conflicts_with = "component")]
    name: Option<String>,
    /// The recording.
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// A component that answers here, with the manifest beside it.
    #[arg(long, value_name = "FILE.wasm")]
    component: Option<PathBuf>,
    #[command(flatten)]
    admin: AdminArgs,
}

pub(super) fn shadow(
    options: &SharedOptions,
    args: &ShadowArgs,
    output: &Output,
) -> Result<(), CommandFailure> {
    let replayed = match &args.component {
        Some(component) => by_component(options, component, &args.from, output)?,
        None => by_gateway(options, args, output)?,
    };
    let files = [replayed];
    let verdict = replays::verdict(&files);
    if output.is_json() {
        let json = files.first().map(FileReplay::to_json).unwrap_or_default();
        return match verdict {
            Ok(()) => output.json(&json),
            Err(message) => Err(CommandFailure {
                json: Some(json),
                ..CommandFailure::new(message)
            }),
        };
    }
    replays::show(&files, output)?;
    verdict.map_err(CommandFailure::new)
}

/// Replays here.
fn by_component(
    options: &SharedOptions,
    component: &Path,
    from: &Path,
    output: &Output,
) -> Result<FileReplay, CommandFailure> {
    let failed = |error: &dyn std::fmt::Display| CommandFailure::new(error.to_string());
    let config = options.load(&[], output)?.config;
    let package = replays::package(component)?;
    // Errors name the plugin, so it is called as it was.
    let plugin = {
        let mut calls = recording::read(from).map_err(|fault| failed(&fault))?;
        let first = calls.next().map_err(|fault| failed(&fault))?;
        first.map_or_else(String::new, |(_, header, _)| header.plugin.clone())
    };
    let compiled = build::kept_folder("compiled");
    block_on(async {
        let replay = LocalReplay::new(&plugin, package, &config, compiled).await;
        let mut replay = replay.map_err(|error| failed(&error))?;
        let replayed = replays::replay_file(&mut replay, from, false).await;
        replay.close().await;
        replayed.map_err(|fault| failed(&fault))
    })
}

/// Has a gateway replay.
fn by_gateway(
    options: &SharedOptions,
    args: &ShadowArgs,
    output: &Output,
) -> Result<FileReplay, CommandFailure> {
    let admin = Admin::new(options, &args.admin, output)?;
    let failed = |error: &dyn std::fmt::Display| CommandFailure::new(error.to_string());
    let mut calls = recording::read(&args.from).map_err(|fault| failed(&fault))?;
    let first = calls.next().map_err(|fault| failed(&fault))?;
    let recorded = first.map(|(_, header, _)| header.plugin.clone());
    let name = args.name.clone().or(recorded);
    let name = name.ok_or_else(|| failed(&format!("{}: it holds no call", args.from.display())))?;
    let file = File::open(&args.from).map_err(|error| failed(&error))?;
    block_on(async {
        let body = Body::Octets(BodyStream::new(pieces(file)));
        let mut lines = admin
            .follow(&path("plugins", &name, "/replay"), body)
            .await?;
        let mut replayed = FileReplay::new(&args.from);
        while let Some(line) = lines.next().await {
            let line = line.map_err(|error| CommandFailure::admin(&error))?;
            let json: Json = serde_json::from_slice(&line).map_err(|error| failed(&error))?;
            if let Some(fault) = json.get("fault").and_then(Json::as_str)
                && json.get("line").is_none()
            {
                return Err(CommandFailure::new(fault));
            }
            if json.get("end").is_some() {
                return Ok(replayed);
            }
            let report = serde_json::from_value::<CallReport>(json);
            replayed.count(report.map_err(|error| failed(&error))?);
        }
        let so_far = json!(replayed.counts);
        Err(failed(&format!("the gateway ended early, after {so_far}")))
    })
}

/// The octets of a file.
fn pieces(file: File) -> impl futures_util::Stream<Item = Result<Bytes, Error>> + Send {
    stream::unfold(Some(file), |file| async move {
        let mut file = file?;
        let mut piece = vec![0; PIECE_BYTES];
        match file.read(&mut piece) {
            Ok(0) => None,
            Ok(n_read) => {
                piece.truncate(n_read);
                Some((Ok(Bytes::from(piece)), Some(file)))
            }
            Err(error) => {
                let message = format!("the recording cannot be read: {error}");
                Some((Err(Error::invalid_argument(message)), None))
            }
        }
    })
}
