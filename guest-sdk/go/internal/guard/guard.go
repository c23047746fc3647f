// Package guard turns a panic into a failure, so that the instance lives on.
package guard

import (
	"fmt"
	"runtime/debug"

	"postern.dev/postern/internal/failure"
	"postern.dev/postern/internal/host"
)

// Recover is deferred around everything that a plugin's author wrote. A panic becomes an `internal` failure
// with the panic's text, and its stack a line of the log.
func Recover(err *error) {
	value := recover()
	if value == nil {
		return
	}
	text := fmt.Sprint(value)
	host.LogWrite(host.Error, "panic: "+text, []host.Pair{{Name: "stack", Value: string(debug.Stack())}})
	*err = failure.New(failure.Internal, "panic: %s", text)
}

// Log is for roles whose functions cannot fail: a panic becomes a line of the log.
func Log() {
	value := recover()
	if value != nil {
		host.LogWrite(host.Error, fmt.Sprint("panic: ", value), []host.Pair{{Name: "stack", Value: string(debug.Stack())}})
	}
}
