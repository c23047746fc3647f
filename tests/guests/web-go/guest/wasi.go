package main

import (
	"runtime/debug"
	"unsafe"
)

// Functions of `wasi:http` 0.2.6 as a core module has them. What one of them gives lies in `given`, and texts
// and lists of it in `lent`, until the next call.

//go:wasmimport wasi:http/types@0.2.6 [method]incoming-request.method
func requestMethod(request uint32, given unsafe.Pointer)

//go:wasmimport wasi:http/types@0.2.6 [method]incoming-request.path-with-query
func requestTarget(request uint32, given unsafe.Pointer)

//go:wasmimport wasi:http/types@0.2.6 [method]incoming-request.headers
func requestHeaders(request uint32) uint32

//go:wasmimport wasi:http/types@0.2.6 [method]incoming-request.consume
func requestConsume(request uint32, given unsafe.Pointer)

//go:wasmimport wasi:http/types@0.2.6 [resource-drop]incoming-request
func dropRequest(request uint32)

//go:wasmimport wasi:http/types@0.2.6 [method]incoming-body.stream
func incomingStream(body uint32, given unsafe.Pointer)

//go:wasmimport wasi:http/types@0.2.6 [resource-drop]incoming-body
func dropIncoming(body uint32)

//go:wasmimport wasi:http/types@0.2.6 [constructor]fields
func newFields() uint32

//go:wasmimport wasi:http/types@0.2.6 [method]fields.append
func fieldsAppend(fields uint32, name unsafe.Pointer, nName uint32, value unsafe.Pointer, nValue uint32, given unsafe.Pointer)

//go:wasmimport wasi:http/types@0.2.6 [method]fields.entries
func fieldsEntries(fields uint32, given unsafe.Pointer)

//go:wasmimport wasi:http/types@0.2.6 [resource-drop]fields
func dropFields(fields uint32)

//go:wasmimport wasi:http/types@0.2.6 [constructor]outgoing-response
func newResponse(fields uint32) uint32

//go:wasmimport wasi:http/types@0.2.6 [method]outgoing-response.set-status-code
func responseSetStatus(response, status uint32) uint32

//go:wasmimport wasi:http/types@0.2.6 [method]outgoing-response.body
func responseBody(response uint32, given unsafe.Pointer)

//go:wasmimport wasi:http/types@0.2.6 [static]response-outparam.set
func outparamSet(out, isErr, response, a uint32, b uint64, c, d, e, f uint32)

//go:wasmimport wasi:http/types@0.2.6 [method]outgoing-body.write
func bodyWrite(body uint32, given unsafe.Pointer)

//go:wasmimport wasi:http/types@0.2.6 [static]outgoing-body.finish
func bodyFinish(body, hasTrailers, trailers uint32, given unsafe.Pointer)

//go:wasmimport wasi:io/streams@0.2.6 [method]input-stream.blocking-read
func streamRead(stream uint32, most uint64, given unsafe.Pointer)

//go:wasmimport wasi:io/streams@0.2.6 [method]output-stream.blocking-write-and-flush
func streamWrite(stream uint32, octets unsafe.Pointer, nOctets uint32, given unsafe.Pointer)

//go:wasmimport wasi:io/streams@0.2.6 [resource-drop]input-stream
func dropInput(stream uint32)

//go:wasmimport wasi:io/streams@0.2.6 [resource-drop]output-stream
func dropOutput(stream uint32)

var (
	given [16]uint64
	lent  [256 << 10]byte
	nLent uint32
)

// Go collects where it allocates, and its collector asks the time: while the host puts results into this memory,
// no import may be called. So nothing is allocated then, and a request begins with a collection.
func init() { debug.SetGCPercent(-1) }

//go:wasmexport cabi_realloc
func realloc(old unsafe.Pointer, nOld, align, bytes uint32) unsafe.Pointer {
	begin := (nLent + align - 1) &^ (align - 1)
	nLent = begin + bytes
	copy(lent[begin:nLent], unsafe.Slice((*byte)(old), nOld))
	return unsafe.Pointer(&lent[begin])
}

// Where the next call puts what it gives.
func fresh() unsafe.Pointer {
	nLent = 0
	return unsafe.Pointer(&given)
}

// The word of `given` at this octet.
func word(at uintptr) uint32 {
	return *(*uint32)(unsafe.Add(unsafe.Pointer(&given), at))
}

// Octets that the host lent, at an address of 32 bits.
func octets(address, length uint32) []byte {
	base := uint32(uintptr(unsafe.Pointer(&lent)))
	return lent[address-base : address-base+length]
}

// The handle of a `result<handle, _>`; without one the guest ends.
func handleOf(what string) uint32 {
	if given[0]&0xff != 0 {
		panic("no " + what)
	}
	return word(4)
}
