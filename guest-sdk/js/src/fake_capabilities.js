// The imports `metrics` and `directory` as a test's host offers them.

import { createHash } from "node:crypto";

import { Failure } from "./failure.js";
import { encode, wellFormed } from "./json.js";

/** wit, interface `metrics`. */
const NAME_BYTES_MAX = 64;
const LABELS_MAX = 8;
const VALUE_BYTES_MAX = 128;
const HELP_BYTES_MAX = 256;
const BOUNDS_MAX = 32;
const SUFFIXES = ["_total", "_count", "_sum", "_bucket", "_created", "_info"];
const LABELS_TAKEN = ["plugin", "le", "quantile"];
/** Defaults of a manifest's `limits.metrics` and `limits.metric-series`. */
const METRICS_MAX = 100;
const SERIES_MAX = 1000;

const KIND_OF = { increase: "counter", set: "gauge", adjust: "gauge", observe: "histogram" };

/** What names a set of labels, whatever their order. */
const keyOf = (pairs) => JSON.stringify([...pairs].sort(([a], [b]) => (a < b ? -1 : 1)));

/** The plugin's own metrics, by name. */
export class FakeMetrics {
  #metrics = new Map();

  /** What was counted under one name with one set of labels; of a histogram the sum, and each value. */
  series(name, labels) {
    return this.#metrics.get(name)?.series.get(keyOf(Object.entries(labels).map(([name, value]) => [name, String(value)])));
  }

  declare(name, kind, help, bounds) {
    if (encode(help).length > HELP_BYTES_MAX || /[\p{Cc}\\]/u.test(help)) {
      throw Failure.invalidArgument(`the text about metric \`${name}\` is not at most ${HELP_BYTES_MAX} octets on one line`);
    }
    const isGood = bounds.every((bound, index) => Number.isFinite(bound) && (index === 0 || bounds[index - 1] < bound));
    if (!isGood || bounds.length > BOUNDS_MAX || (bounds.length && kind !== "histogram")) {
      throw Failure.invalidArgument(`the bounds of \`${name}\` are not 1 to ${BOUNDS_MAX} numbers that grow`);
    }
    const metric = this.#metric(name, kind);
    metric.bounds ??= [...bounds];
    if (bounds.length && String(metric.bounds) !== String(bounds)) {
      throw Failure.failedPrecondition(`metric \`${name}\` has other bounds already`);
    }
  }

  change(change, name, labels, value) {
    if (!Number.isFinite(value) || (change === "increase" && value < 0)) throw Failure.invalidArgument(`${value} cannot be counted`);
    labels = labels.map((pair) => pair.map(wellFormed));
    checkLabels(labels);
    const nSeries = [...this.#metrics.values()].reduce((sum, { series }) => sum + series.size, 0);
    const { series } = this.#metric(name, KIND_OF[change]);
    const key = keyOf(labels);
    if (!series.has(key)) {
      if (nSeries >= SERIES_MAX) {
        throw Failure.resourceExhausted(`a series of metric \`${name}\` is one more than the ${SERIES_MAX} that the plugin may have`);
      }
      series.set(key, { value: 0, observed: [] });
    }
    const found = series.get(key);
    found.value = change === "set" ? value : found.value + value;
    if (change === "observe") found.observed.push(value);
  }

  #metric(name, kind) {
    checkName("metric", name);
    const suffix = SUFFIXES.find((suffix) => name.endsWith(suffix));
    if (suffix) throw Failure.invalidArgument(`metric \`${name}\` ends in \`${suffix}\`, which the format adds itself`);
    if (!this.#metrics.has(name)) {
      if (this.#metrics.size >= METRICS_MAX) {
        throw Failure.resourceExhausted(`metric \`${name}\` is one more than the ${METRICS_MAX} that the plugin may have`);
      }
      this.#metrics.set(name, { kind, bounds: undefined, series: new Map() });
    }
    const metric = this.#metrics.get(name);
    if (metric.kind !== kind) throw Failure.failedPrecondition(`metric \`${name}\` is a ${metric.kind} and no ${kind}`);
    return metric;
  }
}

/** Who answers for the services that the plugin may look up. */
export class FakeDirectory {
  services = new Map();

  discover(service) {
    if (!this.services.has(service)) {
      throw Failure.permissionDenied(
        `looking up service \`${service}\` is not granted; [grants] directory = ["${service}"] in the manifest gives it`,
      );
    }
    const instances = [...this.services.get(service)].sort((a, b) => (a.id < b.id ? -1 : 1));
    const revision = createHash("sha256").update(JSON.stringify(instances)).digest("hex").slice(0, 16);
    return { revision, instances };
  }

  /** Nothing changes while a test is in here, so it does not wait. */
  nextChange(service, revision) {
    const listing = this.discover(service);
    return listing.revision === revision ? undefined : listing;
  }
}

function checkName(what, name) {
  if (typeof name !== "string" || name.length > NAME_BYTES_MAX || !/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
    throw Failure.invalidArgument(`${what} \`${name}\` is not 1 to ${NAME_BYTES_MAX} letters, digits and \`_\` that begin with no digit`);
  }
}

function checkLabels(labels) {
  if (labels.length > LABELS_MAX) throw Failure.invalidArgument(`${labels.length} labels exceed the limit of ${LABELS_MAX}`);
  for (const [name, value] of labels) {
    checkName("label", name);
    if (name.startsWith("__") || LABELS_TAKEN.includes(name)) throw Failure.invalidArgument(`label \`${name}\` is taken; choose another name`);
    const { length } = encode(value);
    if (length > VALUE_BYTES_MAX) throw Failure.invalidArgument(`a value of label \`${name}\` has ${length} octets, the limit is ${VALUE_BYTES_MAX}`);
  }
}
