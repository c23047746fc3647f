package stream

import (
	"unsafe"

	"postern.dev/postern"
	"postern.dev/postern/internal/abi"
	"postern.dev/postern/service"
)

//go:wasmexport postern:gateway/stream-handler@0.1.0#handle-stream
func handleStream(name, nameLen, method, methodLen uint32) unsafe.Pointer {
	abi.Enter()
	called, of := abi.NewList(method, methodLen).String(), abi.NewList(name, nameLen).String()
	abi.Taken()
	s, err := service.Find(of)
	if err == nil {
		err = s.CallStream(&postern.Context{}, called)
	}
	ret := abi.Return(nil, err)
	abi.Leave()
	return ret
}
