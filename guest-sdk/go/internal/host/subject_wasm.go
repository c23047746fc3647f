//go:build wasm

package host

import (
	"unsafe"

	"postern.dev/postern/internal/abi"
	"postern.dev/postern/internal/failure"
)

func Usable(index int) bool {
	abi.Begin()
	defer abi.End()
	return candidatesUsable(uint32(index)) != 0
}

func Random() uint64 {
	abi.Begin()
	defer abi.End()
	return candidatesRandom()
}

func RequestService() string { return nameOf(requestService) }

func RequestMethod() string { return nameOf(requestMethod) }

func RequestHeader(name string) (string, bool) { return textOf(name, requestHeader) }

func RequestHeaders() []Field { return fieldsOf(requestHeaders) }

func RequestSetHeader(name, value string) error { return giveField(name, value, requestSetHeader) }

func RequestRemoveHeader(name string) error { return giveName(name, requestRemoveHeader) }

func RequestPayload() ([]byte, error) { return octetsOf(requestPayload) }

func RequestSetPayload(payload []byte) error { return giveOctets(payload, requestSetPayload) }

// ResponseFailed is nil when the call did not fail.
func ResponseFailed() *failure.Failure {
	abi.Begin()
	defer abi.End()
	// An option of a failure lies as a result with a failure does.
	responseFailed(abi.RetResult())
	if abi.RetResult().Error == 0 {
		return nil
	}
	return takeFailure(&abi.RetResult().Value)
}

func ResponseElapsedMicros() uint64 {
	abi.Begin()
	defer abi.End()
	return responseElapsed()
}

func ResponseHeader(name string) (string, bool) { return textOf(name, responseHeader) }

func ResponseHeaders() []Field { return fieldsOf(responseHeaders) }

func ResponseSetHeader(name, value string) error { return giveField(name, value, responseSetHeader) }

func ResponseRemoveHeader(name string) error { return giveName(name, responseRemoveHeader) }

func ResponsePayload() ([]byte, error) { return octetsOf(responsePayload) }

func ResponseSetPayload(payload []byte) error { return giveOctets(payload, responseSetPayload) }

// ReturnByte is a result of one small number.
func ReturnByte(value uint8, err error) unsafe.Pointer {
	if err != nil {
		return abi.Return(nil, err)
	}
	*abi.RetResult() = abi.Result{}
	*(*uint8)(unsafe.Pointer(abi.RetResult().Ok())) = value
	return unsafe.Pointer(&abi.Ret)
}

//go:wasmimport postern:gateway/candidates@0.1.0 usable
func candidatesUsable(index uint32) uint32

//go:wasmimport postern:gateway/candidates@0.1.0 random
func candidatesRandom() uint64

//go:wasmimport postern:gateway/request@0.1.0 service
func requestService(ret *abi.List)

//go:wasmimport postern:gateway/request@0.1.0 method
func requestMethod(ret *abi.List)

//go:wasmimport postern:gateway/request@0.1.0 header
func requestHeader(name string, ret *abi.OptionalList)

//go:wasmimport postern:gateway/request@0.1.0 headers
func requestHeaders(ret *abi.List)

//go:wasmimport postern:gateway/request@0.1.0 set-header
func requestSetHeader(name, value string, ret *abi.Result)

//go:wasmimport postern:gateway/request@0.1.0 remove-header
func requestRemoveHeader(name string, ret *abi.Result)

//go:wasmimport postern:gateway/request@0.1.0 payload
func requestPayload(ret *abi.Result)

//go:wasmimport postern:gateway/request@0.1.0 set-payload
func requestSetPayload(payload string, ret *abi.Result)

//go:wasmimport postern:gateway/response@0.1.0 failed
func responseFailed(ret *abi.Result)

//go:wasmimport postern:gateway/response@0.1.0 elapsed-micros
func responseElapsed() uint64

//go:wasmimport postern:gateway/response@0.1.0 header
func responseHeader(name string, ret *abi.OptionalList)

//go:wasmimport postern:gateway/response@0.1.0 headers
func responseHeaders(ret *abi.List)

//go:wasmimport postern:gateway/response@0.1.0 set-header
func responseSetHeader(name, value string, ret *abi.Result)

//go:wasmimport postern:gateway/response@0.1.0 remove-header
func responseRemoveHeader(name string, ret *abi.Result)

//go:wasmimport postern:gateway/response@0.1.0 payload
func responsePayload(ret *abi.Result)

//go:wasmimport postern:gateway/response@0.1.0 set-payload
func responseSetPayload(payload string, ret *abi.Result)
