//go:build !wasm

package host

import (
	"bytes"

	"postern.dev/postern/internal/failure"
	"postern.dev/postern/internal/text"
)

func FrameHeader(name string) (string, bool) { return find(there().FrameHeaders, name) }

func FrameHeaders() []Field { return there().FrameHeaders }

func FrameSetHeader(name, value string) error {
	return set(&there().FrameHeaders, text.Valid(name), text.Valid(value))
}

func FrameAddHeader(name, value string) error {
	return addField(&there().FrameHeaders, text.Valid(name), text.Valid(value))
}

func FrameRemoveHeader(name string) error {
	name = text.Valid(name)
	remove(&there().FrameHeaders, name)
	return nil
}

func FramePayload() []byte { return bytes.Clone(there().FramePayload) }

func FrameSetPayload(payload []byte) error {
	if len(payload) > outputBytesMax {
		return failure.New(failure.ResourceExhausted, "payload of %d octets exceeds the limit of %d", len(payload), outputBytesMax)
	}
	there().FramePayload = bytes.Clone(payload)
	return nil
}
