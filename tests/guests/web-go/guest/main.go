// A component for any host of `wasi:http` 0.2, by Go's own compiler. The last segment of the path says what it
// does.
package main

import (
	"encoding/binary"
	"runtime"
	"strings"
	"unsafe"
)

// What one write of `wasi:io` takes.
const pieceBytes = 4096

var methods = [...]string{"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"}

func main() {}

//go:wasmexport wasi:http/incoming-handler@0.2.6#handle
func handle(request, out uint32) {
	runtime.GC()
	requestTarget(request, fresh())
	target := string(octets(word(4), word(8)))
	path, _, _ := strings.Cut(target, "?")
	switch path[strings.LastIndexByte(path, '/')+1:] {
	case "facts":
		end(begin(out, 200, "content-type", "text/plain"), facts(request, target))
	case "echo":
		echo(request, begin(out, 200, "content-type", "application/octet-stream"))
	case "status":
		end(begin(out, 418, "x-b", "1", "x-a", "2", "x-b", "3"), "short and stout")
	case "trap":
		panic("no page of that name")
	default:
		end(begin(out, 404), "nothing here")
	}
	dropRequest(request)
}

func facts(request uint32, target string) string {
	requestMethod(request, fresh())
	all := methods[given[0]&0xff] + " " + target + "\n"
	headers := requestHeaders(request)
	fieldsEntries(headers, fresh())
	// A name and a value are two addresses and two lengths.
	list := octets(word(0), 16*word(4))
	for ; len(list) > 0; list = list[16:] {
		at := func(n int) uint32 { return binary.LittleEndian.Uint32(list[4*n:]) }
		all += string(octets(at(0), at(1))) + ": " + string(octets(at(2), at(3))) + "\n"
	}
	dropFields(headers)
	return all
}

// Answers with this status and these headers, and gives the body.
func begin(out, status uint32, headers ...string) uint32 {
	fields := newFields()
	for ; len(headers) > 0; headers = headers[2:] {
		name, value := headers[0], headers[1]
		fieldsAppend(
			fields,
			unsafe.Pointer(unsafe.StringData(name)), uint32(len(name)),
			unsafe.Pointer(unsafe.StringData(value)), uint32(len(value)),
			fresh(),
		)
	}
	response := newResponse(fields)
	responseSetStatus(response, status)
	responseBody(response, fresh())
	body := handleOf("body")
	outparamSet(out, 0, response, 0, 0, 0, 0, 0, 0)
	return body
}

// Ends the response with this text.
func end(body uint32, text string) {
	bodyWrite(body, fresh())
	stream := handleOf("stream")
	write(stream, []byte(text))
	dropOutput(stream)
	bodyFinish(body, 0, 0, fresh())
}

// Whether all of it was taken.
func write(stream uint32, octets []byte) bool {
	for len(octets) > 0 {
		piece := octets[:min(pieceBytes, len(octets))]
		streamWrite(stream, unsafe.Pointer(&piece[0]), uint32(len(piece)), unsafe.Pointer(&given))
		if given[0]&0xff != 0 {
			return false
		}
		octets = octets[len(piece):]
	}
	return true
}

// Gives each piece of the request as it comes.
func echo(request, body uint32) {
	requestConsume(request, fresh())
	incoming := handleOf("body")
	incomingStream(incoming, fresh())
	from := handleOf("stream")
	bodyWrite(body, fresh())
	to := handleOf("stream")
	for {
		streamRead(from, 64<<10, fresh())
		if given[0]&0xff != 0 || !write(to, octets(word(4), word(8))) {
			break
		}
	}
	dropInput(from)
	dropIncoming(incoming)
	dropOutput(to)
	bodyFinish(body, 0, 0, fresh())
}
