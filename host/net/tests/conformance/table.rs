//! What every transport carries, in one table: calls of all kinds, their errors, deadlines and ends, and
//! bodies of every size. The table stands in `host/docs/wire.md`, and this test fails where it says
//! something else than what happens.

mod bodies;
mod cases;
mod stand;

use std::{fmt::Write as _, path::Path, time::Duration};

use postern_core::Error;
use tokio::time::timeout;

use self::{
    cases::Case,
    stand::{Protocol, Stand},
};
use crate::figure;

/// How long a case may take while all transports are at work.
const PATIENCE: Duration = Duration::from_secs(90);

/// What became of a case: it is carried as it should be, or refused by an error of this kind.
fn cell(outcome: &Result<(), Error>) -> String {
    match outcome {
        Ok(()) => "yes".to_owned(),
        Err(error) => format!("`{}`", error.kind),
    }
}

/// The cells of one protocol, in the order of the cases. Each case has a server of its own.
async fn column(protocol: Protocol) -> Vec<String> {
    let mut cells = Vec::new();
    for case in Case::ALL {
        let stand = Stand::start(protocol).await;
        let outcome = timeout(PATIENCE, case.check(&stand)).await;
        let outcome = outcome.unwrap_or_else(|_| panic!("no end of: {}", case.name()));
        cells.push(cell(&outcome));
    }
    cells
}

/// Protocols with the same cells share a column.
fn table(columns: &[(&'static str, Vec<String>)]) -> String {
    let mut groups: Vec<(String, &[String])> = Vec::new();
    for (name, cells) in columns {
        match groups.iter_mut().find(|(_, of_group)| of_group == cells) {
            Some((names, _)) => {
                names.push_str(", ");
                names.push_str(name);
            }
            None => groups.push(((*name).to_owned(), cells)),
        }
    }
    let mut text = String::from("| |");
    for (names, _) in &groups {
        // Writing to a `String` cannot fail.
        let _ = write!(text, " {names} |");
    }
    text.push_str("\n| --- |");
    text.push_str(&" --- |".repeat(groups.len()));
    text.push('\n');
    for (row, case) in Case::ALL.iter().enumerate() {
        let _ = write!(text, "| {} |", case.name());
        for (_, cells) in &groups {
            let _ = write!(text, " {} |", cells[row]);
        }
        text.push('\n');
    }
    text
}

/// The table of the section `Conformance` of the document.
fn documented() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/wire.md");
    let text = std::fs::read_to_string(path).expect("the document is there");
    let section = text.split_once("\n## Conformance\n");
    let section = section.expect("a section of that name").1;
    let section = section.split("\n## ").next().unwrap_or_default();
    let lines = section.lines().filter(|line| line.starts_with('|'));
    lines.map(|line| format!("{line}\n")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_transport_carries_what_the_table_says() {
    let tasks = Protocol::ALL.map(|protocol| (protocol, tokio::spawn(column(protocol))));
    let mut columns = Vec::new();
    for (protocol, task) in tasks {
        let cells = task.await;
        let cells = cells.unwrap_or_else(|error| panic!("{}: {error}", protocol.name()));
        columns.push((protocol.name(), cells));
    }
    let table = table(&columns);
    let (n_cases, n_protocols) = (Case::ALL.len(), Protocol::ALL.len());
    figure(&format!(
        "conformance: {n_cases} cases over {n_protocols} transports"
    ));
    assert!(
        table == documented(),
        "host/docs/wire.md, section Conformance, must say:\n{table}"
    );
}
