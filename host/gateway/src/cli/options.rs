//! Options of every command, and the configuration that they name.

use std::path::PathBuf;

use clap::Args;

use super::{
    failure::CommandFailure,
    output::{Format, Output},
};
use crate::{
    config::{ConfigSource, LoadError, Loaded},
    sources::writers,
};

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub(super) struct SharedOptions {
    /// Configuration file; `postern.toml` is read when it is there.
    #[arg(
        long,
        short,
        global = true,
        env = "POSTERN_CONFIG",
        value_name = "FILE"
    )]
    pub config: Option<PathBuf>,
    /// How to answer.
    #[arg(
        long,
        short,
        global = true,
        env = "POSTERN_OUTPUT",
        default_value = "text"
    )]
    pub output: Format,
}

impl SharedOptions {
    /// As `load`, once nobody writes to the file any more.
    pub(super) fn load_whole(
        &self,
        overrides: &[(&str, String)],
        output: &Output,
    ) -> Result<Loaded, CommandFailure> {
        let source = ConfigSource::new(self.config.clone());
        let path = source.path();
        writers::wait_until_closed(path, || {
            let path = path.display();
            output.note(&format!(
                "{path} is being written; waiting until its writer closes it"
            ));
        });
        self.load(overrides, output)
    }

    /// The configuration of this file and environment, with `overrides` as variables on top.
    pub(super) fn load(
        &self,
        overrides: &[(&str, String)],
        output: &Output,
    ) -> Result<Loaded, CommandFailure> {
        let mut source = ConfigSource::new(self.config.clone());
        for (variable, value) in overrides {
            source
                .environment
                .insert((*variable).to_owned(), value.clone());
        }
        crate::config::load(&source).map_err(|error| match error {
            LoadError::Faults(faults) => CommandFailure::faults(&faults, output),
            LoadError::Unreadable { .. } => {
                let failure = CommandFailure::new(error.to_string());
                failure.with_remedy("`postern config default` writes one to begin with")
            }
        })
    }
}
