//go:build !wasm

package fake

import (
	"slices"

	"postern.dev/postern/internal/host"
)

// Metric is the value of a counter or a gauge, of a histogram the sum; false where nothing was counted.
func (h *Host) Metric(name string, labels ...Pair) (value float64, counted bool) {
	series := h.series(name, labels)
	if series == nil {
		return 0, false
	}
	return series.Value, true
}

// Observed are the values that a histogram was told, in order.
func (h *Host) Observed(name string, labels ...Pair) []float64 {
	series := h.series(name, labels)
	if series == nil {
		return nil
	}
	return slices.Clone(series.Observed)
}

func (h *Host) series(name string, labels []Pair) *host.Series {
	metric := h.state.Metrics[name]
	if metric == nil {
		return nil
	}
	return metric.Series[host.LabelsKey(labels)]
}

// Service says who answers for a service; this also grants looking it up. A watch sees the difference the next time
// that it is asked.
func (h *Host) Service(service string, instances ...host.Instance) {
	if h.state.Services == nil {
		h.state.Services = map[string][]host.Instance{}
	}
	h.state.Services[service] = slices.Clone(instances)
}
