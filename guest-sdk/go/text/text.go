// Package text adds methods of one message in and one out that are text, JSON for example. Importing it gives the
// component the role `text-handler`: the gateway refuses a message that is not UTF-8 before the plugin is entered.
// It takes the place of package unary, which is for octets and for calls that arrive together: a component that has
// both is entered by `handler`.
package text

import (
	"unicode/utf8"

	"postern.dev/postern"
	"postern.dev/postern/internal/message"
	"postern.dev/postern/internal/method"
	"postern.dev/postern/service"
)

// Handle adds a method to a service. In and Out are read and written as JSON by encoding/json; struct{} is none,
// postern.Octets the message as it is. An empty message is the zero value.
func Handle[In, Out any](s *service.Service, name string, handler func(*postern.Context, In) (Out, error), options ...service.Option) {
	s.Add(method.Unary[In, Out](name, inText(message.Caller(handler))), options...)
}

// Fallback answers every method that the service has none of that name for, with the text as it is.
func Fallback(s *service.Service, handler func(ctx *postern.Context, method, body string) (string, error), options ...service.Option) {
	s.Add(method.Fallback(inText(func(ctx *postern.Context, called string, body []byte) ([]byte, error) {
		reply, err := handler(ctx, called, string(body))
		return []byte(reply), err
	})), options...)
}

// inText holds messages to what text is. The gateway does the same with the request, before the plugin is entered;
// a reply that is none would end the instance.
func inText(call func(*postern.Context, string, []byte) ([]byte, error)) func(*postern.Context, string, []byte) ([]byte, error) {
	return func(ctx *postern.Context, method string, body []byte) ([]byte, error) {
		if !utf8.Valid(body) {
			return nil, postern.Errorf(postern.InvalidArgument, "message is not UTF-8")
		}
		reply, err := call(ctx, method, body)
		if err == nil && !utf8.Valid(reply) {
			return nil, postern.Errorf(postern.Internal, "reply of method `%s` is not UTF-8: package unary is for octets", method)
		}
		return reply, err
	}
}
