// Package service holds what a plugin offers: services with methods, which packages unary and stream add.
// Importing it gives the component the roles `describe` and `schemas`.
package service

import (
	"fmt"
	"reflect"
	"strings"

	"postern.dev/postern"
	"postern.dev/postern/internal/guard"
	"postern.dev/postern/internal/host"
)

// Shape is how many messages go in and out.
type Shape uint8

// In the order of `call-kind` in wit/types.wit.
const (
	Unary Shape = iota
	ClientStream
	ServerStream
	Bidirectional
)

// Service is a named set of methods. One that New made is offered by the plugin.
type Service struct {
	Name string
	// Version is a semantic version; empty for none.
	Version string
	// Summary is one sentence for people.
	Summary  string
	Methods  []*Method
	byName   map[string]*Method
	fallback *Method
}

// Method is one method as it is described and called. Packages unary and stream make them.
type Method struct {
	Name, Summary string
	Shape         Shape
	// Request and Response are what messages are made of; nil and postern.Octets have no schema.
	Request, Response reflect.Type
	Idempotent        bool
	// CallUnary answers one message; there when Shape is Unary.
	CallUnary func(ctx *postern.Context, method string, message []byte) ([]byte, error)
	// CallStream answers a stream; there for all other shapes.
	CallStream func(ctx *postern.Context, method string) error
}

// Option says more about a method.
type Option func(*Method)

// Summary is one sentence for people.
func Summary(text string) Option { return func(m *Method) { m.Summary = text } }

// Idempotent: a second identical call changes nothing more, so that such calls may be retried.
func Idempotent() Option { return func(m *Method) { m.Idempotent = true } }

var offered []*Service

// New makes a service and offers it. The version is a semantic one, or empty; the summary is one sentence for
// people. It panics when the plugin has a service of that name.
func New(name, version, summary string) *Service {
	for _, other := range offered {
		if other.Name == name {
			panic(fmt.Sprintf("postern: service `%s` is made twice", name))
		}
	}
	s := &Service{Name: name, Version: version, Summary: summary, byName: map[string]*Method{}}
	offered = append(offered, s)
	return s
}

// Add adds a method; the name `*` stands for every method that has none of its own. It panics when the service
// has a method of that name.
func (s *Service) Add(method *Method, options ...Option) {
	if s.byName[method.Name] != nil {
		panic(fmt.Sprintf("postern: service `%s` has method `%s` twice", s.Name, method.Name))
	}
	for _, option := range options {
		option(method)
	}
	if method.Name == "*" {
		s.fallback = method
	}
	s.byName[method.Name] = method
	s.Methods = append(s.Methods, method)
}

// Find is the service of that name that the plugin offers. A plugin of one service answers to every name,
// because its manifest or file name may say another.
func Find(name string) (*Service, error) {
	for _, s := range offered {
		if s.Name == name || len(offered) == 1 {
			return s, nil
		}
	}
	return nil, postern.Errorf(postern.NotFound, "no service `%s`", strings.Clone(name))
}

// Lookup is the method of that name, or the one for all others.
func (s *Service) Lookup(name string) (*Method, error) {
	if method := s.byName[name]; method != nil {
		return method, nil
	}
	if s.fallback != nil {
		return s.fallback, nil
	}
	known := make([]string, len(s.Methods))
	for i, method := range s.Methods {
		known[i] = method.Name
	}
	return nil, postern.Errorf(postern.NotFound, "service `%s` has no method `%s`; it has %s", s.Name, name, strings.Join(known, ", "))
}

// Call answers one unary call. A panic is an `internal` failure.
func (s *Service) Call(ctx *postern.Context, method string, message []byte) ([]byte, error) {
	found, err := s.Lookup(method)
	if err != nil {
		return nil, err
	}
	return found.Answer(ctx, method, message)
}

// Answer answers one unary call of a method, which is called by that name. A panic is an `internal` failure.
func (m *Method) Answer(ctx *postern.Context, name string, message []byte) (reply []byte, err error) {
	if m.CallUnary == nil {
		return nil, postern.Errorf(postern.Unimplemented, "method `%s` is streaming", m.Name)
	}
	defer guard.Recover(&err)
	return m.CallUnary(ctx, name, message)
}

// CallStream answers one call of many messages; of a unary method, one in and one out. A panic is an
// `internal` failure.
func (s *Service) CallStream(ctx *postern.Context, method string) (err error) {
	defer guard.Recover(&err)
	found, err := s.Lookup(method)
	if err != nil {
		return err
	}
	if found.CallUnary == nil {
		return found.CallStream(ctx, method)
	}
	message, err := host.Next()
	if err != nil {
		return err
	}
	reply, err := found.CallUnary(ctx, method, message)
	if err != nil {
		return err
	}
	return host.Send(reply)
}
