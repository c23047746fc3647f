package postern

import (
	"context"
	"time"

	"postern.dev/postern/internal/host"
)

// Context is the call that is being answered. It is a context.Context whose deadline is the caller's. An
// instance serves one call at a time, so a Context holds nothing and is valid while its handler runs.
type Context struct{}

var _ context.Context = (*Context)(nil)

// Field is one header or trailer.
type Field = host.Field

// HTTP is what HTTP says of a call beside headers and body.
type HTTP = host.HTTP

// Peer is who is at the other end of the session.
type Peer = host.Peer

// Principal is who calls, as an authenticator established it.
type Principal = host.Principal

// BodyKind is what a body is.
type BodyKind = host.BodyKind

const (
	// Message: one message, or none.
	Message = host.Message
	// Messages: whole units, one after the other.
	Messages = host.Messages
	// OctetsBody: one body in pieces, whose ends mean nothing.
	OctetsBody = host.OctetsBody
)

// remainingMax is what is left of a deadline that is none: a hundred years.
const remainingMax = 100 * 365 * 24 * time.Hour

// Header is the first value of a request header; absent also when it is not UTF-8.
func (*Context) Header(name string) (value string, is bool) { return host.Header(name) }

// Headers are all request headers in order, duplicates included.
func (*Context) Headers() []Field { return host.Headers() }

// AddHeader adds a header to the reply, beside those of the same name. Every name is the plugin's own: no
// protocol takes it for another. It fails with `invalid-argument` when the name is not 1 to 255 octets or all
// headers together pass 65,535, and with `failed-precondition` once a message was sent.
func (*Context) AddHeader(name, value string) error { return host.AddHeader(name, value) }

// AddTrailer adds a header that follows the last message of a stream. Over HTTP/1.1 those arrive that the
// reply's header `trailer` names.
func (*Context) AddTrailer(name, value string) error { return host.AddTrailer(name, value) }

// HTTP is what HTTP says of the call; false where it did not come by HTTP, here or at a gateway before.
func (*Context) HTTP() (HTTP, bool) { return host.HTTPInfo() }

// RequestKind is what the body of the request is, as it came; for a unary method always a message.
func (*Context) RequestKind() BodyKind { return host.RequestKind() }

// Trailers follow the body of the request, once a stream has given its last message.
func (*Context) Trailers() []Field { return host.Trailers() }

// SetStatus sets the status that a client is answered with that came by HTTP: 200 to 599, 200 unless set.
// The call has succeeded all the same: a failure has the status of its kind. 204 and 304 have no content.
func (*Context) SetStatus(status int) error {
	if status < 0 || status > 0xffff {
		return Errorf(InvalidArgument, "status %d is not 200 to 599", status)
	}
	return host.SetStatus(uint16(status))
}

// SetOctets says that what a stream sends are pieces of one body, which goes to the client as it is.
func (*Context) SetOctets() error { return host.SetOctets() }

// Peer is who is at the other end of the session.
func (*Context) Peer() Peer { return host.GetPeer() }

// Principal is who calls; false where no authenticator has said so.
func (*Context) Principal() (Principal, bool) { return host.GetPrincipal() }

// Claim is one of the principal's claims: what an authenticator says beside name and roles.
func (*Context) Claim(name string) (value string, is bool) { return host.Claim(name) }

// Remaining is how long the caller still waits, in whole milliseconds.
func (*Context) Remaining() time.Duration {
	remaining := host.RemainingMs()
	if remaining > uint64(remainingMax/time.Millisecond) {
		return remainingMax
	}
	return time.Duration(remaining) * time.Millisecond
}

// CorrelationID was chosen by the caller, unique among what is in flight on its session.
func (*Context) CorrelationID() string { return host.CorrelationID() }

// Traceparent is the W3C trace context of this call.
func (*Context) Traceparent() (value string, is bool) { return host.Traceparent() }

// Deadline is when the caller stops waiting.
func (c *Context) Deadline() (time.Time, bool) {
	remaining := c.Remaining()
	return time.Now().Add(remaining), remaining < remainingMax
}

// Done is nil: the gateway ends a call that nobody waits for, and host calls then fail.
func (*Context) Done() <-chan struct{} { return nil }

// Err is context.DeadlineExceeded once no time remains.
func (c *Context) Err() error {
	if c.Remaining() == 0 {
		return context.DeadlineExceeded
	}
	return nil
}

// Value is nil.
func (*Context) Value(any) any { return nil }
