//go:build wasm

package host

import (
	"structs"
	"unsafe"

	"postern.dev/postern/internal/abi"
	"postern.dev/postern/internal/failure"
	"postern.dev/postern/internal/text"
)

// pendingTurn is, of a batch, the call that is being answered and that the host does not know of yet; -1 for
// none.
var pendingTurn int64 = -1

// SetTurn says which call of a batch is answered next.
func SetTurn(index int) { pendingTurn = int64(index) }

// EndTurns follows a batch.
func EndTurns() { pendingTurn = -1 }

// begin begins an import of interface `call`.
func begin() {
	if pendingTurn >= 0 {
		index := uint32(pendingTurn)
		pendingTurn = -1
		callTurn(index)
	}
	abi.Begin()
}

func retOptional() *abi.OptionalList { return (*abi.OptionalList)(unsafe.Pointer(&abi.Ret)) }

func retList() *abi.List { return (*abi.List)(unsafe.Pointer(&abi.Ret)) }

// failed takes the failure of the last import; nil when it did not fail.
func failed() error {
	result := abi.RetResult()
	if result.Error == 0 {
		return nil
	}
	return takeFailure(&result.Value)
}

func takeFailure(f *abi.Failure) *failure.Failure {
	return &failure.Failure{
		Kind:    failure.Kind(f.Kind),
		Message: f.Message.String(),
		Details: f.Details.GetBytes(),
	}
}

type pairShape struct {
	_     structs.HostLayout
	Name  abi.List
	Value abi.List
}

func takeFields(list abi.List) []Field {
	items := abi.Items[pairShape](list)
	fields := make([]Field, len(items))
	for i, item := range items {
		fields[i] = Field{Name: item.Name.String(), Value: item.Value.Bytes()}
	}
	return fields
}

func Header(name string) (string, bool) {
	name = text.Valid(name)
	begin()
	defer abi.End()
	callHeader(name, retOptional())
	return retOptional().Get()
}

func Headers() []Field {
	begin()
	defer abi.End()
	callHeaders(retList())
	return takeFields(*retList())
}

type httpShape struct {
	_     structs.HostLayout
	Some  uint8
	Value struct {
		_                               structs.HostLayout
		Method, Scheme, Authority, Path abi.List
		Query                           abi.OptionalList
	}
}

func HTTPInfo() (HTTP, bool) {
	begin()
	defer abi.End()
	ret := (*httpShape)(unsafe.Pointer(&abi.Ret))
	callHTTP(ret)
	if ret.Some == 0 {
		return HTTP{}, false
	}
	query, _ := ret.Value.Query.Get()
	return HTTP{
		Method:    ret.Value.Method.String(),
		Scheme:    ret.Value.Scheme.String(),
		Authority: ret.Value.Authority.String(),
		Path:      ret.Value.Path.String(),
		Query:     query,
	}, true
}

func RequestKind() BodyKind {
	begin()
	defer abi.End()
	return BodyKind(callRequestKind())
}

func Trailers() []Field {
	begin()
	defer abi.End()
	callTrailers(retList())
	return takeFields(*retList())
}

func SetStatus(status uint16) error {
	begin()
	defer abi.End()
	callSetStatus(uint32(status), abi.RetResult())
	return failed()
}

func SetOctets() error {
	begin()
	defer abi.End()
	callSetOctets(abi.RetResult())
	return failed()
}

func AddHeader(name, value string) error {
	name, value = text.Valid(name), text.Valid(value)
	begin()
	defer abi.End()
	callAddHeader(name, value, abi.RetResult())
	return failed()
}

func AddTrailer(name, value string) error {
	name, value = text.Valid(name), text.Valid(value)
	begin()
	defer abi.End()
	callAddTrailer(name, value, abi.RetResult())
	return failed()
}

type peerShape struct {
	_         structs.HostLayout
	Transport abi.List
	Address   abi.OptionalList
}

