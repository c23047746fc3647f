package main

import (
	"math/bits"
	"time"
)

// nBuckets: the last one takes everything from 2^26 microseconds on, 67 seconds.
const nBuckets = 28

// window is what became of the calls of one method since it began.
type window struct {
	begun    time.Time
	calls    uint64
	failures map[string]uint64
	// buckets counts by time taken: bucket n takes less than 2^n microseconds.
	buckets [nBuckets]uint64
	max     uint64
}

// Summary is a window as it is told.
type Summary struct {
	Service string `json:"service"`
	Method  string `json:"method"`
	// Millis is how long the window was.
	Millis int64  `json:"millis"`
	Calls  uint64 `json:"calls"`
	// Failures are those calls that failed, by kind.
	Failures  map[string]uint64 `json:"failures,omitempty"`
	P50Micros uint64            `json:"p50_micros"`
	P99Micros uint64            `json:"p99_micros"`
	MaxMicros uint64            `json:"max_micros"`
}

// key names a method.
type key struct{ service, method string }

// others is the method of those that are not told apart.
var others = key{service: "*", method: "*"}

// stats has a window for each method, at most so many.
type stats struct {
	windows    map[key]*window
	methodsMax int
	interval   time.Duration
}

// add counts a call that took so many microseconds; kind is empty for one that did not fail. It gives the
// window of the method once it is as long as the interval, and begins another.
func (s *stats) add(k key, kind string, micros uint64, now time.Time) (Summary, bool) {
	w := s.windows[k]
	if w == nil && len(s.windows) >= s.methodsMax {
		k = others
		w = s.windows[k]
	}
	if w == nil {
		w = &window{begun: now}
		s.windows[k] = w
	}
	w.calls++
	w.max = max(w.max, micros)
	w.buckets[min(bits.Len64(micros), nBuckets-1)]++
	if kind != "" {
		if w.failures == nil {
			w.failures = map[string]uint64{}
		}
		w.failures[kind]++
	}
	if now.Sub(w.begun) < s.interval {
		return Summary{}, false
	}
	s.windows[k] = &window{begun: now}
	return w.summary(k, now), true
}

func (w *window) summary(k key, now time.Time) Summary {
	return Summary{
		Service:   k.service,
		Method:    k.method,
		Millis:    now.Sub(w.begun).Milliseconds(),
		Calls:     w.calls,
		Failures:  w.failures,
		P50Micros: w.quantile(50),
		P99Micros: w.quantile(99),
		MaxMicros: w.max,
	}
}

// quantile is the end of the bucket below which so many percent of the calls lie, and at most the longest.
func (w *window) quantile(percent uint64) uint64 {
	wanted := (w.calls*percent + 99) / 100
	sum := uint64(0)
	for n, calls := range w.buckets {
		sum += calls
		if sum >= wanted && n < nBuckets-1 {
			return min(uint64(1)<<n, w.max)
		}
	}
	return w.max
}
