// Plugin router-stats tells what became of calls, by service and method: how many, which failed, how long they
// took. It sees each on its way out, counts in memory, and publishes a window of a method with the first call
// after the interval.
package main

import (
	"log/slog"
	"time"

	"postern.dev/postern"
	"postern.dev/postern/config"
	"postern.dev/postern/events"
	"postern.dev/postern/interceptor"
	"postern.dev/postern/interceptor/outbound"
)

const (
	intervalMsDefault = 10_000
	methodsMaxDefault = 256
	topicDefault      = "router.stats"
)

type settings struct {
	stats
	topic string
	isLog bool
}

// running is there from the first call on: the manifest cannot be read before.
var running *settings

func init() { outbound.Handle(count) }

func configured() *settings {
	intervalMs, methodsMax, isLog := int64(intervalMsDefault), methodsMaxDefault, false
	number("interval-ms", &intervalMs)
	number("methods-max", &methodsMax)
	number("log", &isLog)
	return &settings{
		stats: stats{
			windows:    map[key]*window{},
			methodsMax: methodsMax,
			interval:   time.Duration(intervalMs) * time.Millisecond,
		},
		topic: config.TextOr("topic", topicDefault),
		isLog: isLog,
	}
}

// number reads a key into the default; what cannot be read is told once and left.
func number[T any](key string, to *T) {
	if _, is := config.Text(key); !is {
		return
	}
	value, err := config.Get[T](key)
	if err != nil {
		slog.Warn("the default is used", "error", err)
		return
	}
	*to = value
}

func count(_ *postern.Context, request *interceptor.Request, response *interceptor.Response) error {
	if running == nil {
		running = configured()
	}
	kind := ""
	if failed := response.Failed(); failed != nil {
		kind = failed.Kind.String()
	}
	called := key{service: request.Service(), method: request.Method()}
	summary, is := running.add(called, kind, uint64(response.Elapsed().Microseconds()), time.Now())
	if !is {
		return nil
	}
	if running.isLog {
		slog.Info("calls", "service", summary.Service, "method", summary.Method, "calls", summary.Calls,
			"p50_micros", summary.P50Micros, "p99_micros", summary.P99Micros)
	}
	// A call does not fail because nobody may be told of it.
	if _, err := events.Publish(running.topic, summary); err != nil {
		slog.Warn("not published", "error", err)
	}
	return nil
}

func main() {}
