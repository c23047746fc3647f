//! `cargo bench -p postern-tests --bench bench`: everything that must be fast, against named peers
//! in the same run, as one table. host/docs/performance.md says how to read it.
//!
//! Names after `--` choose sections: `cargo bench -p postern-tests --bench bench -- codec echo`.

mod codec;
mod table;

use std::io;

use table::Table;

fn main() -> io::Result<()> {
    let chosen: Vec<_> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let is_chosen = |name: &str| chosen.is_empty() || chosen.iter().any(|word| word == name);
    let mut table = Table::default();
    if is_chosen("codec") {
        codec::run(&mut table);
    }
    let mut out = io::stdout().lock();
    table.print(&mut out)?;
    let n_missed = table.n_missed();
    if n_missed > 0 {
        std::process::exit(1);
    }
    Ok(())
}
