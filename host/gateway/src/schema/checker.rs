//! Messages against one schema, within bounds.
//!
//! The library remembers whether a part of a message fits a schema that is referred to, and not why it
//! does not: where a schema refers to itself twice (`anyOf` of two nodes, each with the same child), the
//! search for faults takes twice as long with each level, and a message of some hundred octets would take
//! for ever. Every schema within the schema therefore counts as a step when it is looked at, and a check
//! that has no step left is given up: the library is left by unwinding, it has no other way out.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
};

use jsonschema::{Draft, Keyword, PatternOptions, ValidationError, Validator};
use postern_net::http::SchemaFault;
use serde_json::{Map, Value as Json};

use super::{audit::SchemaError, faults, unique, walk::children_mut};

/// A compiled schema.
#[derive(Debug)]
pub(super) struct Checker {
    validator: Validator,
}

/// The keyword that counts.
struct CountedStep;

/// What a check that has no step left ends with.
struct OutOfSteps;

thread_local! {
    /// Steps that the check on this thread has left.
    static STEPS: Cell<usize> = const { Cell::new(0) };
}

impl Checker {
    /// Compiles a schema that was looked at (`audit.rs`).
    ///
    /// # Errors
    /// What the schema of schemas refuses, and patterns that cannot be matched in linear time.
    pub(super) fn compile(schema: &Json) -> Result<Self, SchemaError> {
        let mut counted = schema.clone();
        if let Some(root) = counted.as_object_mut() {
            root.remove("$id");
        }
        count_steps(&mut counted);
        let patterns = PatternOptions::regex()
            .size_limit(PATTERN_BYTES_MAX)
            .dfa_size_limit(PATTERN_BYTES_MAX);
        let validator = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .with_pattern_options(patterns)
            .with_keyword(STEP, |_, _, _| Ok(Box::new(CountedStep)))
            .build(&counted);
        let unusable = |error: ValidationError<'static>| {
            let text = error.to_string();
            SchemaError::Unusable(text.chars().take(REASON_CHARS_MAX).collect())
        };
        validator
            .map(|validator| Self { validator })
            .map_err(unusable)
    }

    /// # Errors
    /// What does not fit, `FAULTS_MAX` faults at most.
    pub(super) fn check(&self, message: &[u8]) -> Result<(), Vec<SchemaFault>> {
        let whole = |detail: String| {
            Err(vec![SchemaFault {
                pointer: String::new(),
                detail,
            }])
        };
        let value = match unique::parse(message) {
            Ok(value) => value,
            Err(error) => return whole(format!("no JSON: {error}")),
        };
        let steps = STEPS_MIN + STEPS_PER_BYTE * message.len();
        match bounded(steps, || self.validator.is_valid(&value)) {
            Some(true) => Ok(()),
            Some(false) => Err(self.faults(&value)),
            None => whole(format!("the check takes more than {steps} steps")),
        }
    }

    /// All faults where there are few enough to be looked for, the first one else.
    fn faults(&self, value: &Json) -> Vec<SchemaFault> {
        let all = || {
            let errors = self.validator.iter_errors(value);
            faults::of(errors)
        };
        let first = || faults::of(self.validator.validate(value).err().into_iter());
        let found = bounded(FAULT_STEPS_MAX, all).or_else(|| bounded(FAULT_STEPS_MAX, first));
        found.filter(|found| !found.is_empty()).unwrap_or_else(|| {
            vec![SchemaFault {
                pointer: String::new(),
                detail: "too large to say which part does not fit".to_owned(),
            }]
        })
    }
}

impl<'i> Keyword<'i> for CountedStep {
    fn validate(&self, _: &'i Json) -> Result<(), ValidationError<'i>> {
        step();
        Ok(())
    }

    fn is_valid(&self, _: &'i Json) -> bool {
        step();
        true
    }
}

fn step() {
    match STEPS.get().checked_sub(1) {
        Some(left) => STEPS.set(left),
        // No hook of panics is told, and nobody but `bounded` is above.
        None => resume_unwind(Box::new(OutOfSteps)),
    }
}

/// What `work` gives, unless it takes more than `steps`, or fails in the library.
fn bounded<T>(steps: usize, work: impl FnOnce() -> T) -> Option<T> {
    STEPS.set(steps);
    // A compiled schema does not change, and what was made of the message is dropped.
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => Some(done),
        Err(panic) => {
            if !panic.is::<OutOfSteps>() {
                tracing::error!("a message could not be compared with its schema");
            }
            None
        }
    }
}

