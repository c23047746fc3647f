// Package event takes events of the topics that the manifest names. Importing it gives the component the role
// `event-handler`.
package event

import (
	"postern.dev/postern"
	"postern.dev/postern/internal/guard"
	"postern.dev/postern/internal/message"
)

// Event has happened.
type Event struct {
	Topic string
	// ContentType is empty where the publisher gave none.
	ContentType string
	Payload     []byte
}

// Decode reads the payload as JSON. It fails with `invalid-argument`.
func Decode[T any](e Event) (T, error) { return message.Decode[T](e.Payload) }

var handler func(*postern.Context, Event) error

// Handle gives events to a function. Each is told at most once, an error is counted and logged; those of topics
// that the gateway makes durable come again after an error. It panics when the plugin has another such function.
func Handle(h func(*postern.Context, Event) error) {
	if handler != nil {
		panic("postern: event.Handle is called twice")
	}
	handler = h
}

// Tell gives an event to the plugin's function.
func Tell(e Event) (err error) {
	defer guard.Recover(&err)
	if handler == nil {
		return postern.Errorf(postern.Unimplemented, "package event is imported, and nothing calls event.Handle")
	}
	return handler(&postern.Context{}, e)
}
