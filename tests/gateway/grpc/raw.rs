//! Octets of gRPC that are right and wrong, case by case. `raw.py` says what is sent, `raw.txt` what has to come of it.

use postern_tests::{Gateway, Setup};

use super::{INTEROP, Said, guest, said, script};
use crate::{figure, share};

const EXPECTED: &str = include_str!("raw.txt");
/// The limit of a message where nothing is configured, in octets.
const LIMIT: usize = 4 << 20;

/// The lines of the script, those of one part or of all.
async fn lines(gateway: &Gateway, limit: usize, part: Option<&str>) -> String {
    let mut command = script("raw.py");
    command
        .arg(gateway.http.ip().to_string())
        .arg(gateway.http.port().to_string())
        .arg(limit.to_string())
        .args(part);
    let Said { code, out, err } = said(&mut command).await;
    assert_eq!(code, Some(0), "{out}\n{err}\n{}", gateway.log());
    out
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_a_rule_of_grpc_fails_its_call_as_the_rule_says() {
    let _machine = share().await;
    let gateway = Gateway::start(guest(Setup::default(), INTEROP)).await;
    let told = lines(&gateway, LIMIT, None).await;
    let pairs = told.lines().zip(EXPECTED.lines());
    let differences: Vec<_> = pairs
        .filter(|(told, expected)| told != expected)
        .map(|(told, expected)| format!("     told {told}\n expected {expected}"))
        .collect();
    assert!(differences.is_empty(), "\n{}", differences.join("\n"));
    let n_cases = EXPECTED.lines().count();
    assert_eq!(told.lines().count(), n_cases, "{told}");
    figure(&format!(
        "gRPC, octets that are right and wrong: {n_cases} as expected"
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_100_mib_is_taken_and_one_octet_more_is_not() {
    const LIMIT: usize = 100 << 20;
    let _machine = share().await;
    let Setup { files, .. } = guest(Setup::default(), INTEROP);
    let files = files.into_iter().map(|(name, content)| {
        let is_manifest = name.ends_with(".toml");
        // Whole in the memory of the component, once as it came and once as it is read.
        let limits = if is_manifest {
            "input = \"100MiB\"\nmemory = \"1GiB\"\n"
        } else {
            ""
        };
        let content = [&content[..], limits.as_bytes()].concat();
        (name, content)
    });
    let setup = Setup {
        files: files.collect(),
        http: "held-bytes-per-connection-max = \"512MiB\"\n\
               [listeners.http.grpc]\nmessage-bytes-max = \"100MiB\"\n"
            .to_owned(),
        config: "[calls]\nbody-bytes-max = \"100MiB\"\nheld-bytes-max = \"1GiB\"\n".to_owned(),
        ..Setup::default()
    };
    let gateway = Gateway::start(setup).await;
    let told = lines(&gateway, LIMIT, Some("limits")).await;
    let expected = "a message as long as the limit: OK, True\n\
                    one octet more: RESOURCE_EXHAUSTED\n\
                    a length of 4 GiB: RESOURCE_EXHAUSTED\n";
    assert_eq!(told, expected, "{}", gateway.log());
}
