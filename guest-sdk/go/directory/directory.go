// Package directory is who answers for a service, and what changes there. The manifest grants services:
// `[grants] directory = ["users"]`, where `*` is every one.
//
// Waiting counts as time of a unary call and not as time of a stream: a watch that goes on belongs into a streaming
// method. Entries that ask for permissions are found while a call is answered whose caller has one of them. Every
// function fails with `permission-denied` without a grant, `unavailable` where the gateway has no directory, and
// `out-of-range` for more than 4 MiB.
package directory

import (
	"math"
	"time"

	"postern.dev/postern/internal/host"
)

// Instance is one that answers for a service.
type Instance = host.Instance

// Listing is all instances of a service at one moment.
type Listing = host.Listing

// Watch is the listings of one service, one after the other.
type Watch struct {
	service, revision string
	begun             bool
}

// Discover is the instances of a service; none when nobody answers for it.
func Discover(service string) (Listing, error) { return host.Discover(service) }

// NextChange waits until the instances of a service are others than those of revision. changed is false when they
// are still the same after timeout, and a little before the call's own time is over.
func NextChange(service, revision string, timeout time.Duration) (listing Listing, changed bool, err error) {
	timeoutMs := min(max(timeout.Milliseconds(), 0), math.MaxUint32)
	return host.NextChange(service, revision, uint32(timeoutMs))
}

// NewWatch watches a service.
func NewWatch(service string) *Watch { return &Watch{service: service} }

// Next gives the first listing at once, and each further one when it is another than the one before. changed is
// false when none was within timeout; ask again as long as you want to know.
func (w *Watch) Next(timeout time.Duration) (listing Listing, changed bool, err error) {
	if w.begun {
		listing, changed, err = NextChange(w.service, w.revision, timeout)
	} else {
		listing, err = Discover(w.service)
		changed = err == nil
	}
	if changed {
		w.begun, w.revision = true, listing.Revision
	}
	return listing, changed, err
}
