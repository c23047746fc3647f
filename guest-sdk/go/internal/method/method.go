// Package method makes and answers methods of one message in and one out, for the packages that offer them.
package method

import (
	"reflect"

	"postern.dev/postern"
	"postern.dev/postern/service"
)

// Unary is a method that takes and gives messages of these types, as `call` answers it.
func Unary[In, Out any](name string, call func(*postern.Context, string, []byte) ([]byte, error)) *service.Method {
	return &service.Method{
		Name:      name,
		Shape:     service.Unary,
		Request:   reflect.TypeFor[In](),
		Response:  reflect.TypeFor[Out](),
		CallUnary: call,
	}
}

// Fallback is the method that answers to every name that no other method of its service has.
func Fallback(call func(*postern.Context, string, []byte) ([]byte, error)) *service.Method {
	return Unary[postern.Octets, postern.Octets]("*", call)
}
