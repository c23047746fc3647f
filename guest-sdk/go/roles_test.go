package postern_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"postern.dev/postern"
	"postern.dev/postern/authenticator"
	"postern.dev/postern/authorizer"
	"postern.dev/postern/balancer"
	"postern.dev/postern/fake"
	"postern.dev/postern/frame"
	"postern.dev/postern/health"
	"postern.dev/postern/interceptor"
	"postern.dev/postern/interceptor/inbound"
	"postern.dev/postern/interceptor/outbound"
)

type loud struct{}

func (loud) ShouldHandle(head frame.Head) bool {
	return head.Kind == frame.Data && head.PayloadBytes > 0
}

// limits says which bound of a frame does not hold.
func limits(f *frame.Frame) error {
	for name, err := range map[string]error{
		"name":    f.AddHeader("", "x"),
		"headers": f.SetHeader("x", strings.Repeat("y", 65_535)),
		"payload": f.SetPayload(make([]byte, 8<<20+1)),
	} {
		if err == nil {
			return errors.New(name)
		}
	}
	if headers := f.Headers(); len(headers) != 2 || string(headers[1].Value) != "2" {
		return fmt.Errorf("headers %v", headers)
	}
	return nil
}

func (loud) Handle(f *frame.Frame) (frame.Verdict, error) {
	if _, is := f.Header("x-drop"); is {
		return frame.Drop, nil
	}
	return frame.Pass, errors.Join(
		f.SetPayload(append(f.Payload(), '!')),
		f.SetHeader("x-loud", "1"),
		f.AddHeader("x-loud", "2"),
		limits(f),
	)
}

func init() {
	frame.Handle(loud{})
	inbound.Handle(func(_ *postern.Context, request *interceptor.Request, response *interceptor.Response) (interceptor.Action, error) {
		key, is := request.Header("x-key")
		switch {
		case !is:
			return interceptor.Proceed, postern.Errorf(postern.Unauthenticated, "no header x-key")
		case key == "cached":
			return interceptor.Answer, response.SetPayload([]byte("from the cache"))
		case key == "panic":
			panic("key")
		}
		return interceptor.Proceed, request.SetHeader("x-seen", request.Service())
	})
	outbound.Handle(func(_ *postern.Context, _ *interceptor.Request, response *interceptor.Response) error {
		if failed := response.Failed(); failed != nil && failed.Kind == postern.NotFound {
			return response.SetPayload([]byte("nothing"))
		}
		return nil
	})
	authenticator.Handle(func(_ *postern.Context, shown authenticator.Credentials) (*authenticator.Identity, error) {
		switch shown.Token {
		case "open sesame":
			return &authenticator.Identity{Name: "ali", Roles: []string{"guest"}}, nil
		case "panic":
			panic(shown.Scheme)
		}
		return nil, nil
	})
	authorizer.Handle(func(ctx *postern.Context, service, _ string) error {
		if _, is := ctx.Claim("tenant"); is {
			return nil
		}
		return postern.Errorf(postern.PermissionDenied, "%s", service)
	})
	health.Handle(func(*postern.Context) (health.Status, string) { panic("ill") })
}

func TestInterceptorsRefuseAnswerAndChange(t *testing.T) {
	host := fake.New(t)
	if _, err := host.Request("users", "Get", "{}").In(); !errors.Is(err, postern.Unauthenticated) {
		t.Errorf("got %v", err)
	}
	host.Header("X-Key", "k")
	call := host.Request("users", "Get", "{}")
	action, err := call.In()
	if seen, _ := call.RequestHeader("x-seen"); action != interceptor.Proceed || err != nil || seen != "users" {
		t.Errorf("got %v, %v, %s", action, err, seen)
	}
	if err := call.Out("", postern.Errorf(postern.NotFound, "no user"), time.Millisecond); err != nil || call.ResponsePayload() != "nothing" || call.Failed() != nil {
		t.Errorf("got %v, %s, %v", err, call.ResponsePayload(), call.Failed())
	}
	if err := call.Out("a user", nil, time.Millisecond); err != nil || call.ResponsePayload() != "a user" {
		t.Errorf("got %v, %s", err, call.ResponsePayload())
	}
}

func TestAnInterceptorAnswers(t *testing.T) {
	host := fake.New(t)
	host.Header("X-Key", "cached")
	call := host.Request("users", "Get", "{}")
	if action, err := call.In(); action != interceptor.Answer || err != nil || call.ResponsePayload() != "from the cache" {
		t.Errorf("got %v, %v, %s", action, err, call.ResponsePayload())
	}
}

func TestAPanicOfAnInterceptorRefusesTheCall(t *testing.T) {
	host := fake.New(t)
	host.Header("X-Key", "panic")
	if _, err := host.Request("users", "Get", "{}").In(); !errors.Is(err, postern.Internal) {
		t.Errorf("got %v", err)
	}
}

func TestUsableInstancesAreFoundGoingRound(t *testing.T) {
	host := fake.New(t)
	host.Usable(2, false)
	host.Usable(0, false)
	if got := balancer.FirstUsable(2, 3); got != 1 {
		t.Errorf("got %d", got)
	}
	host.Usable(1, false)
	if got := balancer.FirstUsable(0, 3); got != balancer.None {
		t.Errorf("got %d", got)
	}
	if got := balancer.FirstUsable(0, 0); got != balancer.None {
		t.Errorf("got %d", got)
	}
}

func TestAPanicOfHealthIsNotServing(t *testing.T) {
	fake.New(t)
	if status, why := health.Check(); status != health.NotServing || why != "internal: panic: ill" {
		t.Errorf("got %v, %s", status, why)
	}
}

func TestCallersAreKnownAndMayCall(t *testing.T) {
	host := fake.New(t)
	if who, err := host.Authenticate("bearer", "open sesame"); who == nil || who.Name != "ali" || err != nil {
		t.Errorf("got %v, %v", who, err)
	}
	if who, err := host.Authenticate("bearer", "other"); who != nil || err != nil {
		t.Errorf("got %v, %v", who, err)
	}
	if who, err := host.Authenticate("bearer", "panic"); who != nil || !errors.Is(err, postern.Internal) {
		t.Errorf("got %v, %v", who, err)
	}
	if err := host.Authorize("users", "Get"); !errors.Is(err, postern.PermissionDenied) {
		t.Errorf("got %v", err)
	}
	host.Principal(postern.Principal{Name: "ali"}, fake.Pair{Name: "tenant", Value: "acme"})
	if err := host.Authorize("users", "Get"); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestFramesAreChangedAndDropped(t *testing.T) {
	host := fake.New(t)
	head := frame.Head{Kind: frame.Data, Direction: frame.Outbound}
	if handled, verdict, after, err := host.Frame(head, "a"); !handled || verdict != frame.Pass || after != "a!" || err != nil {
		t.Errorf("got %v, %v, %s, %v", handled, verdict, after, err)
	}
	if handled, _, _, _ := host.Frame(head, ""); handled {
		t.Error("a frame without payload was handled")
	}
	host.Header("x-drop", "1")
	if _, verdict, _, err := host.Frame(head, "a"); verdict != frame.Drop || err != nil {
		t.Errorf("got %v, %v", verdict, err)
	}
}
