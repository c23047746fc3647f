//! Every promise of `host/docs/promises.md` is shown by a test that is there.

use crate::{assert_none, figure, read, settings};

#[test]
fn every_promise_names_a_test_that_is_there() {
    let (text, tests) = (read("host/docs/promises.md"), settings::tests());
    let (mut faults, mut n_promises) = (Vec::new(), 0);
    let rows = text.lines().filter(|line| line.starts_with("| "));
    for row in rows {
        let columns: Vec<_> = row.trim_matches('|').split(" |").map(str::trim).collect();
        let shown = columns.last().copied().unwrap_or_default();
        if shown == "test" || shown.starts_with("---") {
            continue;
        }
        n_promises += 1;
        let name = shown.trim_matches('`');
        if !tests.contains_key(name) {
            faults.push(format!("there is no test {name:?}: {row}"));
        }
    }
    figure(&format!(
        "{n_promises} promises of events, each with its test"
    ));
    assert!(n_promises > 25, "found only {n_promises} promises");
    assert_none(&faults);
}
