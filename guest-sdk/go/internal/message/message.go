// Package message reads and writes messages: JSON, or octets as they are.
package message

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"

	"postern.dev/postern"
	"postern.dev/postern/internal/schema"
)

// Decode reads a message. An empty one is the zero value. It fails with `invalid-argument`.
func Decode[T any](message []byte) (value T, err error) {
	switch to := any(&value).(type) {
	case *postern.Octets:
		*to = message
		return value, nil
	case *[]byte:
		*to = message
		return value, nil
	case *struct{}:
		return value, nil
	}
	if len(message) == 0 {
		return value, nil
	}
	if err := json.Unmarshal(message, &value); err != nil {
		return value, failed[T](err)
	}
	return value, nil
}

func failed[T any](err error) error {
	// A failure of a type's own UnmarshalJSON stays one.
	var own *postern.Failure
	if errors.As(err, &own) {
		return own
	}
	name := schema.Name(reflect.TypeFor[T]())
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return postern.Errorf(postern.InvalidArgument, "message is not a valid `%s`: %s at octet %d", name, err, syntax.Offset)
	}
	return postern.Errorf(postern.InvalidArgument, "message is not a valid `%s`: %s", name, err)
}

// Encode writes a message. It fails with `internal` for what JSON cannot say.
func Encode[T any](value T) ([]byte, error) {
	switch from := any(value).(type) {
	case postern.Octets:
		return from, nil
	case []byte:
		return from, nil
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, postern.Errorf(postern.Internal, "reply cannot be written as JSON: %s", err)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

// Caller makes of a method what takes and gives octets.
func Caller[In, Out any](handler func(*postern.Context, In) (Out, error)) func(*postern.Context, string, []byte) ([]byte, error) {
	// Octets as they are need nothing read, written or allocated.
	if direct, is := any(handler).(func(*postern.Context, postern.Octets) (postern.Octets, error)); is {
		return func(ctx *postern.Context, _ string, octets []byte) ([]byte, error) { return direct(ctx, octets) }
	}
	return func(ctx *postern.Context, _ string, octets []byte) ([]byte, error) {
		in, err := Decode[In](octets)
		if err != nil {
			return nil, err
		}
		out, err := handler(ctx, in)
		if err != nil {
			return nil, err
		}
		return Encode(out)
	}
}
