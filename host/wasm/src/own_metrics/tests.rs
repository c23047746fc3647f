//! Names, bounds and what is counted.

use super::*;

const LIMITS: OwnMetricLimits = OwnMetricLimits {
    metrics_max: 2,
    series_max: 3,
};

fn labels(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn change(
    metrics: &OwnMetrics,
    name: &str,
    pairs: &[(&str, &str)],
    change: MetricChange,
    value: f64,
) -> Result<(), OwnMetricError> {
    let series = metrics.series(name, change.kind(), labels(pairs), LIMITS)?;
    series.check(name, change, value)?;
    series.apply(change, value);
    Ok(())
}

#[track_caller]
fn refused(name: &str, pairs: &[(&str, &str)], told: &str) {
    let counted = change(
        &OwnMetrics::default(),
        name,
        pairs,
        MetricChange::Increase,
        1.0,
    );
    assert_eq!(counted.expect_err("refused").to_string(), told);
}

#[test]
fn names_are_those_of_prometheus() {
    let long = "a".repeat(NAME_BYTES_MAX);
    for good in ["a", "_x9", "Jobs_done", &*long] {
        assert_eq!(
            change(&OwnMetrics::default(), good, &[], MetricChange::Set, 1.0),
            Ok(())
        );
    }
    let told = |name: &str| {
        format!("metric {name:?} is not 1 to 64 letters, digits and `_` that begin with no digit")
    };
    for bad in ["", "9a", "a-b", "a b", "é", "a:b", "a\n"] {
        refused(bad, &[], &told(bad));
    }
    refused(&"a".repeat(100), &[], &told(&"a".repeat(65)));
    let told = "metric \"jobs_total\" ends in `_total`, which the format adds itself";
    refused("jobs_total", &[], told);
}

#[test]
fn labels_are_checked_one_by_one() {
    refused(
        "a",
        &[("le", "1")],
        "label \"le\" is taken; choose another name",
    );
    refused(
        "a",
        &[("plugin", "x")],
        "label \"plugin\" is taken; choose another name",
    );
    refused(
        "a",
        &[("__a", "x")],
        "label \"__a\" is taken; choose another name",
    );
    refused("a", &[("b", "x"), ("b", "y")], "label \"b\" is there twice");
    let long = "x".repeat(VALUE_BYTES_MAX + 1);
    let told = "a value of label \"b\" has 129 octets, the limit is 128";
    refused("a", &[("b", &long)], told);
    let names: Vec<String> = (0..=LABELS_MAX).map(|n| format!("l{n}")).collect();
    let nine: Vec<_> = names.iter().map(|name| (&**name, "")).collect();
    refused("a", &nine, "9 labels exceed the limit of 8");
    let metrics = OwnMetrics::default();
    let eight = nine.split_last().expect("nine").1;
    assert_eq!(change(&metrics, "a", eight, MetricChange::Set, 1.0), Ok(()));
    let edge = "x".repeat(VALUE_BYTES_MAX);
    let counted = change(&metrics, "a", &[("b", &edge)], MetricChange::Set, 1.0);
    assert_eq!(counted, Ok(()));
}

#[test]
fn one_metric_and_one_series_too_many_are_refused_with_the_limit() {
    let metrics = OwnMetrics::default();
    let add = |name: &str, value: &str| {
        change(&metrics, name, &[("v", value)], MetricChange::Increase, 1.0)
    };
    for (name, value) in [("a", "1"), ("b", "1"), ("b", "2"), ("b", "2")] {
        assert_eq!(add(name, value), Ok(()));
    }
    let told = add("c", "1").expect_err("refused").to_string();
    assert!(
        told.starts_with("metric \"c\" is one more than the 2 that"),
        "{told}"
    );
    assert!(told.contains("limits.metrics "), "{told}");
    let told = add("a", "2").expect_err("refused").to_string();
    assert!(told.contains("one more than the 3 that"), "{told}");
    assert!(told.contains("limits.metric-series"), "{told}");
    assert_eq!(add("a", "1"), Ok(()));
}

#[test]
fn a_metric_stays_of_its_kind_and_takes_numbers_only() {
    let metrics = OwnMetrics::default();
    assert_eq!(
        change(&metrics, "a", &[], MetricChange::Increase, 0.0),
        Ok(())
    );
    let told = change(&metrics, "a", &[], MetricChange::Observe, 1.0);
    let told = told.expect_err("refused").to_string();
    assert_eq!(told, "metric \"a\" is a counter and no histogram");
    for value in [-0.5, f64::NAN, f64::INFINITY] {
        let counted = change(&metrics, "a", &[], MetricChange::Increase, value);
        assert!(
            matches!(counted, Err(OwnMetricError::Value { .. })),
            "{value}"
        );
    }
    assert_eq!(
        change(&metrics, "g", &[], MetricChange::Adjust, -2.5),
        Ok(())
    );
}

#[test]
fn what_was_counted_is_told_and_what_was_not_is_not() {
    let metrics = OwnMetrics::default();
    let limits = OwnMetricLimits {
        metrics_max: 9,
        series_max: 9,
    };
    let declare = |name: &str, kind, bounds: &[f64]| {
        metrics.declare(name, kind, "Time of jobs", bounds, limits)
    };
    assert_eq!(declare("t", OwnMetricKind::Histogram, &[1.0, 2.0]), Ok(()));
    assert_eq!(declare("t", OwnMetricKind::Histogram, &[]), Ok(()));
    let other = declare("t", OwnMetricKind::Histogram, &[1.0]);
    assert!(matches!(other, Err(OwnMetricError::OtherBounds { .. })));
    let _unused = metrics.series("g", OwnMetricKind::Gauge, Vec::new(), limits);
    assert_eq!(metrics.snapshot(), []);
    for value in [1.0, 1.5, 2.5] {
        let pairs = [("b", "2"), ("a", "1")];
        let counted = change(&metrics, "t", &pairs, MetricChange::Observe, value);
        assert_eq!(counted, Ok(()));
    }
    let expected = OwnMetric {
        name: "t".to_owned(),
        kind: OwnMetricKind::Histogram,
        help: "Time of jobs".to_owned(),
        samples: vec![OwnSample {
            labels: labels(&[("a", "1"), ("b", "2")]),
            value: OwnValue::Histogram {
                sum: 5.0,
                buckets: vec![(1.0, 1), (2.0, 1), (f64::INFINITY, 1)],
            },
        }],
    };
    assert_eq!(metrics.snapshot(), [expected]);
}

#[test]
fn bounds_grow_and_texts_are_one_line() {
    let metrics = OwnMetrics::default();
    let declare = |kind, help: &str, bounds: &[f64]| {
        metrics
            .declare("t", kind, help, bounds, LIMITS)
            .map_err(|error| error.to_string())
    };
    let many: Vec<f64> = (0..33).map(f64::from).collect();
    let told = Err("the bounds of \"t\" are not 1 to 32 numbers that grow".to_owned());
    for bad in [
        &[1.0, 1.0][..],
        &[2.0, 1.0],
        &[f64::NAN],
        &[f64::INFINITY],
        &many,
    ] {
        assert_eq!(declare(OwnMetricKind::Histogram, "", bad), told);
    }
    assert_eq!(declare(OwnMetricKind::Gauge, "", &[1.0]), told);
    for bad in ["a\nb", "a\\b", &"x".repeat(257)] {
        let told = declare(OwnMetricKind::Histogram, bad, &[]).expect_err("refused");
        assert!(told.contains("at most 256 octets"), "{told}");
    }
    assert_eq!(declare(OwnMetricKind::Histogram, "", &many[..32]), Ok(()));
}

#[test]
fn a_sum_stays_a_number() {
    let metrics = OwnMetrics::default();
    for _ in 0..2 {
        assert_eq!(
            change(&metrics, "a", &[], MetricChange::Increase, f64::MAX),
            Ok(())
        );
    }
    let snapshot = metrics.snapshot();
    assert_eq!(snapshot[0].samples[0].value, OwnValue::Number(f64::MAX));
}

#[test]
fn metrics_are_those_of_a_name_while_somebody_of_that_name_is_there() {
    let table = OwnMetricsTable::default();
    let (one, other) = (table.of("shop"), table.of("shop@2.0.0"));
    assert!(Arc::ptr_eq(&one, &other));
    assert!(!Arc::ptr_eq(&one, &table.of("shop2")));
    assert_eq!(change(&one, "a", &[], MetricChange::Set, 1.0), Ok(()));
    drop(one);
    assert_eq!(table.of("shop").snapshot().len(), 1);
    drop(other);
    assert_eq!(table.of("shop").snapshot(), []);
}
