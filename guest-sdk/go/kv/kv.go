// Package kv is a persistent key/value store, private to the plugin unless the manifest grants a shared one. A
// call that returned has been written to disk. Keys are 1 to 1,024 octets, values up to 1 MiB.
//
// Values are kept as JSON; GetOctets, SetOctets and SwapOctets keep them as they are. Every function fails with
// what the host says: `invalid-argument` for a key or value over its limit, `resource-exhausted`, `unavailable`.
package kv

import (
	"encoding/json"

	"postern.dev/postern"
	"postern.dev/postern/internal/host"
)

// updateAttemptsMax is how often Update tries before it gives up.
const updateAttemptsMax = 16

// Get is the value of a key; found is false when there is no such key. It fails with `data-loss` when the value
// is not a T.
func Get[T any](key string) (value T, found bool, err error) {
	octets, err := host.KvGet(key)
	if err != nil || octets == nil {
		return value, false, err
	}
	value, err = read[T](key, octets)
	return value, err == nil, err
}

// Set sets a key, whatever it was.
func Set[T any](key string, value T) error {
	octets, err := write(value)
	if err != nil {
		return err
	}
	return host.KvSet(key, octets)
}

// Delete says whether there was such a key.
func Delete(key string) (was bool, err error) { return host.KvDelete(key) }

// Insert sets a key that is absent, in one step. Says whether it did.
func Insert[T any](key string, value T) (did bool, err error) {
	octets, err := write(value)
	if err != nil {
		return false, err
	}
	return host.KvSwap(key, nil, octets)
}

// Update reads, changes and writes in one step. change is given the value, the zero value and false where the
// key is absent, and says what it becomes; it is called again when another instance was faster. Update gives
// what is stored afterwards. It fails with what change fails with, and with `aborted` after 16 lost races.
func Update[T any](key string, change func(value T, found bool) (T, error)) (stored T, err error) {
	for range updateAttemptsMax {
		old, err := host.KvGet(key)
		if err != nil {
			return stored, err
		}
		var value T
		if old != nil {
			if value, err = read[T](key, old); err != nil {
				return stored, err
			}
		}
		if value, err = change(value, old != nil); err != nil {
			return stored, err
		}
		octets, err := write(value)
		if err != nil {
			return stored, err
		}
		if did, err := host.KvSwap(key, old, octets); did || err != nil {
			return value, err
		}
	}
	return stored, postern.Errorf(postern.Aborted, "key `%s` was changed by others %d times", key, updateAttemptsMax)
}

// Keys are up to limit (at most 1,000) keys that begin with prefix and come after the key after, in order. An
// empty after begins with the first.
func Keys(prefix, after string, limit int) ([]string, error) {
	return host.KvKeys(prefix, after, uint32(max(limit, 0)))
}

// GetOctets is the value of a key as it is; nil when there is no such key.
func GetOctets(key string) ([]byte, error) { return host.KvGet(key) }

// SetOctets sets a key, whatever it was.
func SetOctets(key string, value []byte) error { return host.KvSet(key, value) }

// SwapOctets sets or deletes (value nil) the key if its value is expected (nil: absent), in one step. Says
// whether it did.
func SwapOctets(key string, expected, value []byte) (did bool, err error) {
	return host.KvSwap(key, expected, value)
}

func read[T any](key string, octets []byte) (value T, err error) {
	if err := json.Unmarshal(octets, &value); err != nil {
		return value, postern.Errorf(postern.DataLoss, "value of key `%s` cannot be read: %s", key, err)
	}
	return value, nil
}

func write[T any](value T) ([]byte, error) {
	octets, err := json.Marshal(value)
	if err != nil {
		return nil, postern.Errorf(postern.Internal, "value cannot be written as JSON: %s", err)
	}
	return octets, nil
}
