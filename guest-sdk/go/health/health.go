// Package health says whether the plugin can serve. Importing it gives the component the role `health`; a
// plugin without it can always serve.
package health

import (
	"postern.dev/postern"
	"postern.dev/postern/internal/guard"
)

// Status is how well a plugin is.
type Status uint8

// In the order of `health-status` in wit/types.wit.
const (
	// Serving takes traffic.
	Serving Status = iota
	// Degraded takes traffic, and someone should look.
	Degraded
	// NotServing takes no traffic.
	NotServing
)

var handler func(*postern.Context) (Status, string)

// Handle is asked before the plugin takes traffic, and then periodically: a status, and why, for people. It
// panics when the plugin has another such function.
func Handle(h func(*postern.Context) (status Status, why string)) {
	if handler != nil {
		panic("postern: health.Handle is called twice")
	}
	handler = h
}

// Check asks the plugin's function. A panic is NotServing.
func Check() (status Status, why string) {
	err := check(&status, &why)
	if err != nil {
		return NotServing, err.Error()
	}
	return status, why
}

func check(status *Status, why *string) (err error) {
	defer guard.Recover(&err)
	if handler != nil {
		*status, *why = handler(&postern.Context{})
	}
	return nil
}
