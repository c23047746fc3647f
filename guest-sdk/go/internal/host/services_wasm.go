//go:build wasm

package host

import (
	"runtime"
	"unsafe"

	"postern.dev/postern/internal/abi"
	"postern.dev/postern/internal/text"
)

func LogEnabled(level Level) bool {
	abi.Begin()
	defer abi.End()
	return logEnabled(uint32(level)) != 0
}

func LogWrite(level Level, message string, fields []Pair) {
	message = text.Valid(message)
	fields = validPairs(fields)
	abi.Begin()
	defer abi.End()
	shapes := pairs(fields)
	logWrite(uint32(level), message, unsafe.Pointer(unsafe.SliceData(shapes)), uint32(len(shapes)))
	runtime.KeepAlive(fields)
}

func pairs(fields []Pair) []pairShape {
	shapes := make([]pairShape, len(fields))
	for i, field := range fields {
		shapes[i] = pairShape{Name: abi.Text(field.Name), Value: abi.Text(field.Value)}
	}
	return shapes
}

func ConfigGet(key string) (string, bool) {
	key = text.Valid(key)
	abi.Begin()
	defer abi.End()
	configGet(key, retOptional())
	return retOptional().Get()
}

func ConfigAll() []Pair {
	abi.Begin()
	defer abi.End()
	configAll(retList())
	fields := takeFields(*retList())
	all := make([]Pair, len(fields))
	for i, field := range fields {
		all[i] = Pair{Name: field.Name, Value: string(field.Value)}
	}
	return all
}

// optionalList is the parameter `option<list<u8>>`: nil is none.
func optionalList(b []byte) (some uint32, octets string) {
	if b == nil {
		return 0, ""
	}
	return 1, abi.AsText(b)
}

func KvGet(key string) ([]byte, error) {
	key = text.Valid(key)
	abi.Begin()
	defer abi.End()
	kvGet(key, abi.RetResult())
	if err := failed(); err != nil {
		return nil, err
	}
	option := (*abi.OptionalList)(unsafe.Pointer(&abi.RetResult().Value))
	return option.GetBytes(), nil
}

func KvSet(key string, value []byte) error {
	key = text.Valid(key)
	abi.Begin()
	defer abi.End()
	kvSet(key, abi.AsText(value), abi.RetResult())
	return failed()
}

func retBool() bool { return *(*uint8)(unsafe.Pointer(abi.RetResult().Ok())) != 0 }

func KvDelete(key string) (bool, error) {
	key = text.Valid(key)
	abi.Begin()
	defer abi.End()
	kvDelete(key, abi.RetResult())
	if err := failed(); err != nil {
		return false, err
	}
	return retBool(), nil
}

func KvSwap(key string, expected, value []byte) (bool, error) {
	key = text.Valid(key)
	abi.Begin()
	defer abi.End()
	expectedSome, expectedOctets := optionalList(expected)
	valueSome, valueOctets := optionalList(value)
	kvSwap(key, expectedSome, expectedOctets, valueSome, valueOctets, abi.RetResult())
	if err := failed(); err != nil {
		return false, err
	}
	return retBool(), nil
}

// KvKeys: an empty `after` is none.
func KvKeys(prefix, after string, limit uint32) ([]string, error) {
	prefix, after = text.Valid(prefix), text.Valid(after)
	abi.Begin()
	defer abi.End()
	var hasAfter uint32
	if after != "" {
		hasAfter = 1
	}
	kvKeys(prefix, hasAfter, after, limit, abi.RetResult())
	if err := failed(); err != nil {
		return nil, err
	}
	return abi.RetResult().Ok().Strings(), nil
}

// Call: a timeout of 0 is none.
func Call(service, method string, body []byte, headers []Pair, timeoutMs uint64) ([]byte, error) {
	service, method = text.Valid(service), text.Valid(method)
	headers = validPairs(headers)
	abi.Begin()
	defer abi.End()
	shapes := pairs(headers)
	var some, timed uint32
	if timeoutMs > 0 {
		timed = 1
	}
	if timed == 1 || len(headers) > 0 {
		some = 1
	}
	clientCall(service, method, abi.AsText(body), some, unsafe.Pointer(unsafe.SliceData(shapes)),
		uint32(len(shapes)), timed, timeoutMs, abi.RetResult())
	runtime.KeepAlive(headers)
	if err := failed(); err != nil {
		return nil, err
	}
	return abi.RetResult().Ok().Bytes(), nil
}

// Publish: an empty content type is none.
func Publish(topic, contentType string, payload []byte) (uint32, error) {
	topic, contentType = text.Valid(topic), text.Valid(contentType)
	abi.Begin()
	defer abi.End()
	var typed uint32
	if contentType != "" {
		typed = 1
	}
	eventsPublish(topic, typed, contentType, abi.AsText(payload), abi.RetResult())
	if err := failed(); err != nil {
		return 0, err
	}
	return abi.RetResult().Ok().Ptr, nil
}

//go:wasmimport postern:gateway/log@0.1.0 enabled
func logEnabled(level uint32) uint32

//go:wasmimport postern:gateway/log@0.1.0 write
func logWrite(level uint32, message string, fields unsafe.Pointer, n uint32)

//go:wasmimport postern:gateway/config@0.1.0 get
func configGet(key string, ret *abi.OptionalList)

//go:wasmimport postern:gateway/config@0.1.0 all
func configAll(ret *abi.List)

//go:wasmimport postern:gateway/kv@0.1.0 get
func kvGet(key string, ret *abi.Result)

//go:wasmimport postern:gateway/kv@0.1.0 set
func kvSet(key, value string, ret *abi.Result)

//go:wasmimport postern:gateway/kv@0.1.0 delete
func kvDelete(key string, ret *abi.Result)

//go:wasmimport postern:gateway/kv@0.1.0 swap
func kvSwap(key string, hasExpected uint32, expected string, hasValue uint32, value string, ret *abi.Result)

//go:wasmimport postern:gateway/kv@0.1.0 keys
func kvKeys(prefix string, hasAfter uint32, after string, limit uint32, ret *abi.Result)

//go:wasmimport postern:gateway/client@0.1.0 call
func clientCall(service, method, body string, hasOptions uint32, headers unsafe.Pointer, nHeaders uint32, hasTimeout uint32, timeoutMs uint64, ret *abi.Result)

//go:wasmimport postern:gateway/events@0.1.0 publish
func eventsPublish(topic string, hasType uint32, contentType, payload string, ret *abi.Result)
