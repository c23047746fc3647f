// Package interceptor is the call that interceptors see. Packages inbound and outbound are the two halves, and
// a call pays for those that the component has.
package interceptor

import (
	"time"

	"postern.dev/postern"
	"postern.dev/postern/internal/host"
)

// Action is what happens to a call.
type Action uint8

// In the order of `action` in wit/types.wit.
const (
	// Proceed: it goes on, with what was changed in the Request.
	Proceed Action = iota
	// Answer: it is answered by what was set in the Response, and goes no further.
	Answer
)

// Request is the call on its way to its handler. Changes are for inbound; in outbound they are refused with
// `failed-precondition`, and the payload is no longer there.
type Request struct{}

// Service is the service that is called.
func (*Request) Service() string { return host.RequestService() }

// Method is the method that is called.
func (*Request) Method() string { return host.RequestMethod() }

// Header is the first value of a header; absent also when it is not UTF-8.
func (*Request) Header(name string) (value string, is bool) { return host.RequestHeader(name) }

// Headers are all headers in order, duplicates included.
func (*Request) Headers() []postern.Field { return host.RequestHeaders() }

// SetHeader puts a header in the place of all of that name.
func (*Request) SetHeader(name, value string) error { return host.RequestSetHeader(name, value) }

// RemoveHeader takes all headers of that name away.
func (*Request) RemoveHeader(name string) error { return host.RequestRemoveHeader(name) }

// Payload is the message of a unary call. Only here does it cross into the plugin. The body of a streaming
// call is refused with `failed-precondition`.
func (*Request) Payload() ([]byte, error) { return host.RequestPayload() }

// SetPayload puts another message in place.
func (*Request) SetPayload(payload []byte) error { return host.RequestSetPayload(payload) }

// Response is what the call came to. In inbound it is empty, and what is set there is the answer if the action
// is Answer.
type Response struct{}

// Failed is why the call failed; nil when it did not.
func (*Response) Failed() *postern.Failure { return host.ResponseFailed() }

// Elapsed is the time since the call came in; 0 in inbound.
func (*Response) Elapsed() time.Duration {
	return time.Duration(host.ResponseElapsedMicros()) * time.Microsecond
}

// Header is the first value of a header; absent also when it is not UTF-8.
func (*Response) Header(name string) (value string, is bool) { return host.ResponseHeader(name) }

// Headers are all headers in order, duplicates included.
func (*Response) Headers() []postern.Field { return host.ResponseHeaders() }

// SetHeader puts a header in the place of all of that name. A failure has none (`failed-precondition`).
func (*Response) SetHeader(name, value string) error { return host.ResponseSetHeader(name, value) }

// RemoveHeader takes all headers of that name away. A failure has none (`failed-precondition`).
func (*Response) RemoveHeader(name string) error { return host.ResponseRemoveHeader(name) }

// Payload is the message of a unary reply. Only here does it cross into the plugin.
func (*Response) Payload() ([]byte, error) { return host.ResponsePayload() }

// SetPayload puts another message in place; it makes an answer of a failure.
func (*Response) SetPayload(payload []byte) error { return host.ResponseSetPayload(payload) }
