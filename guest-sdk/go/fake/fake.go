//go:build !wasm

// Package fake is a gateway for unit tests: natively compiled, the SDK speaks to it. It keeps the limits that the
// gateway has for keys, values and headers.
//
//	func TestGreets(t *testing.T) {
//		host := fake.New(t)
//		host.Config("word", "Ahoy")
//		reply, err := host.Call("greeter", "Greet", `{"name":"Ada"}`)
//		...
//	}
package fake

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"postern.dev/postern"
	"postern.dev/postern/internal/host"
	"postern.dev/postern/service"
)

// remainingDefault is how long callers wait unless Remaining says otherwise.
const remainingDefault = 30 * time.Second

// Host is a fake gateway. What is set on it holds until the test ends; what one call left behind, its reply's
// headers for example, until the next one.
type Host struct {
	state *host.State
}

// Line is a line of the log; String is its message and fields.
type Line = host.Line

// Called is a call that the plugin made of another service.
type Called = host.Called

// Published is an event that the plugin published.
type Published = host.Published

// Pair is a name and a text.
type Pair = host.Pair

// There is one host for a process, so that tests wait for each other: `one` is held by the test of that name.
var (
	one    sync.Mutex
	holder atomic.Value
)

// New makes an empty gateway and puts it in place until the test ends. A test and its subtests have one together;
// tests that run in parallel wait for each other.
func New(t testing.TB) *Host {
	t.Helper()
	if name, _ := holder.Load().(string); name != "" && (t.Name() == name || strings.HasPrefix(t.Name(), name+"/")) {
		t.Fatalf("test %s has a host already", name)
	}
	one.Lock()
	holder.Store(t.Name())
	h := &Host{state: &host.State{
		Config:      map[string]string{},
		Claims:      map[string]string{},
		Kv:          map[string][]byte{},
		Answers:     map[string]func(Called) ([]byte, error){},
		Topics:      map[string]uint32{},
		Unusable:    map[int]bool{},
		Peer:        host.Peer{Transport: "memory"},
		RemainingMs: uint64(remainingDefault.Milliseconds()),
		Correlation: "test",
		Left:        -1,
	}}
	host.Use(h.state)
	t.Cleanup(func() {
		host.Use(nil)
		holder.Store("")
		one.Unlock()
	})
	return h
}

// Call makes a unary call of a service of the plugin. The message is JSON text or octets.
func (h *Host) Call(name, method, message string) (string, error) {
	s, err := service.Find(name)
	if err != nil {
		return "", err
	}
	h.state.Reply = host.Reply{}
	reply, err := s.Call(&postern.Context{}, method, []byte(message))
	return string(reply), err
}

// Stream makes a streaming call of a service of the plugin with the messages of its request, and gives those of
// the reply that were sent, also when it failed.
func (h *Host) Stream(name, method string, messages ...string) (sent []string, err error) {
	s, err := service.Find(name)
	if err != nil {
		return nil, err
	}
	h.state.Reply = host.Reply{}
	h.state.Incoming = nil
	for _, message := range messages {
		h.state.Incoming = append(h.state.Incoming, append([]byte{}, message...))
	}
	err = s.CallStream(&postern.Context{}, method)
	for _, message := range h.state.Reply.Sent {
		sent = append(sent, string(message))
	}
	return sent, err
}

// LeaveAfter makes the caller of streams leave once it has got n messages.
func (h *Host) LeaveAfter(n int) { h.state.Left = n }

// Config sets a key of the manifest's table `config`. A value that is no string is kept as JSON.
func (h *Host) Config(key string, value any) {
	if text, isText := value.(string); isText {
		h.state.Config[key] = text
		return
	}
	h.state.Config[key] = string(encode(value))
}

func encode(value any) []byte {
	switch from := value.(type) {
	case postern.Octets:
		return from
	case []byte:
		return from
	}
	octets, err := json.Marshal(value)
	if err != nil {
		panic(fmt.Sprintf("fake: %s", err))
	}
	return octets
}

// Answer grants a service's method and answers it. What is given back is sent as JSON, or as it is if it is
// octets.
func (h *Host) Answer(service, method string, answer func(Called) (any, error)) {
	h.state.Answers[service+"/"+method] = func(call Called) ([]byte, error) {
		reply, err := answer(call)
		if err != nil {
			return nil, err
		}
		return encode(reply), nil
	}
}

// Topic grants a topic that has so many subscribers.
func (h *Host) Topic(topic string, subscribers int) { h.state.Topics[topic] = uint32(subscribers) }

// Header adds a header to the requests.
func (h *Host) Header(name, value string) {
	h.state.RequestHeaders = append(h.state.RequestHeaders, host.Field{Name: name, Value: []byte(value)})
}

// Trailer adds a trailer to the requests.
func (h *Host) Trailer(name, value string) {
	h.state.RequestTrailers = append(h.state.RequestTrailers, host.Field{Name: name, Value: []byte(value)})
}

// HTTP makes the calls come by HTTP.
func (h *Host) HTTP(info postern.HTTP) { h.state.HTTP = &info }

// RequestKind says what the bodies of the requests are.
func (h *Host) RequestKind(kind postern.BodyKind) { h.state.RequestKind = kind }

// Peer says who is at the other end.
func (h *Host) Peer(peer postern.Peer) { h.state.Peer = peer }

// Principal says who calls, with claims as name and value.
func (h *Host) Principal(principal postern.Principal, claims ...Pair) {
	h.state.Principal = &principal
	for _, claim := range claims {
		h.state.Claims[claim.Name] = claim.Value
	}
}

// Remaining says how long callers wait.
func (h *Host) Remaining(remaining time.Duration) {
	h.state.RemainingMs = uint64(max(remaining.Milliseconds(), 0))
}

// FailKv makes every use of the store fail; nil ends that.
func (h *Host) FailKv(err error) { h.state.KvFailure = err }

// Kv is what the store has under a key; nil for nothing.
func (h *Host) Kv(key string) []byte { return h.state.Kv[key] }

// SetKv puts a value into the store as it is.
func (h *Host) SetKv(key string, value []byte) { h.state.Kv[key] = append([]byte{}, value...) }

// Log are the lines that were logged so far.
func (h *Host) Log() []Line { return h.state.Log }

// Calls are the calls that the plugin made of other services.
func (h *Host) Calls() []Called { return h.state.Calls }

// Published are the events that the plugin published.
func (h *Host) Published() []Published { return h.state.Published }

// ReplyHeaders are those that the last call set.
func (h *Host) ReplyHeaders() []Pair { return h.state.Reply.Headers }

// ReplyTrailers are those that the last call set.
func (h *Host) ReplyTrailers() []Pair { return h.state.Reply.Trailers }

// ReplyStatus is what the last call set; 200 unless it did.
func (h *Host) ReplyStatus() int {
	if h.state.Reply.Status == 0 {
		return 200
	}
	return h.state.Reply.Status
}

// RepliesOctets says whether the last call sent pieces of one body.
func (h *Host) RepliesOctets() bool { return h.state.Reply.Octets }

// KindOf is the kind that an error has for a caller, and whether there is an error.
func KindOf(err error) (postern.Kind, bool) {
	var failed *postern.Failure
	if errors.As(err, &failed) {
		return failed.Kind, true
	}
	return postern.Internal, err != nil
}
