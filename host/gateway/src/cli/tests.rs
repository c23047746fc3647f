//! The command line as it is read, and as it explains itself.

use clap::{CommandFactory, Parser};

use super::*;

#[test]
fn the_definition_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_has_help_in_one_line() {
    let command = Cli::command();
    for sub in command.get_subcommands() {
        let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
        assert!(
            !about.is_empty() && !about.contains('\n'),
            "{}",
            sub.get_name()
        );
    }
}

#[test]
fn reads_the_documented_examples() {
    for line in [
        "postern dev",
        "postern run --config edge.toml --plugins p",
        "postern new --lang rust greeter",
        "postern build",
        "postern new --lang ts plugins/greeter",
        "postern build plugins/users",
        "postern test",
        "postern test plugins/users -- --nocapture",
        "postern component inspect greeter.wasm --output json",
        "postern check edge.toml",
        "postern call users/CreateUser {}",
        "postern call --transport udp users/ListUsers {}",
        "postern call -t vstp+udp://localhost:9090 -H a:b --timeout 5s users/ListUsers -",
        "postern pub user.created {}",
        "postern pub --raw --content-type text/plain log.line hello",
        "postern sub user.* order.> --count 3 --timeout 5s",
        "postern plugins list --output json",
        "postern plugins rollback users --admin 127.0.0.1:9900",
        "postern plugins shadow --from users.calls --component target/users.wasm",
        "postern plugins shadow --from users.calls users-next",
        "postern record users --calls 20 --out tests/users.calls --with-credentials",
        "postern record users --sample 1% --for 10m --method users/CreateUser",
        "postern services list",
        "postern inspect 5654 0103",
        "postern inspect --relay 127.0.0.1:9099 --to 127.0.0.1:9090",
        "postern config schema",
        "postern completions bash",
    ] {
        if let Err(error) = Cli::try_parse_from(line.split(' ')) {
            panic!("{line}: {error}");
        }
    }
}

#[test]
fn wrong_usage_exits_with_two() {
    for line in [
        "postern",
        "postern fly",
        "postern call users",
        "postern call users/X {} --timeout soon",
        "postern call users/X {} --transport carrier",
        "postern pub user.*",
        "postern pub",
        "postern sub",
        "postern sub a..b",
        "postern sub a --count 0",
        "postern new --lang cobol x",
        "postern component",
        "postern component inspect",
        "postern inspect",
        "postern inspect --relay 127.0.0.1:1",
        "postern config",
    ] {
        let error = Cli::try_parse_from(line.split(' ')).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}");
    }
}
