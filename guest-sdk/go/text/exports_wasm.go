package text

import (
	"unsafe"

	"postern.dev/postern/internal/method"
)

//go:wasmexport postern:gateway/text-handler@0.1.0#handle-text
func handleText(service, serviceLen, called, calledLen, body, bodyLen uint32) unsafe.Pointer {
	return method.Enter(service, serviceLen, called, calledLen, body, bodyLen)
}
