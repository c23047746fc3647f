//go:build !wasm

package host

import (
	"bytes"
	"fmt"
	"sort"
	"strings"
	"time"

	"postern.dev/postern/internal/failure"
	"postern.dev/postern/internal/text"
)

// Limits that the gateway has and the fake keeps.
const (
	headerNameBytesMax = 255
	headersBytesMax    = 65_535
	kvKeyBytesMax      = 1_024
	kvValueBytesMax    = 1 << 20
	kvKeysMax          = 1_000
	// outputBytesMax is `plugins.limits.output`, unless the gateway is configured.
	outputBytesMax = 8 << 20
)

// Line is a line of the log.
type Line struct {
	Level   Level
	Message string
	Fields  []Pair
}

// Called is a call that a plugin made of another service.
type Called struct {
	Service, Method string
	Body            []byte
	Headers         []Pair
	// Timeout is 0 where the plugin gave none.
	Timeout time.Duration
}

// Published is an event that a plugin published. ContentType is empty for none.
type Published struct {
	Topic, ContentType string
	Payload            []byte
}

// Reply is what the call under way has set so far.
type Reply struct {
	// Status is 0 unless set.
	Status            int
	Octets            bool
	Headers, Trailers []Pair
	Sent              [][]byte
}

// Exchange is the call and its outcome as interceptors see them.
type Exchange struct {
	Service, Method                 string
	RequestHeaders, ResponseHeaders []Field
	RequestPayload, ResponsePayload []byte
	Failed                          *failure.Failure
	ElapsedMicros                   uint64
	IsResponse                      bool
}

// State is all that the fake host knows.
type State struct {
	Config, Claims  map[string]string
	Kv              map[string][]byte
	KvFailure       error
	LogLevel        Level
	Log             []Line
	Answers         map[string]func(Called) ([]byte, error)
	Calls           []Called
	Topics          map[string]uint32
	Published       []Published
	RequestHeaders  []Field
	RequestTrailers []Field
	RequestKind     BodyKind
	HTTP            *HTTP
	Peer            Peer
	Principal       *Principal
	RemainingMs     uint64
	Correlation     string
	Traceparent     string
	Incoming        [][]byte
	// Left is when the caller leaves: after so many messages were sent; negative for never.
	Left         int
	Reply        Reply
	Exchange     Exchange
	FrameHeaders []Field
	FramePayload []byte
	Unusable     map[int]bool
	Random       uint64
	Metrics      map[string]*Metric
	// Services are those that the plugin may look up, with who answers for them.
	Services map[string][]Instance
}

var state *State

// Use puts a state in place; nil ends it.
func Use(s *State) { state = s }

func there() *State {
	if state == nil {
		panic("postern: no host: a unit test begins with fake.New(t)")
	}
	return state
}

// SetTurn is for batches, which the fake has none of.
func SetTurn(int) {}

// EndTurns is for batches, which the fake has none of.
func EndTurns() {}

func Header(name string) (string, bool) { return find(there().RequestHeaders, name) }

func find(fields []Field, name string) (string, bool) {
	for _, field := range fields {
		if strings.EqualFold(field.Name, name) {
			return string(field.Value), true
		}
	}
	return "", false
}

func Headers() []Field { return there().RequestHeaders }

func HTTPInfo() (HTTP, bool) {
	if there().HTTP == nil {
		return HTTP{}, false
	}
	return *state.HTTP, true
}

func RequestKind() BodyKind { return there().RequestKind }

func Trailers() []Field { return there().RequestTrailers }

func SetStatus(status uint16) error {
	if status < 200 || status > 599 {
		return failure.New(failure.InvalidArgument, "status %d is not 200 to 599", status)
	}
	if err := beforeFirst("status"); err != nil {
		return err
	}
	state.Reply.Status = int(status)
	return nil
}

func beforeFirst(what string) error {
	if len(there().Reply.Sent) > 0 {
		return failure.New(failure.FailedPrecondition, "%s after the first message", what)
	}
	return nil
}

func SetOctets() error {
	if err := beforeFirst("octets"); err != nil {
		return err
	}
	state.Reply.Octets = true
	return nil
}

func AddHeader(name, value string) error {
	name, value = text.Valid(name), text.Valid(value)
	if err := beforeFirst("header"); err != nil {
		return err
	}
	return add(&state.Reply.Headers, name, value)
}

func AddTrailer(name, value string) error { return add(&there().Reply.Trailers, name, value) }

func add(fields *[]Pair, name, value string) error {
	name, value = text.Valid(name), text.Valid(value)
	sum := 0
	for _, field := range *fields {
		sum += len(field.Name) + len(field.Value)
	}
	if err := fits(name, value, sum); err != nil {
		return err
	}
	*fields = append(*fields, Pair{Name: name, Value: value})
	return nil
}

// fits says why a header is not taken beside others of so many octets; nil when it is.
func fits(name, value string, others int) error {
	if len(name) < 1 || len(name) > headerNameBytesMax {
		return failure.New(failure.InvalidArgument, "header name of %d octets is not 1 to %d", len(name), headerNameBytesMax)
	}
	if sum := others + len(name) + len(value); sum > headersBytesMax {
		return failure.New(failure.InvalidArgument, "headers of %d octets exceed the limit of %d", sum, headersBytesMax)
	}
	return nil
}

