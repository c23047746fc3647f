// Plugin text-go takes and gives text, as a text handler.
package main

import (
	"postern.dev/postern"
	"postern.dev/postern/service"
	"postern.dev/postern/text"
)

func init() {
	s := service.New("text-go", "0.1.0", "Takes and gives text.")
	text.Handle(s, "Say", func(_ *postern.Context, in postern.Octets) (postern.Octets, error) { return in, nil }, service.Idempotent())
	text.Handle(s, "BreakIt", func(*postern.Context, postern.Octets) (postern.Octets, error) { return postern.Octets("\xff"), nil })
	text.Handle(s, "Fail", func(ctx *postern.Context, _ postern.Octets) (struct{}, error) {
		if err := ctx.AddHeader("x-own", "kept"); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, postern.Errorf(postern.NotFound, "nothing")
	})
}

func main() {}
