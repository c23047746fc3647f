// Package balancer decides which instance of a service gets a call. Importing it gives the component the role
// `balancer`. The gateway has one instance of the component per worker thread and service; each function has a
// budget of microseconds, the manifest's `budget`, and a pick that is late is made by the gateway itself.
package balancer

import (
	"time"

	"postern.dev/postern/internal/guard"
	"postern.dev/postern/internal/host"
)

// Instance is one thing that can answer for the service.
type Instance struct {
	// ID is its name in the directory; the same for as long as it lives.
	ID string
	// Weight is its share relative to the others; 100 is the usual one, 0 means no new calls.
	Weight uint32
	// Zone is where it stands: a region or a data centre; empty for none.
	Zone string
	// Version is a semantic version; empty for none.
	Version string
	// Metadata is what its owner says about it.
	Metadata map[string]string
}

// Outcome is how a call ended, as far as the instance is to blame for it.
type Outcome uint8

// In the order of `outcome` in wit/types.wit.
const (
	// Success: it answered; also with a failure that is the caller's fault.
	Success Outcome = iota
	// Failure: it failed.
	Failure
	// Timeout: it did not answer in time.
	Timeout
)

// None leaves a pick to the gateway's own balancer.
const None = -1

// Balancer places calls.
type Balancer interface {
	// Update is told all instances that there are, before the first Pick and whenever the set changes; indices
	// count from here until the next Update.
	Update(instances []Instance)
	// Pick is the index of the instance that is to get a call, or None. The key is equal for calls that belong
	// together and chance for those that do not. The call itself is asked of a postern.Context.
	Pick(key uint64) int
}

// Observer is a Balancer that wants to know how the calls ended that it placed.
type Observer interface {
	Done(index int, outcome Outcome, took time.Duration)
}

// Usable says whether an instance may get this call: it is not ejected, not draining, and was not tried for it
// before. Only within Pick.
func Usable(index int) bool { return host.Usable(index) }

// Random is a random number, new at every pick. Only within Pick.
func Random() uint64 { return host.Random() }

// FirstUsable is the first usable index of n from start on, going round; None where there is none.
func FirstUsable(start, n int) int {
	for step := range n {
		if index := (start + step) % n; Usable(index) {
			return index
		}
	}
	return None
}

var handler Balancer

// Handle gives picks to a balancer. It panics when the plugin has another.
func Handle(b Balancer) {
	if handler != nil {
		panic("postern: balancer.Handle is called twice")
	}
	handler = b
}

func update(instances []Instance) {
	defer guard.Log()
	if handler != nil {
		handler.Update(instances)
	}
}

func pick(key uint64) (index int) {
	index = None
	defer guard.Log()
	if handler != nil {
		index = handler.Pick(key)
	}
	return index
}

func done(index int, outcome Outcome, took time.Duration) {
	defer guard.Log()
	if observer, is := handler.(Observer); is {
		observer.Done(index, outcome, took)
	}
}
