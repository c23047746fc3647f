// The plugin's own counters, gauges and histograms. They stand at the gateway's `/metrics`: counter `jobs` of
// plugin `shop` is `postern_plugin_counter_jobs_total{plugin="shop"}`, a gauge begins with
// `postern_plugin_gauge_` and a histogram with `postern_plugin_histogram_`. They are kept while the plugin is there,
// over all its versions and instances.
//
// A name has 1 to 64 letters, digits and `_`, begins with no digit, and does not end in `_total`, `_count`, `_sum`,
// `_bucket`, `_created` or `_info`. So has the name of a label; `plugin`, `le`, `quantile` and what begins with `__`
// are taken. A series has 8 labels at most, each value 128 octets at most. Do not put what callers choose freely into
// a label: a plugin has 1,000 series unless its manifest says more (`limits.metric-series`), of 100 metrics
// (`limits.metrics`).
//
// Every function throws `invalid-argument` for what is no such name, label or value, `failed-precondition` for a
// metric of another kind, and `resource-exhausted` for one metric or series too many.

import { host } from "./host.js";

const KINDS = ["counter", "gauge", "histogram"];

/** Says what a metric is for, in up to 256 octets, and the upper bounds of a histogram's buckets: 1 to 32 that grow, or
 * none for 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5 and 10. A metric that is not declared is made when it is
 * first used. */
export function declare(name, kind, help = "", bounds = []) {
  if (!KINDS.includes(kind)) throw new TypeError(`no metric is a ${kind}; it is one of ${KINDS.join(", ")}`);
  host().metricDeclare(name, kind, help, bounds);
}

/** Adds to a counter; `value` is 0 or more. */
export const increase = (name, value = 1, labels = {}) => change("increase", name, value, labels);

/** Sets a gauge. */
export const set = (name, value, labels = {}) => change("set", name, value, labels);

/** Adds to a gauge, or takes from it. */
export const adjust = (name, value, labels = {}) => change("adjust", name, value, labels);

/** Counts a value in a histogram. */
export const observe = (name, value, labels = {}) => change("observe", name, value, labels);

function change(what, name, value, labels) {
  if (typeof value !== "number") throw new TypeError(`a ${typeof value} cannot be counted`);
  const pairs = Object.entries(labels).map(([label, each]) => [label, String(each)]);
  host().metricChange(what, name, pairs, value);
}
