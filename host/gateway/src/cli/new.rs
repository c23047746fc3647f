//! `postern new`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{failure::CommandFailure, output::Output};
use crate::scaffold::{self, Lang, NewProject};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  postern new --lang rust greeter         the folder greeter, a service called greeter
  postern new --lang ts plugins/greeter   in the plugin folder, where `postern dev` builds it

Then: cd greeter, postern test, postern build. The SDK comes with this program and is written into
greeter/.postern; what else the language needs is installed by `postern build`, pinned, into
$XDG_CACHE_HOME/postern or ~/.cache/postern.")]
pub(super) struct NewArgs {
    /// The folder to make; its last part is the plugin's name.
    name: PathBuf,
    /// The language.
    #[arg(long, default_value = "rust")]
    lang: Lang,
}

pub(super) fn new(args: &NewArgs, output: &Output) -> Result<(), CommandFailure> {
    let NewProject {
        folder,
        name,
        files,
    } = scaffold::create(&args.name, args.lang).map_err(|error| {
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
    output.note(&format!(
        "next:\n  cd {shown}\n  postern test     its unit tests, without a gateway\n  \
         postern build    {name}.wasm"
    ));
    Ok(())
}
