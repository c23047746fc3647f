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

// stats has a window for each method that was called of late, at most so many.
type stats struct {
	windows    map[key]*window
	methodsMax int
	interval   time.Duration
	// forgot is when the windows were last looked at.
	forgot time.Time
}

// add counts a call that took so many microseconds; kind is empty for one that did not fail. It gives the
// window of the method once it is as long as the interval, and begins another.
func (s *stats) add(k key, kind string, micros uint64, now time.Time) (Summary, bool) {
	w := s.windows[k]
	if w == nil && s.isFull() {
		s.forget(now)
	}
	if w == nil && s.isFull() {
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
		w.fail(kind, 1)
	}
	if now.Sub(w.begun) < s.interval {
		return Summary{}, false
	}
	s.windows[k] = &window{begun: now}
	return w.summary(k, now), true
}

// isFull says whether as many methods are told apart as may be.
func (s *stats) isFull() bool {
	n := len(s.windows)
	if s.windows[others] != nil {
		n--
	}
	return n >= s.methodsMax
}

// forget drops the windows that are as long as the interval: their methods are not called any more. What they have
// counted is told with the others. It looks at all of them once an interval, so that names without end cost no more.
func (s *stats) forget(now time.Time) {
	if now.Sub(s.forgot) < s.interval {
		return
	}
	s.forgot = now
	for k, w := range s.windows {
		if k == others || now.Sub(w.begun) < s.interval {
			continue
		}
		delete(s.windows, k)
		if w.calls > 0 {
			s.join(w)
		}
	}
}

// join adds a window to that of the others.
func (s *stats) join(w *window) {
	to := s.windows[others]
	if to == nil {
		s.windows[others] = w
		return
	}
	if w.begun.Before(to.begun) {
		to.begun = w.begun
	}
	to.calls += w.calls
	to.max = max(to.max, w.max)
	for n, calls := range w.buckets {
		to.buckets[n] += calls
	}
	for kind, calls := range w.failures {
		to.fail(kind, calls)
	}
}

func (w *window) fail(kind string, calls uint64) {
	if w.failures == nil {
		w.failures = map[string]uint64{}
	}
	w.failures[kind] += calls
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
