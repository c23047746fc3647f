package postern_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"postern.dev/postern"
	"postern.dev/postern/client"
	"postern.dev/postern/config"
	"postern.dev/postern/event"
	"postern.dev/postern/events"
	"postern.dev/postern/fake"
	"postern.dev/postern/kv"
	"postern.dev/postern/service"
	"postern.dev/postern/stream"
	"postern.dev/postern/unary"
)

type sum struct {
	Values []int64 `json:"values"`
}

type total struct {
	Sum int64 `json:"sum"`
}

type number struct {
	Value int `json:"value"`
}

func init() {
	s := service.New("table", "1.2.0", "Everything.")
	unary.Handle(s, "Sum", add, service.Summary("Adds."), service.Idempotent())
	unary.Handle(s, "Echo", func(_ *postern.Context, in postern.Octets) (postern.Octets, error) { return in, nil })
	unary.Handle(s, "Panic", func(_ *postern.Context, in string) (struct{}, error) { panic(in) })
	unary.Handle(s, "Fail", func(_ *postern.Context, in string) (struct{}, error) { return struct{}{}, failures[in] })
	unary.Handle(s, "Header", header)
	stream.Client(s, "Collect", collect)
	stream.Server(s, "Count", count)
	stream.Bidirectional(s, "Shout", shout)
	event.Handle(func(_ *postern.Context, e event.Event) error {
		value, err := event.Decode[number](e)
		if err != nil {
			return err
		}
		return kv.Set("event:"+e.Topic, value)
	})
}

var failures = map[string]error{
	"failure": postern.Errorf(postern.OutOfRange, "page %d of %d", 9, 3).WithDetails([]int{9, 3}),
	"wrapped": fmt.Errorf("list: %w", postern.Errorf(postern.Aborted, "lost")),
	"kind":    postern.Unavailable,
	"late":    context.DeadlineExceeded,
	"other":   errors.New("no such file"),
}

func add(_ *postern.Context, in sum) (total, error) {
	var out total
	for _, value := range in.Values {
		out.Sum += value
	}
	return out, nil
}

func header(ctx *postern.Context, name string) (*string, error) {
	value, is := ctx.Header(name)
	if !is {
		return nil, nil
	}
	return &value, errors.Join(ctx.AddHeader("x-out", value), ctx.SetStatus(201))
}

func collect(_ *postern.Context, in *stream.Receiver[number]) (total, error) {
	var out total
	for message, err := range in.All() {
		if err != nil {
			return out, err
		}
		out.Sum += int64(message.Value)
	}
	return out, nil
}

func count(ctx *postern.Context, to number, out *stream.Sender[number]) error {
	for value := 1; value <= to.Value; value++ {
		if err := out.Send(number{value}); err != nil {
			return err
		}
	}
	return ctx.AddTrailer("x-count", fmt.Sprint(to.Value))
}

func shout(_ *postern.Context, in *stream.Receiver[string], out *stream.Sender[string]) error {
	for {
		text, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if text == "throw" {
			panic(text)
		}
		if err := out.Send(strings.ToUpper(text)); err != nil {
			return err
		}
	}
}

func check(t *testing.T, host *fake.Host, method, message, expected string) {
	t.Helper()
	reply, err := host.Call("table", method, message)
	if err != nil || reply != expected {
		t.Errorf("%s %s gives %s, %v; expected %s", method, message, reply, err, expected)
	}
}

func checkFails(t *testing.T, host *fake.Host, method, message, expected string) {
	t.Helper()
	reply, err := host.Call("table", method, message)
	if err == nil || !strings.Contains(err.Error(), expected) {
		t.Errorf("%s %s gives %s, %v; expected %s", method, message, reply, err, expected)
	}
}

func TestMessagesAreJSONOrOctets(t *testing.T) {
	host := fake.New(t)
	check(t, host, "Sum", `{"values":[1,2,3]}`, `{"sum":6}`)
	check(t, host, "Sum", ``, `{"sum":0}`)
	check(t, host, "Echo", "\x00\xff", "\x00\xff")
	checkFails(t, host, "Sum", `{"values":"x"}`, "invalid-argument: message is not a valid `sum`: json: cannot unmarshal string into Go struct field sum.values")
	checkFails(t, host, "Sum", `{"values":[1,}`, "at octet 14")
}

