package postern_test

import (
	"errors"
	"log/slog"
	"testing"

	"postern.dev/postern"
	"postern.dev/postern/client"
	"postern.dev/postern/events"
	"postern.dev/postern/fake"
	"postern.dev/postern/kv"
	"postern.dev/postern/service"
	"postern.dev/postern/unary"
)

func init() {
	s := service.New("octets", "1.0.0", "Says what it is told, whether it is UTF-8 or not.")
	unary.Handle(s, "Say", func(ctx *postern.Context, in postern.Octets) (postern.Octets, error) {
		said := string(in)
		slog.Info(said, said, said)
		_, called := client.Call[string]("other", said, said)
		_, published := events.PublishOctets(said, said, nil)
		return nil, errors.Join(
			kv.SetOctets(said, in),
			ctx.AddHeader(said, said),
			called,
			published,
			postern.Errorf(postern.Aborted, "%s", said),
		)
	})
}

// The host ends an instance that hands over text that is not UTF-8.
func TestTextGoesOutAsUTF8(t *testing.T) {
	host := fake.New(t)
	host.Topic("a\uFFFDb", 1)
	host.Answer("other", "a\uFFFDb", func(fake.Called) (any, error) { return "", nil })
	_, err := host.Call("octets", "Say", "a\xffb")
	var failed *postern.Failure
	if !errors.As(err, &failed) || failed.Message != "a\uFFFDb" {
		t.Errorf("failed with %v", err)
	}
	if got := string(host.Kv("a\uFFFDb")); got != "a\xffb" {
		t.Errorf("stored %q", got)
	}
	if got := host.ReplyHeaders(); len(got) != 1 || got[0] != (fake.Pair{Name: "a\uFFFDb", Value: "a\uFFFDb"}) {
		t.Errorf("replied with headers %q", got)
	}
	if got := host.Log()[0].String(); got != "a\uFFFDb a\uFFFDb=a\uFFFDb" {
		t.Errorf("logged %q", got)
	}
	if got := host.Published()[0]; got.Topic != "a\uFFFDb" || got.ContentType != "a\uFFFDb" {
		t.Errorf("published %q", got)
	}
}
