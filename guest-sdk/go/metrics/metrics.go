// Package metrics is the plugin's own counters, gauges and histograms. They stand at the gateway's `/metrics`:
// counter `jobs` of plugin `shop` is `postern_plugin_counter_jobs_total{plugin="shop"}`, a gauge begins with
// `postern_plugin_gauge_` and a histogram with `postern_plugin_histogram_`. They are kept while the plugin is
// there, over all its versions and instances.
//
// A name has 1 to 64 letters, digits and `_`, begins with no digit, and does not end in `_total`, `_count`,
// `_sum`, `_bucket`, `_created` or `_info`. So has the name of a label; `plugin`, `le`, `quantile` and what begins
// with `__` are taken. A series has 8 labels at most, each value 128 octets at most. Do not put what callers choose
// freely into a label: a plugin has 1,000 series unless its manifest says more (`limits.metric-series`), of 100
// metrics (`limits.metrics`).
//
// Every function fails with `invalid-argument` for what is no such name, label or value, `failed-precondition` for
// a metric of another kind, and `resource-exhausted` for one metric or series too many.
package metrics

import "postern.dev/postern/internal/host"

// Label is a name and its value.
type Label = host.Pair

// Kind is what a metric is.
type Kind = host.MetricKind

const (
	// Counter is a sum that only grows.
	Counter = host.Counter
	// Gauge is a value that goes up and down.
	Gauge = host.Gauge
	// Histogram is how many values lie within which bounds.
	Histogram = host.Histogram
)

// Declare says what a metric is for, in up to 256 octets, and the upper bounds of a histogram's buckets: 1 to 32
// that grow, or none for 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5 and 10. A metric that is not declared is
// made when it is first used.
func Declare(name string, kind Kind, help string, bounds ...float64) error {
	return host.MetricDeclare(name, kind, help, bounds)
}

// Increase adds to a counter; value is 0 or more.
func Increase(name string, value float64, labels ...Label) error {
	return host.ChangeMetric(host.Increase, name, labels, value)
}

// Set sets a gauge.
func Set(name string, value float64, labels ...Label) error {
	return host.ChangeMetric(host.Set, name, labels, value)
}

// Adjust adds to a gauge, or takes from it.
func Adjust(name string, value float64, labels ...Label) error {
	return host.ChangeMetric(host.Adjust, name, labels, value)
}

// Observe counts a value in a histogram.
func Observe(name string, value float64, labels ...Label) error {
	return host.ChangeMetric(host.Observe, name, labels, value)
}
