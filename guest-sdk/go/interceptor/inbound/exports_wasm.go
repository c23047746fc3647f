package inbound

import (
	"unsafe"

	"postern.dev/postern/internal/abi"
	"postern.dev/postern/internal/host"
)

//go:wasmexport postern:gateway/request-interceptor@0.1.0#on-request
func onRequest() unsafe.Pointer {
	abi.Enter()
	action, err := Tell()
	ret := host.ReturnByte(uint8(action), err)
	abi.Leave()
	return ret
}
