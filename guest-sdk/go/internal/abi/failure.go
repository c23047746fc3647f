//go:build wasm

package abi

import (
	"structs"
	"unsafe"
)

// Failure is `types.failure` as it crosses.
type Failure struct {
	_       structs.HostLayout
	Kind    uint8
	Message List
	Details OptionalList
}

// Result is a result whose error is a failure and whose value is at most a list.
type Result struct {
	_     structs.HostLayout
	Error uint8
	Value Failure
}

// Ok is the value of a result that is no error.
func (r *Result) Ok() *List {
	return (*List)(unsafe.Pointer(&r.Value))
}

// ReturnBytes makes a result of octets.
func (r *Result) ReturnBytes(b []byte) {
	*r = Result{}
	*r.Ok() = Keep(b)
}

// ReturnFailure makes a result of a failure.
func (r *Result) ReturnFailure(kind uint8, message, details string) {
	*r = Result{Error: 1, Value: Failure{Kind: kind, Message: KeepText(message)}}
	if details != "" {
		r.Value.Details = OptionalList{Some: 1, Value: KeepText(details)}
	}
}

// RetResult is Ret as a result.
func RetResult() *Result {
	return (*Result)(unsafe.Pointer(&Ret))
}
