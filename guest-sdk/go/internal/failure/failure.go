// Package failure is why a call failed. Package postern gives its names out.
package failure

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"postern.dev/postern/internal/text"
)

// Kind is what went wrong, in the field's standard terms (the sixteen kinds of gRPC). A kind is an error
// itself, so that errors.Is(err, postern.NotFound) asks for it.
type Kind uint8

// In the order of wit/types.wit.
const (
	Cancelled Kind = iota
	Unknown
	InvalidArgument
	DeadlineExceeded
	NotFound
	AlreadyExists
	PermissionDenied
	ResourceExhausted
	FailedPrecondition
	Aborted
	OutOfRange
	Unimplemented
	Internal
	Unavailable
	DataLoss
	Unauthenticated
)

var names = [...]string{
	"cancelled", "unknown", "invalid-argument", "deadline-exceeded", "not-found", "already-exists",
	"permission-denied", "resource-exhausted", "failed-precondition", "aborted", "out-of-range",
	"unimplemented", "internal", "unavailable", "data-loss", "unauthenticated",
}

// String is the kind's name on every wire and in every log: `not-found`.
func (k Kind) String() string {
	if int(k) >= len(names) {
		return fmt.Sprintf("kind(%d)", uint8(k))
	}
	return names[k]
}

// Error is String.
func (k Kind) Error() string { return k.String() }

// KindOf is the kind of that name, as String spells it.
func KindOf(name string) (Kind, bool) {
	for kind, known := range names {
		if known == name {
			return Kind(kind), true
		}
	}
	return Unknown, false
}

// Failure is a failed call.
type Failure struct {
	Kind Kind
	// Message is for people: lower case, naming the value and the limit.
	Message string
	// Details is one JSON value for programs, shown to the caller beside the message; empty for none.
	Details json.RawMessage
}

func (f *Failure) Error() string { return f.Kind.String() + ": " + f.Message }

// Is says whether target is the failure's kind, for errors.Is.
func (f *Failure) Is(target error) bool {
	kind, isKind := target.(Kind)
	return isKind && kind == f.Kind
}

// WithDetails adds a JSON value for programs. One that cannot be written as JSON is left out.
func (f *Failure) WithDetails(value any) *Failure {
	details, err := json.Marshal(value)
	if err != nil {
		details = nil
	}
	return &Failure{Kind: f.Kind, Message: f.Message, Details: details}
}

// New makes a failure; the arguments are those of fmt.Sprintf.
func New(kind Kind, format string, arguments ...any) *Failure {
	if len(arguments) == 0 {
		return &Failure{Kind: kind, Message: text.Valid(format)}
	}
	return &Failure{Kind: kind, Message: text.Valid(fmt.Sprintf(format, arguments...))}
}

// Of makes a failure of any error. A failure stays itself, one that is wrapped keeps its kind and details, a
// kind alone is its own message, the errors of a context are their kinds, and everything else is `internal`.
func Of(err error) *Failure {
	if failed, is := err.(*Failure); is && failed != nil {
		return failed
	}
	var inner *Failure
	var kind Kind
	switch {
	case errors.As(err, &inner) && inner != nil:
		return &Failure{Kind: inner.Kind, Message: err.Error(), Details: inner.Details}
	case errors.As(err, &kind):
		return &Failure{Kind: kind, Message: err.Error()}
	case errors.Is(err, context.DeadlineExceeded):
		return &Failure{Kind: DeadlineExceeded, Message: err.Error()}
	case errors.Is(err, context.Canceled):
		return &Failure{Kind: Cancelled, Message: err.Error()}
	}
	return &Failure{Kind: Internal, Message: err.Error()}
}
