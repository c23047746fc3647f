package authorizer

import (
	"unsafe"

	"postern.dev/postern/internal/abi"
)

//go:wasmexport postern:gateway/authorizer@0.1.0#authorize
func authorize(service, serviceLen, method, methodLen uint32) unsafe.Pointer {
	abi.Enter()
	called, of := abi.NewList(method, methodLen).String(), abi.NewList(service, serviceLen).String()
	abi.Taken()
	ret := abi.Return(nil, Ask(of, called))
	abi.Leave()
	return ret
}