func TestErrorsBecomeFailures(t *testing.T) {
	host := fake.New(t)
	for name, expected := range map[string]postern.Kind{
		"failure": postern.OutOfRange, "wrapped": postern.Aborted, "kind": postern.Unavailable,
	} {
		_, err := host.Call("table", "Fail", `"`+name+`"`)
		if !errors.Is(err, expected) {
			t.Errorf("%s gives %v, expected %s", name, err, expected)
		}
	}
	_, err := host.Call("table", "Fail", `"failure"`)
	var failed *postern.Failure
	if !errors.As(err, &failed) || failed.Message != "page 9 of 3" || string(failed.Details) != "[9,3]" {
		t.Errorf("got %v", err)
	}
	checkFails(t, host, "Lose", "", "not-found: service `table` has no method `Lose`; it has Sum, Echo, Panic")
	checkFails(t, host, "Count", "", "unimplemented: method `Count` is streaming")
}

func TestAPanicIsAnInternalFailureWithItsStackInTheLog(t *testing.T) {
	host := fake.New(t)
	checkFails(t, host, "Panic", `"oh no"`, "internal: panic: oh no")
	lines := host.Log()
	if len(lines) != 1 || lines[0].Message != "panic: oh no" || !strings.Contains(lines[0].String(), "sdk_test.go") {
		t.Errorf("logged %v", lines)
	}
	check(t, host, "Sum", `{"values":[1]}`, `{"sum":1}`)
}

func TestTheCallIsAskedOfItsContext(t *testing.T) {
	host := fake.New(t)
	host.Header("X-In", "é")
	check(t, host, "Header", `"x-in"`, `"é"`)
	expected := []fake.Pair{{Name: "x-out", Value: "é"}}
	if got := host.ReplyHeaders(); !reflect.DeepEqual(got, expected) || host.ReplyStatus() != 201 {
		t.Errorf("got %v, %d", got, host.ReplyStatus())
	}
	check(t, host, "Header", `"x-other"`, `null`)
	host.Remaining(0)
	ctx := &postern.Context{}
	if ctx.Err() != context.DeadlineExceeded {
		t.Errorf("no time remains, and the context says %v", ctx.Err())
	}
}

func checkStream(t *testing.T, host *fake.Host, method string, messages []string, expected []string, fails string) {
	t.Helper()
	sent, err := host.Stream("table", method, messages...)
	failed := ""
	if err != nil {
		failed = err.Error()
	}
	if !reflect.DeepEqual(sent, expected) || failed != fails {
		t.Errorf("%s gives %v, %v; expected %v, %s", method, sent, err, expected, fails)
	}
}

func TestStreams(t *testing.T) {
	host := fake.New(t)
	checkStream(t, host, "Collect", []string{`{"value":1}`, `{"value":2}`}, []string{`{"sum":3}`}, "")
	checkStream(t, host, "Count", []string{`{"value":2}`}, []string{`{"value":1}`, `{"value":2}`}, "")
	if got := host.ReplyTrailers(); len(got) != 1 || got[0].Value != "2" {
		t.Errorf("trailers %v", got)
	}
	checkStream(t, host, "Shout", []string{`"a"`, `"b"`}, []string{`"A"`, `"B"`}, "")
	checkStream(t, host, "Shout", []string{`"a"`, `"throw"`}, []string{`"A"`}, "internal: panic: throw")
	checkStream(t, host, "Sum", []string{`{"values":[4]}`}, []string{`{"sum":4}`}, "")
	host.LeaveAfter(1)
	checkStream(t, host, "Count", []string{`{"value":3}`}, []string{`{"value":1}`}, "cancelled: the caller has left")
}

func TestEvents(t *testing.T) {
	host := fake.New(t)
	if err := host.Event("users", "application/json", `{"value":7}`); err != nil {
		t.Error(err)
	}
	if stored := string(host.Kv("event:users")); stored != `{"value":7}` {
		t.Errorf("stored %s", stored)
	}
	host.Topic("seen", 3)
	if n, err := events.Publish("seen", number{1}); n != 3 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
	if _, err := events.Publish("unseen", number{1}); !errors.Is(err, postern.PermissionDenied) {
		t.Errorf("got %v", err)
	}
	if got := host.Published(); len(got) != 1 || got[0].ContentType != "application/json" || string(got[0].Payload) != `{"value":1}` {
		t.Errorf("published %v", got)
	}
}

