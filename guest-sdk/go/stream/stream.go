// Package stream adds methods of many messages, in either direction or both. Importing it gives the component
// the role `stream-handler`, which also answers unary methods: one message in, one out.
//
// Headers and the status are set before the first message goes out, trailers until the handler returns.
package stream

import (
	"errors"
	"io"
	"iter"
	"reflect"

	"postern.dev/postern"
	"postern.dev/postern/internal/host"
	"postern.dev/postern/internal/message"
	"postern.dev/postern/service"
)

// Receiver is the messages of the request.
type Receiver[In any] struct{}

// Next is the next message; io.EOF after the last. It blocks this instance only. Once the caller has left it
// fails with `cancelled`. A message that cannot be read is `invalid-argument`, and the one after it can be
// taken.
func (*Receiver[In]) Next() (in In, err error) {
	octets, err := host.Next()
	if err != nil {
		return in, err
	}
	if octets == nil {
		return in, io.EOF
	}
	return message.Decode[In](octets)
}

// All are the messages up to the last, or to the first error.
func (r *Receiver[In]) All() iter.Seq2[In, error] {
	return func(yield func(In, error) bool) {
		for {
			in, err := r.Next()
			if errors.Is(err, io.EOF) || !yield(in, err) || err != nil {
				return
			}
		}
	}
}

// Sender is the messages of the reply.
type Sender[Out any] struct{}

// Send sends one message. It blocks this instance only, while the caller reads slowly, and fails with
// `cancelled` once the caller has left.
func (*Sender[Out]) Send(out Out) error {
	octets, err := message.Encode(out)
	if err != nil {
		return err
	}
	return host.Send(octets)
}

// Server adds a method that takes one message and gives many.
func Server[In, Out any](s *service.Service, name string, handler func(*postern.Context, In, *Sender[Out]) error, options ...service.Option) {
	add[In, Out](s, name, service.ServerStream, options, func(ctx *postern.Context) error {
		octets, err := host.Next()
		if err != nil {
			return err
		}
		in, err := message.Decode[In](octets)
		if err != nil {
			return err
		}
		return handler(ctx, in, &Sender[Out]{})
	})
}

// Client adds a method that takes many messages and gives one.
func Client[In, Out any](s *service.Service, name string, handler func(*postern.Context, *Receiver[In]) (Out, error), options ...service.Option) {
	add[In, Out](s, name, service.ClientStream, options, func(ctx *postern.Context) error {
		out, err := handler(ctx, &Receiver[In]{})
		if err != nil {
			return err
		}
		return (&Sender[Out]{}).Send(out)
	})
}

// Bidirectional adds a method that takes and gives many messages.
func Bidirectional[In, Out any](s *service.Service, name string, handler func(*postern.Context, *Receiver[In], *Sender[Out]) error, options ...service.Option) {
	add[In, Out](s, name, service.Bidirectional, options, func(ctx *postern.Context) error {
		return handler(ctx, &Receiver[In]{}, &Sender[Out]{})
	})
}

func add[In, Out any](s *service.Service, name string, shape service.Shape, options []service.Option, call func(*postern.Context) error) {
	s.Add(&service.Method{
		Name:     name,
		Shape:    shape,
		Request:  reflect.TypeFor[In](),
		Response: reflect.TypeFor[Out](),
		CallStream: func(ctx *postern.Context, _ string) error {
			return call(ctx)
		},
	}, options...)
}
