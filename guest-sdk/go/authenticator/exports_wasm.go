package authenticator

import (
	"structs"
	"unsafe"

	"postern.dev/postern/internal/abi"
	"postern.dev/postern/internal/failure"
)

type pairShape struct {
	_     structs.HostLayout
	Name  abi.List
	Value abi.List
}

type identityShape struct {
	_      structs.HostLayout
	Name   abi.List
	Roles  abi.List
	Claims abi.List
	Valid  struct {
		_      structs.HostLayout
		Some   uint8
		Millis uint64
	}
}

// A result of an optional identity, whose u64 moves everything to multiples of eight.
type okShape struct {
	_      structs.HostLayout
	Error  uint8
	Option struct {
		_     structs.HostLayout
		Some  uint8
		Value identityShape
	}
}

type failedShape struct {
	_     structs.HostLayout
	Error uint64
	Value abi.Failure
}

// What the last answer points to.
var (
	roles  []abi.List
	claims []pairShape
)

//go:wasmexport postern:gateway/authenticator@0.1.0#authenticate
func authenticate(scheme, schemeLen, token, tokenLen uint32) unsafe.Pointer {
	abi.Enter()
	shown := Credentials{Scheme: abi.NewList(scheme, schemeLen).String(), Token: abi.NewList(token, tokenLen).String()}
	abi.Taken()
	who, err := Ask(shown)
	ret := (*okShape)(unsafe.Pointer(&abi.Ret))
	*ret = okShape{}
	if err != nil {
		f := failure.Of(err)
		var result abi.Result
		result.ReturnFailure(uint8(f.Kind), f.Message, string(f.Details))
		*(*failedShape)(unsafe.Pointer(&abi.Ret)) = failedShape{Error: 1, Value: result.Value}
	} else if who != nil {
		ret.Option.Some = 1
		ret.Option.Value = shape(who)
	}
	abi.Leave()
	return unsafe.Pointer(&abi.Ret)
}

func shape(who *Identity) identityShape {
	roles, claims = nil, nil
	for _, role := range who.Roles {
		roles = append(roles, abi.KeepText(role))
	}
	for name, value := range who.Claims {
		claims = append(claims, pairShape{Name: abi.KeepText(name), Value: abi.KeepText(value)})
	}
	made := identityShape{Name: abi.KeepText(who.Name), Roles: abi.Sequence(roles), Claims: abi.Sequence(claims)}
	if who.Valid > 0 {
		made.Valid.Some, made.Valid.Millis = 1, uint64(who.Valid.Milliseconds())
	}
	return made
}
