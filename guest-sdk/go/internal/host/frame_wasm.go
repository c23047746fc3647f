package host

import "postern.dev/postern/internal/abi"

func FrameHeader(name string) (string, bool) { return textOf(name, frameHeader) }

func FrameHeaders() []Field { return fieldsOf(frameHeaders) }

func FrameSetHeader(name, value string) error { return giveField(name, value, frameSetHeader) }

func FrameAddHeader(name, value string) error { return giveField(name, value, frameAddHeader) }

func FrameRemoveHeader(name string) error { return giveName(name, frameRemoveHeader) }

func FramePayload() []byte {
	abi.Begin()
	defer abi.End()
	framePayload(retList())
	return retList().Bytes()
}

func FrameSetPayload(payload []byte) error { return giveOctets(payload, frameSetPayload) }

//go:wasmimport postern:gateway/frame@0.1.0 header
func frameHeader(name string, ret *abi.OptionalList)

//go:wasmimport postern:gateway/frame@0.1.0 headers
func frameHeaders(ret *abi.List)

//go:wasmimport postern:gateway/frame@0.1.0 set-header
func frameSetHeader(name, value string, ret *abi.Result)

//go:wasmimport postern:gateway/frame@0.1.0 add-header
func frameAddHeader(name, value string, ret *abi.Result)

//go:wasmimport postern:gateway/frame@0.1.0 remove-header
func frameRemoveHeader(name string, ret *abi.Result)

//go:wasmimport postern:gateway/frame@0.1.0 payload
func framePayload(ret *abi.List)

//go:wasmimport postern:gateway/frame@0.1.0 set-payload
func frameSetPayload(payload string, ret *abi.Result)
