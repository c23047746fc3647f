// Package postern is the Go SDK for plugins of the Postern gateway: failures, the call that is being
// answered, and the log. A plugin has the roles whose packages it imports: unary, stream, event,
// interceptor/inbound, interceptor/outbound, balancer, health.
package postern

import "postern.dev/postern/internal/failure"

// Kind is what went wrong, in the field's standard terms (the sixteen kinds of gRPC). Every front maps it to
// its own status; the numbers of HTTP are given here. A kind is an error itself:
// errors.Is(err, postern.NotFound) asks for it.
type Kind = failure.Kind

const (
	Cancelled          = failure.Cancelled          // 499
	Unknown            = failure.Unknown            // 500
	InvalidArgument    = failure.InvalidArgument    // 400
	DeadlineExceeded   = failure.DeadlineExceeded   // 504
	NotFound           = failure.NotFound           // 404
	AlreadyExists      = failure.AlreadyExists      // 409
	PermissionDenied   = failure.PermissionDenied   // 403
	ResourceExhausted  = failure.ResourceExhausted  // 429
	FailedPrecondition = failure.FailedPrecondition // 400
	Aborted            = failure.Aborted            // 409
	OutOfRange         = failure.OutOfRange         // 400
	Unimplemented      = failure.Unimplemented      // 501
	Internal           = failure.Internal           // 500
	Unavailable        = failure.Unavailable        // 503
	DataLoss           = failure.DataLoss           // 500
	Unauthenticated    = failure.Unauthenticated    // 401
)

// Failure is a failed call: kind, message for people, details for programs. errors.As finds it. Any other
// error that a handler gives is `internal` to the caller, with its text.
type Failure = failure.Failure

// Errorf makes a failure of that kind; the arguments are those of fmt.Sprintf. Messages are lower case and
// name the value and the limit.
func Errorf(kind Kind, format string, arguments ...any) *Failure {
	return failure.New(kind, format, arguments...)
}

// KindOf is the kind of that name, as Kind.String spells it: `not-found`.
func KindOf(name string) (kind Kind, known bool) { return failure.KindOf(name) }
