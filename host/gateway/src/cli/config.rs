//! `postern config schema|default|show`.

use clap::Subcommand;
use serde_json::json;

use super::{failure::CommandFailure, options::SharedOptions, output::Output};
use crate::config;

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// The JSON schema of postern.toml, for editors.
    #[command(after_help = "Example:\n  postern config schema > postern.schema.json")]
    Schema,
    /// A postern.toml with every key, its meaning, its bounds and its default.
    #[command(after_help = "Example:\n  postern config default > postern.toml")]
    Default,
    /// The effective configuration, each value with where it comes from; secrets are hidden.
    Show,
}

pub(super) fn config(
    options: &SharedOptions,
    command: &ConfigCommand,
    output: &Output,
) -> Result<(), CommandFailure> {
    match command {
        ConfigCommand::Schema => output.line(&format!("{:#}", config::schema())),
        ConfigCommand::Default if output.is_json() => {
            output.json(&json!({ "toml": config::sample() }))
        }
        ConfigCommand::Default => output.text(&config::sample()),
        ConfigCommand::Show => {
            let loaded = options.load(&[], output)?;
            if output.is_json() {
                output.json(&loaded.show_json())
            } else {
                output.text(&loaded.show())
            }
        }
    }
}
