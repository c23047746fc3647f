// Package host is the seam between the SDK and what it runs on: wasm.go calls the gateway's imports, and
// native.go answers from a table that package fake fills. Both have the same functions.
package host

import "postern.dev/postern/internal/text"

// Field is one header or trailer.
type Field struct {
	Name  string
	Value []byte
}

// HTTP is what HTTP says of a call beside headers and body.
type HTTP struct {
	// Method is `GET`, `POST`, ...
	Method string
	// Scheme is `http` or `https`; empty where the request did not say.
	Scheme string
	// Authority is host and port as the client named them; empty where it named none.
	Authority string
	// Path is as the client sent it, percent-encoded.
	Path string
	// Query follows the first `?` of the target; empty also where there is none.
	Query string
}

// Peer is who is at the other end of the session.
type Peer struct {
	// Transport is `tcp`, `udp`, `http`, `unix`, `memory` or `plugin`; others may come.
	Transport string
	// Address is `address:port` where the transport has one, else empty.
	Address string
}

// Principal is who calls, as an authenticator established it.
type Principal struct {
	Name  string
	Roles []string
}

// BodyKind is what a body is.
type BodyKind uint8

const (
	// Message: one message, or none.
	Message BodyKind = iota
	// Messages: whole units, one after the other.
	Messages
	// OctetsBody: one body in pieces, whose ends mean nothing.
	OctetsBody
)

// Level is how much a line of the log matters.
type Level uint8

const (
	Trace Level = iota
	Debug
	Info
	Warn
	Error
)

// Pair is a name and a text.
type Pair struct {
	Name  string
	Value string
}

// validPairs are the pairs with U+FFFD in the place of octets that are not UTF-8.
func validPairs(fields []Pair) []Pair {
	valid := fields
	for i, field := range fields {
		fixed := Pair{Name: text.Valid(field.Name), Value: text.Valid(field.Value)}
		if fixed == field {
			continue
		}
		if &valid[0] == &fields[0] {
			valid = append([]Pair{}, fields...)
		}
		valid[i] = fixed
	}
	return valid
}
