//go:build !wasm

package fake

import (
	"time"

	"postern.dev/postern"
	"postern.dev/postern/authenticator"
	"postern.dev/postern/authorizer"
	"postern.dev/postern/event"
	"postern.dev/postern/frame"
	"postern.dev/postern/interceptor"
	"postern.dev/postern/interceptor/inbound"
	"postern.dev/postern/interceptor/outbound"
	"postern.dev/postern/internal/failure"
	"postern.dev/postern/internal/host"
)

// Event tells the plugin's event.Handle an event. An empty content type is none.
func (h *Host) Event(topic, contentType, payload string) error {
	h.state.Reply = host.Reply{}
	return event.Tell(event.Event{Topic: topic, ContentType: contentType, Payload: []byte(payload)})
}

// Exchange is a call as interceptors see it.
type Exchange struct {
	host *Host
}

// Request begins a call that interceptors see, with what Header has set.
func (h *Host) Request(service, method, payload string) *Exchange {
	h.state.Exchange = host.Exchange{
		Service: service, Method: method, RequestPayload: []byte(payload),
		RequestHeaders: append([]host.Field{}, h.state.RequestHeaders...),
	}
	return &Exchange{host: h}
}

// In gives the call to the plugin's inbound.Handle.
func (e *Exchange) In() (interceptor.Action, error) {
	e.host.state.Exchange.IsResponse = false
	return inbound.Tell()
}

// Out gives the plugin's outbound.Handle an outcome: a reply, or an error. What it leaves is what the caller
// gets, see ResponsePayload and Failed.
func (e *Exchange) Out(reply string, failed error, took time.Duration) error {
	x := &e.host.state.Exchange
	x.IsResponse, x.ElapsedMicros = true, uint64(took.Microseconds())
	x.ResponsePayload, x.Failed = []byte(reply), nil
	if failed != nil {
		x.ResponsePayload, x.Failed = nil, failure.Of(failed)
	}
	return outbound.Tell()
}

// RequestHeader is a header of the request as it goes on.
func (e *Exchange) RequestHeader(name string) (string, bool) { return host.RequestHeader(name) }

// RequestPayload is the message as it goes on.
func (e *Exchange) RequestPayload() string { return string(e.host.state.Exchange.RequestPayload) }

// ResponseHeader is a header of the answer.
func (e *Exchange) ResponseHeader(name string) (string, bool) { return host.ResponseHeader(name) }

// ResponsePayload is the answer.
func (e *Exchange) ResponsePayload() string { return string(e.host.state.Exchange.ResponsePayload) }

// Failed is the failure that the caller gets; nil for none.
func (e *Exchange) Failed() *postern.Failure { return e.host.state.Exchange.Failed }

// Usable says whether balancer.Usable is true for an index; it is for all unless said otherwise.
func (h *Host) Usable(index int, usable bool) { h.state.Unusable[index] = !usable }

// Random sets what balancer.Random counts up from.
func (h *Host) Random(from uint64) { h.state.Random = from }

// Authenticate shows credentials to the plugin's authenticator.Handle.
func (h *Host) Authenticate(scheme, token string) (*authenticator.Identity, error) {
	return authenticator.Ask(authenticator.Credentials{Scheme: scheme, Token: token})
}

// Authorize asks the plugin's authorizer.Handle about a call of what Principal has set.
func (h *Host) Authorize(service, method string) error { return authorizer.Ask(service, method) }

// Frame shows a frame to the plugin's frame.Handle, with the headers that Header has set, if it is to see it. The
// payload is what goes on.
func (h *Host) Frame(head frame.Head, payload string) (handled bool, verdict frame.Verdict, after string, err error) {
	head.PayloadBytes = uint32(len(payload))
	if !frame.ShouldHandle(head) {
		return false, frame.Pass, payload, nil
	}
	h.state.FrameHeaders = append([]host.Field{}, h.state.RequestHeaders...)
	h.state.FramePayload = []byte(payload)
	verdict, err = frame.Tell()
	return true, verdict, string(h.state.FramePayload), err
}
