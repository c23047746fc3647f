package text

import (
	"unsafe"

	"postern.dev/postern"
	"postern.dev/postern/internal/abi"
	"postern.dev/postern/service"
)

//go:wasmexport postern:gateway/text-handler@0.1.0#handle-text
func handleText(service, serviceLen, method, methodLen, body, bodyLen uint32) unsafe.Pointer {
	abi.Enter()
	name, called := abi.NewList(service, serviceLen).String(), abi.NewList(method, methodLen).String()
	octets := abi.NewList(body, bodyLen).Bytes()
	abi.Taken()
	// Text crosses as octets do.
	ret := abi.Return(call(name, called, octets))
	abi.Leave()
	return ret
}

func call(name, method string, body []byte) ([]byte, error) {
	s, err := service.Find(name)
	if err != nil {
		return nil, err
	}
	return s.Call(&postern.Context{}, method, body)
}
