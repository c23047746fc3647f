package host

import (
	"postern.dev/postern/internal/abi"
	"postern.dev/postern/internal/text"
)

func FrameHeader(name string) (string, bool) {
	name = text.Valid(name)
	abi.Begin()
	defer abi.End()
	frameHeader(name, retOptional())
	return retOptional().Get()
}

func FrameHeaders() []Field {
	abi.Begin()
	defer abi.End()
	frameHeaders(retList())
	return takeFields(*retList())
}

func FrameSetHeader(name, value string) error {
	name, value = text.Valid(name), text.Valid(value)
	abi.Begin()
	defer abi.End()
	frameSetHeader(name, value, abi.RetResult())
	return failed()
}

func FrameRemoveHeader(name string) error {
	name = text.Valid(name)
	abi.Begin()
	defer abi.End()
	frameRemoveHeader(name, abi.RetResult())
	return failed()
}

func FramePayload() []byte {
	abi.Begin()
	defer abi.End()
	framePayload(retList())
	return retList().Bytes()
}

func FrameSetPayload(payload []byte) error {
	abi.Begin()
	defer abi.End()
	frameSetPayload(abi.AsText(payload), abi.RetResult())
	return failed()
}

//go:wasmimport postern:gateway/frame@0.1.0 header
func frameHeader(name string, ret *abi.OptionalList)

//go:wasmimport postern:gateway/frame@0.1.0 headers
func frameHeaders(ret *abi.List)

//go:wasmimport postern:gateway/frame@0.1.0 set-header
func frameSetHeader(name, value string, ret *abi.Result)

//go:wasmimport postern:gateway/frame@0.1.0 remove-header
func frameRemoveHeader(name string, ret *abi.Result)

//go:wasmimport postern:gateway/frame@0.1.0 payload
func framePayload(ret *abi.List)

//go:wasmimport postern:gateway/frame@0.1.0 set-payload
func frameSetPayload(payload string, ret *abi.Result)