func TestTheStore(t *testing.T) {
	host := fake.New(t)
	if _, found, err := kv.Get[int]("n"); found || err != nil {
		t.Errorf("got %v, %v", found, err)
	}
	tries := 0
	stored, err := kv.Update("n", func(n int, _ bool) (int, error) {
		tries++
		if tries == 1 {
			return n, kv.Set("n", 40)
		}
		return n + 2, nil
	})
	if stored != 42 || tries != 2 || err != nil {
		t.Errorf("got %d after %d tries, %v", stored, tries, err)
	}
	if did, err := kv.Insert("n", 1); did || err != nil {
		t.Errorf("got %v, %v", did, err)
	}
	host.SetKv("m", []byte("x"))
	if _, _, err := kv.Get[int]("m"); !errors.Is(err, postern.DataLoss) {
		t.Errorf("got %v", err)
	}
	if keys, err := kv.Keys("", "m", 10); !reflect.DeepEqual(keys, []string{"n"}) || err != nil {
		t.Errorf("got %v, %v", keys, err)
	}
	if err := kv.Set(strings.Repeat("k", 1025), 1); !errors.Is(err, postern.InvalidArgument) {
		t.Errorf("got %v", err)
	}
	host.FailKv(postern.Errorf(postern.Unavailable, "disk"))
	if _, err := kv.Delete("n"); !errors.Is(err, postern.Unavailable) {
		t.Errorf("got %v", err)
	}
}

func TestOtherServicesAreCalledWhereGranted(t *testing.T) {
	host := fake.New(t)
	host.Answer("calculator", "Add", func(fake.Called) (any, error) { return 3, nil })
	got, err := client.Call[int]("calculator", "Add", []int{1, 2}, client.Header("x-a", "b"), client.Timeout(250*time.Millisecond))
	if got != 3 || err != nil {
		t.Errorf("got %d, %v", got, err)
	}
	expected := []fake.Called{{Service: "calculator", Method: "Add", Body: []byte("[1,2]"),
		Headers: []fake.Pair{{Name: "x-a", Value: "b"}}, Timeout: 250 * time.Millisecond}}
	if calls := host.Calls(); !reflect.DeepEqual(calls, expected) {
		t.Errorf("called %v", calls)
	}
	if _, err := client.Call[bool]("calculator", "Add", 1); !errors.Is(err, postern.DataLoss) {
		t.Errorf("got %v", err)
	}
	if _, err := client.Call[int]("payroll", "Pay", 1); !errors.Is(err, postern.PermissionDenied) {
		t.Errorf("got %v", err)
	}
}

func TestConfig(t *testing.T) {
	host := fake.New(t)
	host.Config("word", "Ahoy")
	host.Config("limit", 3)
	limit, err := config.Get[int]("limit")
	if config.TextOr("word", "Hello") != "Ahoy" || config.TextOr("none", "Hello") != "Hello" || limit != 3 || err != nil {
		t.Errorf("got %v, %d, %v", config.All(), limit, err)
	}
	if _, err := config.Get[int]("word"); !errors.Is(err, postern.FailedPrecondition) {
		t.Errorf("got %v", err)
	}
}

func TestSlogWritesFieldsOfGroups(t *testing.T) {
	host := fake.New(t)
	slog.With("a", 1).WithGroup("g").Warn("text", "b", "c d", slog.Group("h", "i", true))
	lines := host.Log()
	if len(lines) != 1 || lines[0].String() != "text a=1 g.b=c d g.h.i=true" {
		t.Errorf("logged %v", lines)
	}
}

func TestServicesAreDescribedFromTheirTypes(t *testing.T) {
	s, err := service.Find("table")
	if err != nil {
		t.Fatal(err)
	}
	described := s.Describe()
	expected := service.Description{Name: "Sum", Summary: "Adds.", Request: "sum", Response: "total", Idempotent: true}
	if described[0] != expected || described[1].Request != "Octets" || described[2].Response != "" || described[5].Shape != service.ClientStream {
		t.Errorf("described %v", described)
	}
	names := []string{}
	for _, schema := range service.Schemas() {
		names = append(names, schema.Name)
	}
	if !reflect.DeepEqual(names, []string{"sum", "total", "string", "number"}) {
		t.Errorf("schemas of %v", names)
	}
}

func TestParallelTestsWaitForEachOther(t *testing.T) {
	for _, key := range []string{"a", "b", "c"} {
		t.Run(key, func(t *testing.T) {
			t.Parallel()
			host := fake.New(t)
			if err := kv.Set(key, 1); err != nil {
				t.Error(err)
			}
			if keys, err := kv.Keys("", "", 10); !reflect.DeepEqual(keys, []string{key}) || err != nil || host.Kv(key) == nil {
				t.Errorf("got %v, %v", keys, err)
			}
		})
	}
}