/// Adds the keyword that counts to each schema within.
fn count_steps(schema: &mut Json) {
    if let Json::Object(within) = schema {
        children_mut(within, &mut count_steps);
        count(within);
    }
}

fn count(schema: &mut Map<String, Json>) {
    schema.insert(STEP.to_owned(), Json::Bool(true));
}

/// Sorts before every keyword of JSON Schema but those that begin with a dollar.
const STEP: &str = "$step";
/// Octets of one compiled pattern; those of usual schemas take a hundredth of it.
const PATTERN_BYTES_MAX: usize = 256 * 1024;
const REASON_CHARS_MAX: usize = 300;
/// Steps of a check of the shortest message, and of each octet beyond: `0,` is a value with one or two.
const STEPS_MIN: usize = 10_000;
const STEPS_PER_BYTE: usize = 4;
/// Steps of looking for all faults, each of which holds some hundred octets.
const FAULT_STEPS_MAX: usize = 20_000;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(schema: &Json, message: &str) -> Result<(), Vec<String>> {
        let checker = Checker::compile(schema).expect("a schema");
        let shown = |fault: SchemaFault| format!("{}: {}", fault.pointer, fault.detail);
        let checked = checker.check(message.as_bytes());
        checked.map_err(|faults| faults.into_iter().map(shown).collect())
    }

    fn expressions() -> Json {
        let node = |name: &str| {
            // The library looks at what is required first, unless it is told otherwise.
            let members = json!({ "properties": { "l": { "$ref": "#" } } });
            json!({ "type": "object", "allOf": [members, { "required": [name] }] })
        };
        json!({ "anyOf": [node("a"), node("b"), { "type": "integer" }] })
    }

    #[test]
    fn a_check_that_grows_with_depth_is_given_up() {
        let schema = expressions();
        assert_eq!(check(&schema, "{\"l\":{\"l\":3,\"b\":0},\"a\":0}"), Ok(()));
        let deep = |n: usize| format!("{}3{}", "{\"l\":".repeat(n), "}".repeat(n));
        // Each level is looked at for `a` and for `b`.
        let told = check(&schema, &deep(100)).expect_err("no end");
        assert_eq!(told, [": too large to say which part does not fit"]);
        // The thread is as it was.
        assert_eq!(check(&schema, "3"), Ok(()));
    }

    #[test]
    fn work_has_as_many_steps_as_it_is_given_and_no_more() {
        let work = |n: usize| move || (0..n).for_each(|_| step());
        assert_eq!(bounded(3, work(3)), Some(()));
        assert_eq!(bounded(3, work(4)), None);
        assert_eq!(bounded(0, || 7), Some(7));
    }

    #[test]
    fn a_long_list_has_steps_enough() {
        let schema = json!({ "items": { "type": "integer", "maximum": 9 } });
        let list = |item: &str| format!("[{}0]", format!("{item},").repeat(100_000));
        assert_eq!(check(&schema, &list("1")), Ok(()));
        // All wrong: too many to be named, so the first is.
        let told = check(&schema, &list("10")).expect_err("wrong");
        assert_eq!(told.len(), 1);
        assert!(told[0].starts_with("/0: "), "{told:?}");
    }

    #[test]
    fn patterns_take_linear_time_and_others_are_refused() {
        let schema = json!({ "pattern": "^(a+)+$" });
        let message = format!("\"{}b\"", "a".repeat(50_000));
        assert_eq!(check(&schema, &message).expect_err("no match").len(), 1);
        let refused = |pattern: &str| Checker::compile(&json!({ "pattern": pattern })).is_err();
        assert!(refused("^(?=a)b"));
        assert!(refused("((a{1000}){1000}){1000}"));
        assert!(!refused("^[0-9a-f]{28}$"));
    }

    #[test]
    fn what_is_no_json_or_says_a_thing_twice_is_told() {
        let told = check(&json!({}), "{\"a\":1,\"a\":2}").expect_err("twice");
        assert_eq!(
            told,
            [": no JSON: member \"a\" stands twice at line 1 column 10"]
        );
        let told = check(&json!({}), "{").expect_err("half");
        assert_eq!(
            told,
            [": no JSON: EOF while parsing an object at line 1 column 1"]
        );
    }
}