func GetPeer() Peer { return there().Peer }

func GetPrincipal() (Principal, bool) {
	if there().Principal == nil {
		return Principal{}, false
	}
	return *state.Principal, true
}

func Claim(name string) (string, bool) {
	name = text.Valid(name)
	value, is := there().Claims[name]
	return value, is
}

func RemainingMs() uint64 { return there().RemainingMs }

func CorrelationID() string { return there().Correlation }

func Traceparent() (string, bool) { return there().Traceparent, state.Traceparent != "" }

func left() error {
	if there().Left >= 0 && len(state.Reply.Sent) >= state.Left {
		return failure.New(failure.Cancelled, "the caller has left")
	}
	return nil
}

func Next() ([]byte, error) {
	if len(there().Incoming) == 0 {
		return nil, left()
	}
	message := state.Incoming[0]
	state.Incoming = state.Incoming[1:]
	return message, nil
}

func Send(message []byte) error {
	if err := left(); err != nil {
		return err
	}
	state.Reply.Sent = append(state.Reply.Sent, bytes.Clone(message))
	return nil
}

// LogEnabled: without a host nothing is kept.
func LogEnabled(level Level) bool { return state != nil && level >= state.LogLevel }

func LogWrite(level Level, message string, fields []Pair) {
	message = text.Valid(message)
	fields = validPairs(fields)
	if LogEnabled(level) {
		state.Log = append(state.Log, Line{Level: level, Message: message, Fields: fields})
	}
}

func ConfigGet(key string) (string, bool) {
	key = text.Valid(key)
	value, is := there().Config[key]
	return value, is
}

func ConfigAll() []Pair {
	all := make([]Pair, 0, len(there().Config))
	for _, key := range sorted(state.Config) {
		all = append(all, Pair{Name: key, Value: state.Config[key]})
	}
	return all
}

func sorted[V any](values map[string]V) []string {
	keys := make([]string, 0, len(values))
	for key := range values {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}

func kvKey(key string) error {
	if len(key) < 1 || len(key) > kvKeyBytesMax {
		return failure.New(failure.InvalidArgument, "key of %d octets is not 1 to %d", len(key), kvKeyBytesMax)
	}
	return there().KvFailure
}

func KvGet(key string) ([]byte, error) {
	key = text.Valid(key)
	if err := kvKey(key); err != nil {
		return nil, err
	}
	return state.Kv[key], nil
}

func KvSet(key string, value []byte) error {
	key = text.Valid(key)
	if err := kvKey(key); err != nil {
		return err
	}
	if len(value) > kvValueBytesMax {
		return failure.New(failure.InvalidArgument, "value of %d octets exceeds the limit of %d", len(value), kvValueBytesMax)
	}
	state.Kv[key] = append([]byte{}, value...)
	return nil
}

func KvDelete(key string) (bool, error) {
	key = text.Valid(key)
	if err := kvKey(key); err != nil {
		return false, err
	}
	_, was := state.Kv[key]
	delete(state.Kv, key)
	return was, nil
}

func KvSwap(key string, expected, value []byte) (bool, error) {
	key = text.Valid(key)
	if err := kvKey(key); err != nil {
		return false, err
	}
	old, is := state.Kv[key]
	if is != (expected != nil) || !bytes.Equal(old, expected) {
		return false, nil
	}
	if value == nil {
		delete(state.Kv, key)
		return true, nil
	}
	return true, KvSet(key, value)
}

func KvKeys(prefix, after string, limit uint32) ([]string, error) {
	prefix, after = text.Valid(prefix), text.Valid(after)
	if err := there().KvFailure; err != nil {
		return nil, err
	}
	found := []string{}
	for _, key := range sorted(state.Kv) {
		if strings.HasPrefix(key, prefix) && key > after && len(found) < min(int(limit), kvKeysMax) {
			found = append(found, key)
		}
	}
	return found, nil
}

func Call(service, method string, body []byte, headers []Pair, timeoutMs uint64) ([]byte, error) {
	service, method = text.Valid(service), text.Valid(method)
	headers = validPairs(headers)
	call := Called{Service: service, Method: method, Body: bytes.Clone(body), Headers: headers,
		Timeout: time.Duration(timeoutMs) * time.Millisecond}
	answer, is := there().Answers[service+"/"+method]
	if !is {
		return nil, failure.New(failure.PermissionDenied, "service `%s` is not granted", service)
	}
	state.Calls = append(state.Calls, call)
	return answer(call)
}

func Publish(topic, contentType string, payload []byte) (uint32, error) {
	topic, contentType = text.Valid(topic), text.Valid(contentType)
	subscribers, is := there().Topics[topic]
	if !is {
		return 0, failure.New(failure.PermissionDenied, "topic `%s` is not granted", topic)
	}
	event := Published{Topic: topic, ContentType: contentType, Payload: bytes.Clone(payload)}
	state.Published = append(state.Published, event)
	return subscribers, nil
}

func (l Line) String() string {
	text := l.Message
	for _, field := range l.Fields {
		text += fmt.Sprintf(" %s=%s", field.Name, field.Value)
	}
	return text
}
