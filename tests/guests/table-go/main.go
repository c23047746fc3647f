// Plugin table-go answers the calls of tests/vectors/guests.json in Go.
package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"postern.dev/postern"
	"postern.dev/postern/client"
	"postern.dev/postern/config"
	"postern.dev/postern/event"
	"postern.dev/postern/events"
	"postern.dev/postern/kv"
	"postern.dev/postern/service"
	"postern.dev/postern/stream"
	"postern.dev/postern/unary"
)

type Values struct {
	Values []int64 `json:"values"`
}

type Total struct {
	Sum   int64 `json:"sum"`
	Count int   `json:"count"`
}

type Refusal struct {
	Kind    string          `json:"kind"`
	Message string          `json:"message"`
	Details json.RawMessage `json:"details,omitempty"`
}

type Text struct {
	Text string `json:"text"`
}

type Message struct {
	Message string `json:"message"`
}

type Name struct {
	Name string `json:"name"`
}

type Key struct {
	Key string `json:"key"`
}

type Entry struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

type Stored struct {
	Stored string `json:"stored"`
}

type Found struct {
	Value *string `json:"value"`
}

type RelayCall struct {
	Service string `json:"service,omitempty"`
	Method  string `json:"method"`
	Text    string `json:"text"`
}

type Reply struct {
	Reply string `json:"reply"`
}

type Publication struct {
	Topic   string          `json:"topic"`
	Payload json.RawMessage `json:"payload"`
}

type Subscribers struct {
	Subscribers int `json:"subscribers"`
}

type Number struct {
	Value int64 `json:"value"`
}

type Range struct {
	To   int64  `json:"to"`
	Then string `json:"then,omitempty"`
}

func init() {
	s := service.New("table-go", "0.1.0", "What every guest language can do.")
	unary.Handle(s, "Echo", func(_ *postern.Context, in postern.Octets) (postern.Octets, error) { return in, nil }, service.Idempotent())
	unary.Handle(s, "Sum", sum)
	unary.Handle(s, "Fail", fail)
	unary.Handle(s, "Throw", func(_ *postern.Context, in Message) (struct{}, error) { panic(in.Message) })
	unary.Handle(s, "Header", header)
	unary.Handle(s, "Setting", setting)
	unary.Handle(s, "Store", func(_ *postern.Context, in Entry) (Stored, error) {
		return Stored{in.Key}, kv.SetOctets(in.Key, []byte(in.Value))
	})
	unary.Handle(s, "Find", find)
	unary.Handle(s, "Relay", relay)
	unary.Handle(s, "Publish", func(_ *postern.Context, in Publication) (Subscribers, error) {
		n, err := events.Publish(in.Topic, in.Payload)
		return Subscribers{n}, err
	})
	unary.Handle(s, "Spin", func(*postern.Context, postern.Octets) (struct{}, error) {
		for {
		}
	})
	stream.Client(s, "Collect", collect)
	stream.Server(s, "Count", count)
	stream.Bidirectional(s, "Chat", chat)
	stream.Bidirectional(s, "Pass", pass)
	event.Handle(func(_ *postern.Context, e event.Event) error { return kv.SetOctets("event:"+e.Topic, e.Payload) })
}

func sum(_ *postern.Context, in Values) (Total, error) {
	if in.Values == nil {
		return Total{}, postern.Errorf(postern.InvalidArgument, "`values` is missing")
	}
	total := Total{Count: len(in.Values)}
	for _, value := range in.Values {
		total.Sum += value
	}
	return total, nil
}

func fail(_ *postern.Context, in Refusal) (struct{}, error) {
	kind, known := postern.KindOf(in.Kind)
	if !known {
		return struct{}{}, postern.Errorf(postern.InvalidArgument, "no kind `%s`", in.Kind)
	}
	failed := postern.Errorf(kind, "%s", in.Message)
	failed.Details = in.Details
	return struct{}{}, failed
}

func header(ctx *postern.Context, in Name) (Found, error) {
	value, is := ctx.Header(in.Name)
	if !is {
		return Found{}, nil
	}
	return Found{&value}, ctx.AddHeader("x-out", value)
}

func setting(_ *postern.Context, in Key) (Found, error) {
	value, is := config.Text(in.Key)
	if !is {
		return Found{}, nil
	}
	return Found{&value}, nil
}

func find(_ *postern.Context, in Key) (Found, error) {
	octets, err := kv.GetOctets(in.Key)
	if err != nil {
		return Found{}, err
	}
	if octets == nil {
		return Found{}, postern.Errorf(postern.NotFound, "no value `%s`", in.Key)
	}
	value := string(octets)
	return Found{&value}, nil
}

func relay(_ *postern.Context, in RelayCall) (Reply, error) {
	if in.Service == "" {
		in.Service = "table-go"
	}
	reply, err := client.Call[postern.Octets](in.Service, in.Method, postern.Octets(in.Text))
	return Reply{string(reply)}, err
}

func collect(_ *postern.Context, in *stream.Receiver[Number]) (Total, error) {
	var total Total
	for number, err := range in.All() {
		if err != nil {
			return total, err
		}
		total.Sum += number.Value
		total.Count++
	}
	return total, nil
}

func count(ctx *postern.Context, in Range, out *stream.Sender[Number]) error {
	if err := ctx.AddHeader("x-first", "1"); err != nil {
		return err
	}
	for value := int64(1); value <= in.To; value++ {
		if err := out.Send(Number{value}); err != nil {
			return err
		}
	}
	if in.Then != "" {
		kind, _ := postern.KindOf(in.Then)
		return postern.Errorf(kind, "ended after %d", in.To)
	}
	return ctx.AddTrailer("x-count", fmt.Sprint(in.To))
}

func chat(_ *postern.Context, in *stream.Receiver[Text], out *stream.Sender[Text]) error {
	for message, err := range in.All() {
		if err != nil {
			return err
		}
		if message.Text == "throw" {
			panic(message.Text)
		}
		if err := out.Send(Text{strings.ToUpper(message.Text)}); err != nil {
			return err
		}
	}
	return nil
}

func pass(_ *postern.Context, in *stream.Receiver[postern.Octets], out *stream.Sender[postern.Octets]) error {
	for octets, err := range in.All() {
		if err != nil {
			return err
		}
		if err := out.Send(octets); err != nil {
			return err
		}
	}
	return nil
}

func main() {}
