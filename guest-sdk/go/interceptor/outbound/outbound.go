// Package outbound sees what became of calls, on their way out. Importing it gives the component the role
// `response-interceptor`. A component with both halves has instances for each: what they share is in package kv.
package outbound

import (
	"postern.dev/postern"
	"postern.dev/postern/interceptor"
	"postern.dev/postern/internal/guard"
)

var handler Handler

// Handler is told that a call has ended, well or not. An error takes the place of the outcome.
type Handler func(*postern.Context, *interceptor.Request, *interceptor.Response) error

// Handle gives outcomes to a function. It panics when the plugin has another.
func Handle(h Handler) {
	if handler != nil {
		panic("postern: outbound.Handle is called twice")
	}
	handler = h
}

// Tell gives the outcome to the plugin's function.
func Tell() (err error) {
	defer guard.Recover(&err)
	if handler == nil {
		return nil
	}
	return handler(&postern.Context{}, &interceptor.Request{}, &interceptor.Response{})
}
