// Package unary adds methods of one message in and one out. Importing it gives the component the roles
// `handler` and `batch-handler`.
package unary

import (
	"postern.dev/postern"
	"postern.dev/postern/internal/message"
	"postern.dev/postern/internal/method"
	"postern.dev/postern/service"
)

// Handle adds a method to a service. In and Out are read and written as JSON by encoding/json; postern.Octets
// and []byte are messages as they are, and struct{} is none. An empty message is the zero value.
func Handle[In, Out any](s *service.Service, name string, handler func(*postern.Context, In) (Out, error), options ...service.Option) {
	s.Add(method.Unary[In, Out](name, message.Caller(handler)), options...)
}

// Fallback answers every method that the service has none of that name for.
func Fallback(s *service.Service, handler func(ctx *postern.Context, method string, body postern.Octets) (postern.Octets, error), options ...service.Option) {
	s.Add(method.Fallback(func(ctx *postern.Context, called string, octets []byte) ([]byte, error) {
		return handler(ctx, called, octets)
	}), options...)
}
