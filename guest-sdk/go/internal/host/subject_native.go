//go:build !wasm

package host

import (
	"bytes"
	"strings"

	"postern.dev/postern/internal/failure"
	"postern.dev/postern/internal/text"
)

func Usable(index int) bool { return !there().Unusable[index] }

// Random counts up from what the test gave, so that picks can be foretold.
func Random() uint64 {
	there().Random++
	return state.Random - 1
}

func exchange() *Exchange { return &there().Exchange }

func RequestService() string { return exchange().Service }

func RequestMethod() string { return exchange().Method }

func RequestHeader(name string) (string, bool) { return find(exchange().RequestHeaders, name) }

func RequestHeaders() []Field { return exchange().RequestHeaders }

func onTheWayIn() error {
	if exchange().IsResponse {
		return failure.New(failure.FailedPrecondition, "the request is answered and cannot be changed")
	}
	return nil
}

func notFailed() error {
	if exchange().Failed != nil {
		return failure.New(failure.FailedPrecondition, "a failure has no headers and no octets")
	}
	return nil
}

// set puts a header in the place of all of that name.
func set(fields *[]Field, name, value string) error {
	return addTo(without(*fields, name), fields, name, value)
}

// addField adds a header beside those of that name.
func addField(fields *[]Field, name, value string) error {
	return addTo(*fields, fields, name, value)
}

func addTo(kept []Field, fields *[]Field, name, value string) error {
	sum := 0
	for _, field := range kept {
		sum += len(field.Name) + len(field.Value)
	}
	if err := fits(name, value, sum); err != nil {
		return err
	}
	*fields = append(kept, Field{Name: name, Value: []byte(value)})
	return nil
}

func remove(fields *[]Field, name string) { *fields = without(*fields, name) }

func without(fields []Field, name string) []Field {
	kept := []Field{}
	for _, field := range fields {
		if !strings.EqualFold(field.Name, name) {
			kept = append(kept, field)
		}
	}
	return kept
}

func RequestSetHeader(name, value string) error {
	name, value = text.Valid(name), text.Valid(value)
	if err := onTheWayIn(); err != nil {
		return err
	}
	return set(&state.Exchange.RequestHeaders, name, value)
}

func RequestRemoveHeader(name string) error {
	name = text.Valid(name)
	if err := onTheWayIn(); err != nil {
		return err
	}
	remove(&state.Exchange.RequestHeaders, name)
	return nil
}

func RequestPayload() ([]byte, error) {
	if err := onTheWayIn(); err != nil {
		return nil, err
	}
	return bytes.Clone(state.Exchange.RequestPayload), nil
}

func RequestSetPayload(payload []byte) error {
	if err := onTheWayIn(); err != nil {
		return err
	}
	state.Exchange.RequestPayload = bytes.Clone(payload)
	return nil
}

// ResponseFailed is nil when the call did not fail.
func ResponseFailed() *failure.Failure { return exchange().Failed }

func ResponseElapsedMicros() uint64 { return exchange().ElapsedMicros }

func ResponseHeader(name string) (string, bool) { return find(exchange().ResponseHeaders, name) }

func ResponseHeaders() []Field { return exchange().ResponseHeaders }

func ResponseSetHeader(name, value string) error {
	name, value = text.Valid(name), text.Valid(value)
	if err := notFailed(); err != nil {
		return err
	}
	return set(&state.Exchange.ResponseHeaders, name, value)
}

func ResponseRemoveHeader(name string) error {
	name = text.Valid(name)
	if err := notFailed(); err != nil {
		return err
	}
	remove(&state.Exchange.ResponseHeaders, name)
	return nil
}

func ResponsePayload() ([]byte, error) {
	if err := notFailed(); err != nil {
		return nil, err
	}
	return bytes.Clone(state.Exchange.ResponsePayload), nil
}

func ResponseSetPayload(payload []byte) error {
	exchange().Failed = nil
	state.Exchange.ResponsePayload = bytes.Clone(payload)
	return nil
}
