package frame

import (
	"unsafe"

	"postern.dev/postern/internal/abi"
	"postern.dev/postern/internal/host"
)

//go:wasmexport postern:gateway/frame-extension@0.1.0#should-handle
func shouldHandle(kind, direction, flagBits, headerBytes, payloadBytes uint32) uint32 {
	abi.Enter()
	head := Head{Kind: Kind(kind), Direction: Direction(direction), FlagBits: uint8(flagBits), HeaderBytes: headerBytes, PayloadBytes: payloadBytes}
	answer := uint32(0)
	if ShouldHandle(head) {
		answer = 1
	}
	abi.Leave()
	return answer
}

//go:wasmexport postern:gateway/frame-extension@0.1.0#handle-frame
func handleFrame() unsafe.Pointer {
	abi.Enter()
	verdict, err := Tell()
	ret := host.ReturnByte(uint8(verdict), err)
	abi.Leave()
	return ret
}
