package host

import (
	"postern.dev/postern/internal/abi"
	"postern.dev/postern/internal/text"
)

// What requests, responses and frames are asked by. Each takes the import that it calls: what a plugin does not
// call is not imported.

// nameOf asks for a text.
func nameOf(ask func(*abi.List)) string {
	abi.Begin()
	defer abi.End()
	ask(retList())
	return retList().String()
}

// textOf asks for an optional text by a name.
func textOf(name string, ask func(string, *abi.OptionalList)) (string, bool) {
	name = text.Valid(name)
	abi.Begin()
	defer abi.End()
	ask(name, retOptional())
	return retOptional().Get()
}

// fieldsOf asks for headers.
func fieldsOf(ask func(*abi.List)) []Field {
	abi.Begin()
	defer abi.End()
	ask(retList())
	return takeFields(*retList())
}

// octetsOf asks for octets, which may be refused.
func octetsOf(ask func(*abi.Result)) ([]byte, error) {
	abi.Begin()
	defer abi.End()
	ask(abi.RetResult())
	if err := failed(); err != nil {
		return nil, err
	}
	return abi.RetResult().Ok().Bytes(), nil
}

// giveField hands over a name and a value.
func giveField(name, value string, give func(string, string, *abi.Result)) error {
	name, value = text.Valid(name), text.Valid(value)
	abi.Begin()
	defer abi.End()
	give(name, value, abi.RetResult())
	return failed()
}

// giveName hands over a name.
func giveName(name string, give func(string, *abi.Result)) error {
	name = text.Valid(name)
	abi.Begin()
	defer abi.End()
	give(name, abi.RetResult())
	return failed()
}

// giveOctets hands over octets.
func giveOctets(octets []byte, give func(string, *abi.Result)) error {
	abi.Begin()
	defer abi.End()
	give(abi.AsText(octets), abi.RetResult())
	return failed()
}
