// Package frame sees VSTP frames below the calls, in both directions. Importing it gives the component the role
// `frame-extension`, which is entered directly, within a budget of microseconds.
package frame

import (
	"postern.dev/postern"
	"postern.dev/postern/internal/guard"
	"postern.dev/postern/internal/host"
)

// Kind is what a frame is for.
type Kind uint8

// In the order of `frame-kind` in wit/types.wit.
const (
	Hello Kind = iota
	Welcome
	Data
	Ping
	Pong
	Bye
	Ack
	Err
)

// Direction is which way a frame goes.
type Direction uint8

const (
	// Inbound: from a peer to the gateway.
	Inbound Direction = iota
	// Outbound: from the gateway to a peer.
	Outbound
)

// Head is a frame without its headers and payload.
type Head struct {
	Kind      Kind
	Direction Direction
	// FlagBits: 0x01 wants an ACK, 0x10 one part of a message, 0x20 compressed payload.
	FlagBits uint8
	// HeaderBytes and PayloadBytes are the octets of the header section and of the payload.
	HeaderBytes, PayloadBytes uint32
}

// Verdict is what happens to a frame.
type Verdict uint8

const (
	// Pass: it goes on, with what was changed.
	Pass Verdict = iota
	// Drop: it is forgotten.
	Drop
)

// Frame is the frame that is being handled.
type Frame struct{}

// Header is the first value of a header; absent also when it is not UTF-8.
func (*Frame) Header(name string) (value string, is bool) { return host.FrameHeader(name) }

// Headers are all headers in order, duplicates included.
func (*Frame) Headers() []postern.Field { return host.FrameHeaders() }

// SetHeader puts a header in the place of all of that name. All together have at most 65,535 octets.
func (*Frame) SetHeader(name, value string) error { return host.FrameSetHeader(name, value) }

// AddHeader adds a header beside those of that name; bounded as by SetHeader.
func (*Frame) AddHeader(name, value string) error { return host.FrameAddHeader(name, value) }

// RemoveHeader takes all headers of that name away.
func (*Frame) RemoveHeader(name string) error { return host.FrameRemoveHeader(name) }

// Payload is the payload. Only here does it cross into the plugin.
func (*Frame) Payload() []byte { return host.FramePayload() }

// SetPayload puts another payload in place.
func (*Frame) SetPayload(payload []byte) error { return host.FrameSetPayload(payload) }

// Handler looks at frames.
type Handler interface {
	// ShouldHandle says whether Handle is to see the frame; one that it is not is neither copied nor looked at.
	ShouldHandle(Head) bool
	// Handle looks at a frame, and may change it. An error refuses it: the peer is told by ERR.
	Handle(*Frame) (Verdict, error)
}

var handler Handler

// Handle gives frames to a handler. It panics when the plugin has another.
func Handle(h Handler) {
	if handler != nil {
		panic("postern: frame.Handle is called twice")
	}
	handler = h
}

// Tell gives the frame with that head to the plugin's handler.
func Tell() (verdict Verdict, err error) {
	defer guard.Recover(&err)
	if handler == nil {
		return Pass, nil
	}
	return handler.Handle(&Frame{})
}

// ShouldHandle asks the plugin's handler. After a panic it is false.
func ShouldHandle(head Head) (should bool) {
	defer guard.Log()
	return handler != nil && handler.ShouldHandle(head)
}
