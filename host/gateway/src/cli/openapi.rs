//! `postern openapi`.

use clap::Args;

use super::{
    admin::{Admin, AdminArgs},
    failure::CommandFailure,
    options::SharedOptions,
    output::Output,
    runtime::block_on,
};

#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  postern openapi > openapi.json")]
pub(super) struct OpenApiArgs {
    /// Leave out routes that are for other listeners than this.
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    #[command(flatten)]
    admin: AdminArgs,
}

pub(super) fn openapi(
    options: &SharedOptions,
    args: &OpenApiArgs,
    output: &Output,
) -> Result<(), CommandFailure> {
    let admin = Admin::new(options, &args.admin, output)?;
    let path = match &args.listener {
        Some(name) => {
            let name =
                percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC);
            format!("/openapi.json?listener={name}")
        }
        None => "/openapi.json".to_owned(),
    };
    output.json(&block_on(admin.read(&path))?)
}
