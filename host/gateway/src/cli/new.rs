//! `postern new`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{failure::CommandFailure, output::Output};
use crate::scaffold::{self, Lang, Project};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  postern new --lang rust greeter         the folder greeter, a service called greeter
  postern new plugins/greeter             in the plugin folder, where `postern dev` builds it

Then: cd greeter && cargo test && postern build")]
pub(super) struct NewArgs {
    /// The folder to make; its last part is the plugin's name.
    name: PathBuf,
    /// The language.
    #[arg(long, default_value = "rust")]
    lang: Lang,
    /// Folder of the SDK (guest-sdk/rust of Postern's sources), where it is not found by itself.
    #[arg(long, env = "POSTERN_SDK", value_name = "DIR")]
    sdk: Option<PathBuf>,
}

pub(super) fn new(args: &NewArgs, output: &Output) -> Result<(), CommandFailure> {
    let Project {
        folder,
        name,
        files,
    } = scaffold::create(&args.name, args.lang, args.sdk.as_deref()).map_err(|error| {
        let remedy = error.remedy();
        let failure = match error.is_usage() {
            true => CommandFailure::usage(error.to_string()),
            false => CommandFailure::new(error.to_string()),
        };
        match remedy {
            Some(remedy) => failure.with_remedy(remedy),
            None => failure,
        }
    })?;
    if output.is_json() {
        return output.json(&json!({ "name": name, "folder": folder, "files": files }));
    }
    for file in &files {
        output.line(&folder.join(file).display().to_string())?;
    }
    let shown = folder.display();
    output.note(&format!("next: cd {shown} && cargo test && postern build"));
    Ok(())
}
