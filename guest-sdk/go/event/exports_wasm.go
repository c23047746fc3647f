package event

import (
	"unsafe"

	"postern.dev/postern/internal/abi"
)

//go:wasmexport postern:gateway/event-handler@0.1.0#on-event
func onEvent(topic, topicLen, typed, contentType, contentTypeLen, payload, payloadLen uint32) unsafe.Pointer {
	abi.Enter()
	e := Event{Topic: abi.NewList(topic, topicLen).String(), Payload: abi.NewList(payload, payloadLen).Bytes()}
	if typed != 0 {
		e.ContentType = abi.NewList(contentType, contentTypeLen).String()
	}
	abi.Taken()
	ret := abi.Return(nil, Tell(e))
	abi.Leave()
	return ret
}
