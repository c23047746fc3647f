//go:build wasm

package abi

import (
	"unsafe"

	"postern.dev/postern/internal/failure"
)

// Return is the result of an exported function that gives octets or nothing.
func Return(octets []byte, err error) unsafe.Pointer {
	RetResult().Set(octets, err)
	return unsafe.Pointer(&Ret)
}

// Set makes a result of octets or of an error.
func (r *Result) Set(octets []byte, err error) {
	if err == nil {
		r.ReturnBytes(octets)
		return
	}
	f := failure.Of(err)
	r.ReturnFailure(uint8(f.Kind), f.Message, string(f.Details))
}
