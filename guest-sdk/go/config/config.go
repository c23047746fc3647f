// Package config is the table `config` of the plugin's manifest.
package config

import (
	"encoding/json"

	"postern.dev/postern"
	"postern.dev/postern/internal/host"
)

// Text is a value as text: strings as they are, everything else as JSON.
func Text(key string) (value string, is bool) { return host.ConfigGet(key) }

// TextOr is Text with a default.
func TextOr(key, otherwise string) string {
	if value, is := host.ConfigGet(key); is {
		return value
	}
	return otherwise
}

// Get is a value of another type, read as JSON. It fails with `not-found` without the key, and with
// `failed-precondition` when the value is not a T.
func Get[T any](key string) (value T, err error) {
	text, is := host.ConfigGet(key)
	if !is {
		return value, postern.Errorf(postern.NotFound, "config key `%s` is not set", key)
	}
	if to, isText := any(&value).(*string); isText {
		*to = text
		return value, nil
	}
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		return value, postern.Errorf(postern.FailedPrecondition, "config key `%s`: %s", key, err)
	}
	return value, nil
}

// All are all keys and values.
func All() map[string]string {
	all := map[string]string{}
	for _, pair := range host.ConfigAll() {
		all[pair.Name] = pair.Value
	}
	return all
}
