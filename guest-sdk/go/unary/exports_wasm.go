package unary

import (
	"unsafe"

	"postern.dev/postern"
	"postern.dev/postern/internal/abi"
	"postern.dev/postern/internal/host"
	"postern.dev/postern/internal/method"
)

//go:wasmexport postern:gateway/handler@0.1.0#handle
func handle(service, serviceLen, called, calledLen, body, bodyLen uint32) unsafe.Pointer {
	return method.Enter(service, serviceLen, called, calledLen, body, bodyLen)
}

var results []abi.Result

//go:wasmexport postern:gateway/batch-handler@0.1.0#handle-batch
func handleBatch(service, serviceLen, named, namedLen, bodies, bodiesLen, lengths, lengthsLen uint32) unsafe.Pointer {
	abi.Enter()
	name, called := abi.NewList(service, serviceLen).String(), abi.NewList(named, namedLen).String()
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
	found, err := method.Find(name, called)
	for i, length := range lengths {
		host.SetTurn(i)
		// No handler can append to its message and so write into the next one.
		body := octets[:length:length]
		octets = octets[length:]
		var reply []byte
		failed := err
		if failed == nil {
			reply, failed = found.Answer(&postern.Context{}, called, body)
		}
		results = append(results, abi.Result{})
		results[i].Set(reply, failed)
	}
	host.EndTurns()
}
