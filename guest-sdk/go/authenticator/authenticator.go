// Package authenticator says who callers are. Importing it gives the component the role `authenticator`.
package authenticator

import (
	"time"

	"postern.dev/postern"
	"postern.dev/postern/internal/guard"
)

// Credentials are what a caller shows.
type Credentials struct {
	// Scheme is in lower case: `bearer`, `basic`, or `api-key` for the header `x-vsp-api-key`.
	Scheme string
	// Token follows the scheme; secret, so neither to be logged nor stored.
	Token string
}

// Identity is who a caller is.
type Identity struct {
	Name  string
	Roles []string
	// Claims are what else is known: `tenant`, `email`.
	Claims map[string]string
	// Valid is how long the gateway may remember this answer for the same credentials, in whole milliseconds; 0:
	// not beyond this call.
	Valid time.Duration
}

var handler Handler

// Handler judges credentials. Nil: they are not this plugin's to judge, the next one is asked. An error
// (postern.Unauthenticated) refuses the call.
type Handler func(*postern.Context, Credentials) (*Identity, error)

// Handle gives credentials to a function. It panics when the plugin has another.
func Handle(h Handler) {
	if handler != nil {
		panic("postern: authenticator.Handle is called twice")
	}
	handler = h
}

// Ask gives credentials to the plugin's function.
func Ask(shown Credentials) (who *Identity, err error) {
	defer guard.Recover(&err)
	if handler == nil {
		return nil, nil
	}
	return handler(&postern.Context{}, shown)
}
