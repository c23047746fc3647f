package outbound

import (
	"unsafe"

	"postern.dev/postern/internal/abi"
)

//go:wasmexport postern:gateway/response-interceptor@0.1.0#on-response
func onResponse() unsafe.Pointer {
	abi.Enter()
	ret := abi.Return(nil, Tell())
	abi.Leave()
	return ret
}
