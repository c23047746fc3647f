//! Adds up invoices. All arithmetic is done by another plugin, `calculator`: this one shows how a
//! plugin calls a service, and what becomes of its failures.

use postern_guest::{Failure, Result, client, config, debug};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Each line is a call to the calculator, two with its sum.
const LINES_MAX: usize = 100;

/// Amounts are whole numbers of the smallest coin; doubles are exact up to here (2^53).
const AMOUNT_MAX: f64 = 9_007_199_254_740_992.0;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Invoice {
    /// 1 to 100.
    lines: Vec<Line>,
    /// The manifest's `tax-percent` when absent, and 0 without one.
    tax_percent: Option<f64>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Line {
    quantity: u32,
    /// In the smallest coin.
    unit_price: u32,
}

/// All amounts in the smallest coin.
#[derive(Serialize, JsonSchema)]
struct Sums {
    /// Of each line, in their order.
    lines: Vec<i64>,
    net: i64,
    tax: i64,
    gross: i64,
}

/// What the calculator takes.
#[derive(Serialize)]
struct Operands {
    a: f64,
    b: f64,
}

/// What the calculator gives.
#[derive(Deserialize)]
struct Outcome {
    result: f64,
}

struct Invoices;

/// Adds up invoices.
#[postern_guest::service(name = "invoice")]
impl Invoices {
    /// Adds the lines, then the tax, rounded to the nearest coin.
    #[method(idempotent)]
    fn total(invoice: Invoice) -> Result<Sums> {
        let n_lines = invoice.lines.len();
        if !(1..=LINES_MAX).contains(&n_lines) {
            let text = format!("invoice of {n_lines} lines is not 1 to {LINES_MAX}");
            return Err(Failure::invalid_argument(text));
        }
        let tax_percent = tax_percent(invoice.tax_percent)?;
        let mut lines = Vec::with_capacity(n_lines);
        let mut net = 0.0;
        for line in &invoice.lines {
            let amount = calculate(
                "Multiply",
                f64::from(line.quantity),
                f64::from(line.unit_price),
            )?;
            net = calculate("Add", net, amount)?;
            lines.push(coins(amount)?);
        }
        let tax = calculate("Divide", calculate("Multiply", net, tax_percent)?, 100.0)?.round();
        let gross = calculate("Add", net, tax)?;
        debug!(n_lines = n_lines, "added up");
        Ok(Sums {
            lines,
            net: coins(net)?,
            tax: coins(tax)?,
            gross: coins(gross)?,
        })
    }
}

fn tax_percent(asked: Option<f64>) -> Result<f64> {
    let percent = match asked {
        Some(percent) => percent,
        None => config::get("tax-percent")?.unwrap_or(0.0),
    };
    if !(0.0..=100.0).contains(&percent) {
        return Err(Failure::invalid_argument(format!(
            "tax of {percent} percent is not 0 to 100"
        )));
    }
    Ok(percent)
}

fn calculate(method: &str, a: f64, b: f64) -> Result<f64> {
    let Outcome { result } = client::call("calculator", method, Operands { a, b })?;
    Ok(result)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "bounded by AMOUNT_MAX, and whole"
)]
fn coins(amount: f64) -> Result<i64> {
    if amount.abs() > AMOUNT_MAX {
        let text = format!("amount {amount} exceeds the limit of {AMOUNT_MAX}");
        return Err(Failure::out_of_range(text));
    }
    Ok(amount as i64)
}

#[cfg(test)]
mod tests;
