// Package client calls other services through the gateway. The manifest grants them by name:
// `[grants] services = ["calculator"]`.
package client

import (
	"time"

	"postern.dev/postern"
	"postern.dev/postern/internal/host"
	"postern.dev/postern/internal/message"
)

// Option says more about a call.
type Option func(*options)

type options struct {
	headers   []host.Pair
	timeoutMs uint64
}

// Header adds a header to the request.
func Header(name, value string) Option {
	return func(o *options) { o.headers = append(o.headers, host.Pair{Name: name, Value: value}) }
}

// Timeout shortens what is left of this call's own deadline; it never extends it. In whole milliseconds, at
// least one.
func Timeout(timeout time.Duration) Option {
	return func(o *options) { o.timeoutMs = uint64(max(timeout.Milliseconds(), 1)) }
}

// Call sends one message and waits for the reply; In and Out are JSON, or as they are if they are postern.Octets
// or []byte. It blocks this instance only. It fails with `permission-denied` without a grant, `not-found` for an
// unknown service, `data-loss` when the reply is not an Out, and with whatever the service fails with.
func Call[Out, In any](service, method string, in In, opts ...Option) (out Out, err error) {
	var with options
	for _, option := range opts {
		option(&with)
	}
	octets, err := message.Encode(in)
	if err != nil {
		return out, err
	}
	reply, err := host.Call(service, method, octets, with.headers, with.timeoutMs)
	if err != nil {
		return out, err
	}
	out, err = message.Decode[Out](reply)
	if err != nil {
		return out, postern.Errorf(postern.DataLoss, "reply of `%s/%s`: %s", service, method, err)
	}
	return out, nil
}
