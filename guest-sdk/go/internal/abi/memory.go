//go:build wasm

// Package abi is the canonical ABI of components: memory that the host puts arguments and results into,
// and the shapes that cross. wit/ says what crosses; the layouts follow from it.
package abi

import (
	"runtime"
	"runtime/debug"
	"structs"
	"unsafe"

	"postern.dev/postern/internal/text"
)

// stackBytesMax bounds a goroutine's stack, so that endless recursion ends with its trace in the log and
// not at the memory limit of the instance.
const stackBytesMax = 8 << 20

// List is a string or a list as it crosses: 32-bit address and length.
type List struct {
	_   structs.HostLayout
	Ptr uint32
	Len uint32
}

// OptionalList is an optional string or list.
type OptionalList struct {
	_     structs.HostLayout
	Some  uint8
	Value List
}

// block is what adapter/preview1.wat keeps in this memory; its layout is told there.
var block struct {
	_              structs.HostLayout
	mayCall        uint32
	lineBytes      uint32
	lineDescriptor uint32
	fields         [2]List
	lineBytesMax   uint32
	line           [2048]byte
}

var (
	// given is what the host asked memory for and nobody has taken.
	given []unsafe.Pointer
	// kept is what the last result points to.
	kept [][]byte
)

// Ret is where imports write results that are more than one number, and exports their own.
var Ret [8]uint64

// streamFields says in the log that a line was printed and not logged.
var streamFields = [2][2]List{
	{Text("stream"), Text("stdout")},
	{Text("stream"), Text("stderr")},
}

func init() {
	debug.SetMaxStack(stackBytesMax)
	for i := range streamFields {
		block.fields[i] = List{Ptr: address(unsafe.Pointer(&streamFields[i])), Len: 1}
	}
	block.lineBytesMax = uint32(len(block.line))
	block.mayCall = 1
	attach(unsafe.Pointer(&block))
}

// The host runs this while it puts values into memory, where no import may be called. That is known already, but
// for the first time after the start.
//
//go:wasmexport cabi_realloc
func realloc(old unsafe.Pointer, oldBytes, align, bytes uint32) unsafe.Pointer {
	block.mayCall = 0
	var fresh unsafe.Pointer
	if align > 1 {
		fresh = unsafe.Pointer(unsafe.SliceData(make([]uint64, (bytes+7)/8)))
	} else {
		fresh = unsafe.Pointer(unsafe.SliceData(make([]byte, bytes)))
	}
	if oldBytes > 0 {
		copy(unsafe.Slice((*byte)(fresh), bytes), unsafe.Slice((*byte)(old), oldBytes))
	}
	given = append(given, fresh)
	return fresh
}

// Enter begins an exported function: from here on imports may be called, and what the last result points
// to is let go.
func Enter() {
	clear(kept)
	kept = kept[:0]
	block.mayCall = 1
}

// Leave ends an exported function.
func Leave() {
	block.mayCall = 0
}

// Begin waits until an import may be called, and keeps others from calling theirs meanwhile: the host may
// run the allocator during the call, and with it other goroutines.
func Begin() {
	for block.mayCall == 0 {
		runtime.Gosched()
	}
	block.mayCall = 0
}

// End follows each Begin once what the import gave was taken.
func End() {
	Taken()
	block.mayCall = 1
}

// Taken lets go of what the host gave; what was made of it by Bytes and String stays.
func Taken() {
	clear(given)
	given = given[:0]
}

// Bytes makes a slice of what the host gave. It owns the memory.
func (l List) Bytes() []byte {
	if l.Len == 0 {
		return []byte{}
	}
	return unsafe.Slice((*byte)(pointer(l.Ptr)), l.Len)
}

// String makes a string of what the host gave. It owns the memory.
func (l List) String() string {
	if l.Len == 0 {
		return ""
	}
	return unsafe.String((*byte)(pointer(l.Ptr)), l.Len)
}

// Items makes a slice of a list that the host gave. It is valid until what was given is let go.
func Items[T any](l List) []T {
	if l.Len == 0 {
		return nil
	}
	return unsafe.Slice((*T)(pointer(l.Ptr)), l.Len)
}

// Strings takes a list of strings.
func (l List) Strings() []string {
	items := Items[List](l)
	strings := make([]string, len(items))
	for i, item := range items {
		strings[i] = item.String()
	}
	return strings
}

// Get takes an optional string.
func (o OptionalList) Get() (string, bool) {
	return o.Value.String(), o.Some != 0
}

// GetBytes takes an optional list of octets; nil for none.
func (o OptionalList) GetBytes() []byte {
	if o.Some == 0 {
		return nil
	}
	return o.Value.Bytes()
}

// Text is a string as it crosses outwards. The caller keeps it alive.
func Text(s string) List {
	return List{Ptr: address(unsafe.Pointer(unsafe.StringData(s))), Len: uint32(len(s))}
}

// Octets is a slice as it crosses outwards. The caller keeps it alive.
func Octets(b []byte) List {
	return List{Ptr: address(unsafe.Pointer(unsafe.SliceData(b))), Len: uint32(len(b))}
}

// Sequence is a list of shapes as it crosses outwards. The caller keeps it alive.
func Sequence[T any](items []T) List {
	return List{Ptr: address(unsafe.Pointer(unsafe.SliceData(items))), Len: uint32(len(items))}
}

// AsText lends octets to an import that takes a string parameter.
func AsText(b []byte) string {
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// Keep holds what a result points to until the next function is entered.
func Keep(b []byte) List {
	kept = append(kept, b)
	return Octets(b)
}

// KeepText is Keep for a string, which crosses as UTF-8 whatever it is.
func KeepText(s string) List {
	s = text.Valid(s)
	return Keep(unsafe.Slice(unsafe.StringData(s), len(s)))
}

func address(p unsafe.Pointer) uint32 {
	return uint32(uintptr(p))
}

// pointer makes an address of the host a pointer. The memory is one of `given`, so the collector knows it.
func pointer(address uint32) unsafe.Pointer {
	at := uintptr(address)
	return *(*unsafe.Pointer)(unsafe.Pointer(&at))
}

//go:wasmimport wasi_snapshot_preview1 postern_attach
//go:noescape
func attach(block unsafe.Pointer)

// NewList is a string or list parameter, which crosses as two numbers.
func NewList(ptr, length uint32) List { return List{Ptr: ptr, Len: length} }
