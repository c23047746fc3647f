// Package inbound sees calls on their way in. Importing it gives the component the role `request-interceptor`.
// Without package kv or client it is entered directly, within a budget of microseconds.
package inbound

import (
	"postern.dev/postern"
	"postern.dev/postern/interceptor"
	"postern.dev/postern/internal/guard"
)

var handler Handler

// Handler is told that a call has come, and says what happens to it. An error refuses it.
type Handler func(*postern.Context, *interceptor.Request, *interceptor.Response) (interceptor.Action, error)

// Handle gives calls to a function. It panics when the plugin has another.
func Handle(h Handler) {
	if handler != nil {
		panic("postern: inbound.Handle is called twice")
	}
	handler = h
}

// Tell gives the call that is on its way to the plugin's function.
func Tell() (action interceptor.Action, err error) {
	defer guard.Recover(&err)
	if handler == nil {
		return interceptor.Proceed, nil
	}
	return handler(&postern.Context{}, &interceptor.Request{}, &interceptor.Response{})
}
