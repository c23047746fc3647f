// Package text makes strings what the host takes: a Go string may have any octets, and the host ends an instance
// that hands over one that is not UTF-8.
package text

import "strings"

// Valid has U+FFFD in the place of octets that are not UTF-8.
func Valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