func GetPeer() Peer {
	begin()
	defer abi.End()
	ret := (*peerShape)(unsafe.Pointer(&abi.Ret))
	callPeer(ret)
	address, _ := ret.Address.Get()
	return Peer{Transport: ret.Transport.String(), Address: address}
}

type principalShape struct {
	_     structs.HostLayout
	Some  uint8
	Name  abi.List
	Roles abi.List
}

func GetPrincipal() (Principal, bool) {
	begin()
	defer abi.End()
	ret := (*principalShape)(unsafe.Pointer(&abi.Ret))
	callPrincipal(ret)
	if ret.Some == 0 {
		return Principal{}, false
	}
	return Principal{Name: ret.Name.String(), Roles: ret.Roles.Strings()}, true
}

func Claim(name string) (string, bool) {
	name = text.Valid(name)
	begin()
	defer abi.End()
	callClaim(name, retOptional())
	return retOptional().Get()
}

func RemainingMs() uint64 {
	begin()
	defer abi.End()
	return callRemainingMs()
}

func CorrelationID() string {
	begin()
	defer abi.End()
	callCorrelationID(retList())
	return retList().String()
}

func Traceparent() (string, bool) {
	begin()
	defer abi.End()
	callTraceparent(retOptional())
	return retOptional().Get()
}

// Next takes the next message of the request; nil after the last.
func Next() ([]byte, error) {
	abi.Begin()
	defer abi.End()
	callNext(abi.RetResult())
	if err := failed(); err != nil {
		return nil, err
	}
	option := (*abi.OptionalList)(unsafe.Pointer(&abi.RetResult().Value))
	return option.GetBytes(), nil
}

func Send(message []byte) error {
	abi.Begin()
	defer abi.End()
	callSend(abi.AsText(message), abi.RetResult())
	return failed()
}

//go:wasmimport postern:gateway/call@0.1.0 turn
func callTurn(index uint32)

//go:wasmimport postern:gateway/call@0.1.0 header
func callHeader(name string, ret *abi.OptionalList)

//go:wasmimport postern:gateway/call@0.1.0 headers
func callHeaders(ret *abi.List)

//go:wasmimport postern:gateway/call@0.1.0 http
func callHTTP(ret *httpShape)

//go:wasmimport postern:gateway/call@0.1.0 request-kind
func callRequestKind() uint32

//go:wasmimport postern:gateway/call@0.1.0 trailers
func callTrailers(ret *abi.List)

//go:wasmimport postern:gateway/call@0.1.0 set-status
func callSetStatus(status uint32, ret *abi.Result)

//go:wasmimport postern:gateway/call@0.1.0 set-octets
func callSetOctets(ret *abi.Result)

// `set-header` and `set-trailer` add; every version of the host has them by these names.

//go:wasmimport postern:gateway/call@0.1.0 set-header
func callAddHeader(name, value string, ret *abi.Result)

//go:wasmimport postern:gateway/call@0.1.0 set-trailer
func callAddTrailer(name, value string, ret *abi.Result)

//go:wasmimport postern:gateway/call@0.1.0 peer
func callPeer(ret *peerShape)

//go:wasmimport postern:gateway/call@0.1.0 principal
func callPrincipal(ret *principalShape)

//go:wasmimport postern:gateway/call@0.1.0 claim
func callClaim(name string, ret *abi.OptionalList)

//go:wasmimport postern:gateway/call@0.1.0 remaining-ms
func callRemainingMs() uint64

//go:wasmimport postern:gateway/call@0.1.0 correlation-id
func callCorrelationID(ret *abi.List)

//go:wasmimport postern:gateway/call@0.1.0 traceparent
func callTraceparent(ret *abi.OptionalList)

//go:wasmimport postern:gateway/call@0.1.0 next
func callNext(ret *abi.Result)

//go:wasmimport postern:gateway/call@0.1.0 send
func callSend(message string, ret *abi.Result)
