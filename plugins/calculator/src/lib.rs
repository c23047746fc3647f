//! Calculates with IEEE 754 double precision. What has no finite result is refused.

mod expression;

use postern_guest::{Failure, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Operands {
    a: f64,
    b: f64,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Expression {
    /// Numbers, `+ - * /`, parentheses.
    expression: String,
}

#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Outcome {
    result: f64,
}

struct Calculator;

/// Calculates.
#[postern_guest::service]
impl Calculator {
    /// a + b
    #[method(idempotent)]
    fn add(Operands { a, b }: Operands) -> Result<Outcome> {
        finite(a + b)
    }

    /// a - b
    #[method(idempotent)]
    fn subtract(Operands { a, b }: Operands) -> Result<Outcome> {
        finite(a - b)
    }

    /// a * b
    #[method(idempotent)]
    fn multiply(Operands { a, b }: Operands) -> Result<Outcome> {
        finite(a * b)
    }

    /// a / b; `invalid-argument` when b is 0.
    #[method(idempotent)]
    fn divide(Operands { a, b }: Operands) -> Result<Outcome> {
        finite(quotient(a, b)?)
    }

    /// A whole expression, such as `(1 + 2) * -3 / 4`.
    #[method(idempotent)]
    fn evaluate(Expression { expression }: Expression) -> Result<Outcome> {
        finite(expression::evaluate(&expression)?)
    }
}

fn finite(result: f64) -> Result<Outcome> {
    if result.is_finite() {
        Ok(Outcome { result })
    } else {
        Err(Failure::out_of_range(format!(
            "the result is beyond {:e}",
            f64::MAX
        )))
    }
}

fn quotient(a: f64, b: f64) -> Result<f64> {
    if b == 0.0 {
        return Err(Failure::invalid_argument(format!(
            "{a} cannot be divided by 0"
        )));
    }
    Ok(a / b)
}

#[cfg(test)]
mod tests {
    use postern_guest::{Failure, Octets, fake::Host};

    use super::Calculator;

    fn check(method: &str, request: &str, expected: Result<&str, Failure>) {
        let host = Host::new();
        assert_eq!(
            host.call::<Calculator>(method, request),
            expected.map(Octets::from)
        );
    }

    #[test]
    fn the_four_operations() {
        check("Add", r#"{"a":2,"b":3}"#, Ok(r#"{"result":5.0}"#));
        check("Subtract", r#"{"a":2,"b":3}"#, Ok(r#"{"result":-1.0}"#));
        check("Multiply", r#"{"a":2,"b":0.5}"#, Ok(r#"{"result":1.0}"#));
        check("Divide", r#"{"a":1,"b":4}"#, Ok(r#"{"result":0.25}"#));
        check(
            "Evaluate",
            r#"{"expression":"(1+2)*3"}"#,
            Ok(r#"{"result":9.0}"#),
        );
    }

    #[test]
    fn dividing_by_zero_is_an_invalid_argument() {
        let failure = Failure::invalid_argument("7 cannot be divided by 0");
        check("Divide", r#"{"a":7,"b":0}"#, Err(failure.clone()));
        check("Divide", r#"{"a":7,"b":-0.0}"#, Err(failure.clone()));
        check("Evaluate", r#"{"expression":"7/(2-2)"}"#, Err(failure));
    }

    #[test]
    fn what_is_not_finite_is_out_of_range() {
        let failure = Failure::out_of_range("the result is beyond 1.7976931348623157e308");
        check("Multiply", r#"{"a":1e308,"b":10}"#, Err(failure.clone()));
        check("Evaluate", r#"{"expression":"1e308*10"}"#, Err(failure));
    }

    #[test]
    fn operands_must_be_there_and_numbers() {
        let text = "message is not a valid `Operands`: missing field `b` at line 1 column 7";
        check("Add", r#"{"a":2}"#, Err(Failure::invalid_argument(text)));
        let text = "message is not a valid `Operands`: invalid type: string \"2\", expected f64 at \
                    line 1 column 8";
        check("Add", r#"{"a":"2"}"#, Err(Failure::invalid_argument(text)));
    }
}
