//go:build !wasm

package host

import (
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"sort"
	"strings"

	"postern.dev/postern/internal/failure"
	"postern.dev/postern/internal/text"
)

// Limits of wit/metrics.wit, and those that a manifest has by default.
const (
	metricNameBytesMax  = 64
	metricLabelsMax     = 8
	metricValueBytesMax = 128
	metricHelpBytesMax  = 256
	metricBoundsMax     = 32
	metricsMax          = 100
	metricSeriesMax     = 1_000
)

// Metric is a metric of the plugin's own.
type Metric struct {
	Kind   MetricKind
	Bounds []float64
	// Series are by the labels, as LabelsKey writes them.
	Series map[string]*Series
}

// Series is what was counted under one name with one set of labels.
type Series struct {
	// Value is of a histogram the sum.
	Value    float64
	Observed []float64
}

// LabelsKey names a set of labels, whatever their order.
func LabelsKey(labels []Pair) string {
	sorted := slices.Clone(labels)
	sort.Slice(sorted, func(a, b int) bool { return sorted[a].Name < sorted[b].Name })
	return fmt.Sprintf("%q", sorted)
}

func checkName(what, name string) error {
	good := len(name) >= 1 && len(name) <= metricNameBytesMax
	for i, c := range []byte(name) {
		isLetter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
		good = good && (isLetter || c >= '0' && c <= '9' && i > 0)
	}
	if !good {
		return failure.New(failure.InvalidArgument, "%s `%s` is not 1 to %d letters, digits and `_` that begin with no digit", what, name, metricNameBytesMax)
	}
	return nil
}

func checkLabels(labels []Pair) error {
	if len(labels) > metricLabelsMax {
		return failure.New(failure.InvalidArgument, "%d labels exceed the limit of %d", len(labels), metricLabelsMax)
	}
	seen := map[string]bool{}
	for _, label := range labels {
		if err := checkName("label", label.Name); err != nil {
			return err
		}
		if strings.HasPrefix(label.Name, "__") || slices.Contains([]string{"plugin", "le", "quantile"}, label.Name) {
			return failure.New(failure.InvalidArgument, "label `%s` is taken; choose another name", label.Name)
		}
		if seen[label.Name] {
			return failure.New(failure.InvalidArgument, "label `%s` is there twice", label.Name)
		}
		seen[label.Name] = true
		if len(label.Value) > metricValueBytesMax {
			return failure.New(failure.InvalidArgument, "a value of label `%s` has %d octets, the limit is %d", label.Name, len(label.Value), metricValueBytesMax)
		}
	}
	return nil
}

func (s *State) metric(name string, kind MetricKind) (*Metric, error) {
	if err := checkName("metric", name); err != nil {
		return nil, err
	}
	for _, suffix := range []string{"_total", "_count", "_sum", "_bucket", "_created", "_info"} {
		if strings.HasSuffix(name, suffix) {
			return nil, failure.New(failure.InvalidArgument, "metric `%s` ends in `%s`, which the format adds itself", name, suffix)
		}
	}
	metric := s.Metrics[name]
	if metric == nil {
		if len(s.Metrics) >= metricsMax {
			return nil, failure.New(failure.ResourceExhausted, "metric `%s` is one more than the %d that the plugin may have", name, metricsMax)
		}
		if s.Metrics == nil {
			s.Metrics = map[string]*Metric{}
		}
		metric = &Metric{Kind: kind, Series: map[string]*Series{}}
		s.Metrics[name] = metric
	}
	if metric.Kind != kind {
		return nil, failure.New(failure.FailedPrecondition, "metric `%s` is of another kind", name)
	}
	return metric, nil
}

func MetricDeclare(name string, kind MetricKind, help string, bounds []float64) error {
	if len(help) > metricHelpBytesMax || strings.ContainsFunc(help, func(c rune) bool { return c < ' ' || c == 0x7f || c == '\\' }) {
		return failure.New(failure.InvalidArgument, "the text about metric `%s` is not at most %d octets on one line", name, metricHelpBytesMax)
	}
	good := len(bounds) <= metricBoundsMax && (kind == Histogram || len(bounds) == 0)
	for i, bound := range bounds {
		good = good && !math.IsNaN(bound) && !math.IsInf(bound, 0) && (i == 0 || bounds[i-1] < bound)
	}
	if !good {
		return failure.New(failure.InvalidArgument, "the bounds of `%s` are not 1 to %d numbers that grow", name, metricBoundsMax)
	}
	metric, err := there().metric(name, kind)
	if err != nil {
		return err
	}
	if metric.Bounds == nil {
		metric.Bounds = slices.Clone(bounds)
	}
	if len(bounds) > 0 && !slices.Equal(metric.Bounds, bounds) {
		return failure.New(failure.FailedPrecondition, "metric `%s` has other bounds already", name)
	}
	return nil
}

func ChangeMetric(change MetricChange, name string, labels []Pair, value float64) error {
	name, labels = text.Valid(name), validPairs(labels)
	if math.IsNaN(value) || math.IsInf(value, 0) || change == Increase && value < 0 {
		return failure.New(failure.InvalidArgument, "%v cannot be counted", value)
	}
	if err := checkLabels(labels); err != nil {
		return err
	}
	kind := Gauge
	switch change {
	case Increase:
		kind = Counter
	case Observe:
		kind = Histogram
	case Set, Adjust:
	}
	metric, err := there().metric(name, kind)
	if err != nil {
		return err
	}
	key := LabelsKey(labels)
	series := metric.Series[key]
	if series == nil {
		n := 0
		for _, metric := range state.Metrics {
			n += len(metric.Series)
		}
		if n >= metricSeriesMax {
			return failure.New(failure.ResourceExhausted, "a series of metric `%s` is one more than the %d that the plugin may have", name, metricSeriesMax)
		}
		series = &Series{}
		metric.Series[key] = series
	}
	switch change {
	case Set:
		series.Value = value
	case Observe:
		series.Observed = append(series.Observed, value)
		series.Value += value
	case Increase, Adjust:
		series.Value += value
	}
	return nil
}

func Discover(service string) (Listing, error) {
	instances, granted := there().Services[service]
	if !granted {
		return Listing{}, failure.New(failure.PermissionDenied, "looking up service `%s` is not granted; [grants] directory = [%q] in the manifest gives it", service, service)
	}
	sorted := slices.Clone(instances)
	sort.SliceStable(sorted, func(a, b int) bool { return sorted[a].ID < sorted[b].ID })
	hash := fnv.New64a()
	fmt.Fprintf(hash, "%#v", sorted)
	return Listing{Revision: fmt.Sprintf("%016x", hash.Sum64()), Instances: sorted}, nil
}

// NextChange does not wait: nothing changes while a test is in here.
func NextChange(service, revision string, _ uint32) (Listing, bool, error) {
	listing, err := Discover(service)
	if err != nil || listing.Revision == revision {
		return Listing{}, false, err
	}
	return listing, true, nil
}
