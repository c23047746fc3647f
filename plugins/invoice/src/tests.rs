//! Invoices against a calculator made of closures.

use postern_guest::{Failure, Kind, Octets, fake::Host};
use serde_json::{Value, json};

use super::{AMOUNT_MAX, Invoices, coins};

/// A host whose calculator calculates.
fn host() -> Host {
    let host = Host::new();
    let operation = |calculate: fn(f64, f64) -> f64| {
        move |call: &postern_guest::fake::ClientCall| {
            let operands: Value = serde_json::from_slice(&call.body)?;
            let [a, b] = ["a", "b"].map(|key| operands[key].as_f64().expect("a number"));
            Ok(Octets::from(
                json!({ "result": calculate(a, b) }).to_string(),
            ))
        }
    };
    host.answer("calculator", "Add", operation(|a, b| a + b));
    host.answer("calculator", "Multiply", operation(|a, b| a * b));
    host.answer("calculator", "Divide", operation(|a, b| a / b));
    host
}

fn total(host: &Host, invoice: Value) -> Result<Value, Failure> {
    let reply = host.call::<Invoices>("Total", invoice.to_string())?;
    Ok(serde_json::from_slice(&reply).expect("replies are JSON"))
}

fn line(quantity: u32, unit_price: u32) -> Value {
    json!({ "quantity": quantity, "unit_price": unit_price })
}

#[test]
fn lines_and_tax_are_added_up() {
    let invoice = json!({ "lines": [line(3, 1999), line(1, 500)], "tax_percent": 19 });
    let sums = json!({ "lines": [5997, 500], "net": 6497, "tax": 1234, "gross": 7731 });
    assert_eq!(total(&host(), invoice), Ok(sums));
}

#[test]
fn the_manifest_says_the_tax_where_the_caller_does_not() {
    let host = host();
    let invoice = json!({ "lines": [line(1, 100)] });
    assert_eq!(total(&host, invoice.clone()).unwrap()["tax"], 0);
    host.config("tax-percent", "7.5");
    assert_eq!(total(&host, invoice.clone()).unwrap()["tax"], 8);
    host.config("tax-percent", "much");
    assert_eq!(
        total(&host, invoice).unwrap_err().kind,
        Kind::FailedPrecondition
    );
}

#[test]
fn an_invoice_has_1_to_100_lines() {
    for (n_lines, ok) in [(0, false), (1, true), (100, true), (101, false)] {
        let lines: Vec<Value> = (0..n_lines).map(|_| line(1, 1)).collect();
        assert_eq!(
            total(&host(), json!({ "lines": lines })).is_ok(),
            ok,
            "{n_lines}"
        );
    }
}

#[test]
fn tax_is_0_to_100_percent() {
    for (percent, ok) in [(-0.1, false), (0.0, true), (100.0, true), (100.1, false)] {
        let invoice = json!({ "lines": [line(1, 1)], "tax_percent": percent });
        assert_eq!(total(&host(), invoice).is_ok(), ok, "{percent}");
    }
}

#[test]
fn amounts_are_exact_or_refused() {
    assert_eq!(coins(AMOUNT_MAX), Ok(1 << 53));
    assert_eq!(coins(AMOUNT_MAX + 2.0).unwrap_err().kind, Kind::OutOfRange);
    let largest = total(&host(), json!({ "lines": [line(u32::MAX, u32::MAX)] }));
    assert_eq!(largest.unwrap_err().kind, Kind::OutOfRange);
}

#[test]
fn a_failing_calculator_fails_the_invoice_with_its_own_words() {
    let host = host();
    let down = Failure::unavailable("nobody answers for `calculator`");
    let answer = down.clone();
    host.answer("calculator", "Multiply", move |_| Err(answer.clone()));
    assert_eq!(total(&host, json!({ "lines": [line(1, 1)] })), Err(down));
}

#[test]
fn without_the_grant_nothing_is_calculated() {
    let host = Host::new();
    let failure = total(&host, json!({ "lines": [line(1, 1)] })).unwrap_err();
    assert_eq!(failure.kind, Kind::PermissionDenied);
}
