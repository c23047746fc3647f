// Package authorizer says what callers may do. Importing it gives the component the role `authorizer`.
package authorizer

import (
	"postern.dev/postern"
	"postern.dev/postern/internal/guard"
)

var handler Handler

// Handler says whether the caller (Principal and Claim of the context) may make this call. An error
// (postern.PermissionDenied) refuses it.
type Handler func(ctx *postern.Context, service, method string) error

// Handle gives calls to a function. It panics when the plugin has another.
func Handle(h Handler) {
	if handler != nil {
		panic("postern: authorizer.Handle is called twice")
	}
	handler = h
}

// Ask gives a call to the plugin's function. Without one everything is refused.
func Ask(service, method string) (err error) {
	defer guard.Recover(&err)
	if handler == nil {
		return postern.Errorf(postern.PermissionDenied, "package authorizer is imported, and nothing calls authorizer.Handle")
	}
	return handler(&postern.Context{}, service, method)
}
