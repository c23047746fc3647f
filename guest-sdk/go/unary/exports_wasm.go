package unary

import (
	"unsafe"

	"postern.dev/postern"
	"postern.dev/postern/internal/abi"
	"postern.dev/postern/internal/host"
	"postern.dev/postern/service"
)

//go:wasmexport postern:gateway/handler@0.1.0#handle
func handle(service, serviceLen, method, methodLen, body, bodyLen uint32) unsafe.Pointer {
	abi.Enter()
	name, called := abi.NewList(service, serviceLen).String(), abi.NewList(method, methodLen).String()
	octets := abi.NewList(body, bodyLen).Bytes()
	abi.Taken()
	ret := abi.Return(call(name, called, octets))
	abi.Leave()
	return ret
}

func call(name, called string, octets []byte) ([]byte, error) {
	method, err := find(name, called)
	if err != nil {
		return nil, err
	}
	return method.Answer(&postern.Context{}, called, octets)
}

var results []abi.Result

//go:wasmexport postern:gateway/batch-handler@0.1.0#handle-batch
func handleBatch(service, serviceLen, method, methodLen, bodies, bodiesLen, lengths, lengthsLen uint32) unsafe.Pointer {
	abi.Enter()
	name, called := abi.NewList(service, serviceLen).String(), abi.NewList(method, methodLen).String()
	octets := abi.NewList(bodies, bodiesLen).Bytes()
	each := abi.Items[uint32](abi.NewList(lengths, lengthsLen))
	abi.Taken()
	answerAll(name, called, octets, each)
	*(*abi.List)(unsafe.Pointer(&abi.Ret)) = abi.Sequence(results)
	abi.Leave()
	return unsafe.Pointer(&abi.Ret)
}

func answerAll(name, called string, octets []byte, lengths []uint32) {
	results = results[:0]
	method, err := find(name, called)
	for i, length := range lengths {
		host.SetTurn(i)
		// No handler can append to its message and so write into the next one.
		body := octets[:length:length]
		octets = octets[length:]
		var reply []byte
		failed := err
		if failed == nil {
			reply, failed = method.Answer(&postern.Context{}, called, body)
		}
		results = append(results, abi.Result{})
		results[i].Set(reply, failed)
	}
	host.EndTurns()
}

func find(name, method string) (*service.Method, error) {
	s, err := service.Find(name)
	if err != nil {
		return nil, err
	}
	return s.Lookup(method)
}
