package postern_test

import (
	"errors"
	"strings"
	"testing"

	"postern.dev/postern"
	"postern.dev/postern/fake"
	"postern.dev/postern/service"
	"postern.dev/postern/text"
)

func init() {
	s := service.New("lines", "1.0.0", "Takes lines.")
	text.Handle(s, "Shout", func(_ *postern.Context, in string) (string, error) {
		return strings.ToUpper(in), nil
	})
	text.Handle(s, "Break", func(*postern.Context, struct{}) (postern.Octets, error) {
		return postern.Octets("a\xffb"), nil
	})
	text.Handle(s, "Panic", func(*postern.Context, struct{}) (struct{}, error) { panic("loose") })
	text.Fallback(s, func(_ *postern.Context, method, body string) (string, error) {
		return method + ":" + body, nil
	})
}

func TestMessagesOfATextHandlerAreText(t *testing.T) {
	host := fake.New(t)
	for _, c := range []struct{ method, message, reply string }{
		{"Shout", `"ä"`, `"Ä"`},
		{"Shout", "", `""`},
		{"Other", "ä", "Other:ä"},
	} {
		if reply, err := host.Call("lines", c.method, c.message); reply != c.reply || err != nil {
			t.Errorf("%s %q: %q, %v", c.method, c.message, reply, err)
		}
	}
	for _, c := range []struct {
		method, message string
		kind            postern.Kind
		text            string
	}{
		{"Shout", "a\xff", postern.InvalidArgument, "message is not UTF-8"},
		{"Break", "{}", postern.Internal, "reply of method `Break` is not UTF-8: package unary is for octets"},
		{"Panic", "{}", postern.Internal, "panic: loose"},
	} {
		_, err := host.Call("lines", c.method, c.message)
		var failed *postern.Failure
		if !errors.As(err, &failed) || failed.Kind != c.kind || failed.Message != c.text {
			t.Errorf("%s %q: %v", c.method, c.message, err)
		}
	}
}
