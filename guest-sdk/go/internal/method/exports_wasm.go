package method

import (
	"unsafe"

	"postern.dev/postern"
	"postern.dev/postern/internal/abi"
	"postern.dev/postern/service"
)

// Enter answers a call as it crosses: service, method and message, each by its place and its length. Text crosses
// as octets do.
func Enter(of, ofLen, named, namedLen, body, bodyLen uint32) unsafe.Pointer {
	abi.Enter()
	name, called := abi.NewList(of, ofLen).String(), abi.NewList(named, namedLen).String()
	octets := abi.NewList(body, bodyLen).Bytes()
	abi.Taken()
	ret := abi.Return(answer(name, called, octets))
	abi.Leave()
	return ret
}

// Find is the method of that name of the service of that name.
func Find(name, called string) (*service.Method, error) {
	s, err := service.Find(name)
	if err != nil {
		return nil, err
	}
	return s.Lookup(called)
}

func answer(name, called string, octets []byte) ([]byte, error) {
	method, err := Find(name, called)
	if err != nil {
		return nil, err
	}
	return method.Answer(&postern.Context{}, called, octets)
}
