package health

import (
	"structs"
	"unsafe"

	"postern.dev/postern/internal/abi"
)

//go:wasmexport postern:gateway/health@0.1.0#check
func exportCheck() unsafe.Pointer {
	abi.Enter()
	ret := (*struct {
		_      structs.HostLayout
		Status uint8
		Why    abi.OptionalList
	})(unsafe.Pointer(&abi.Ret))
	status, why := Check()
	ret.Status, ret.Why = uint8(status), abi.OptionalList{}
	if why != "" {
		ret.Why = abi.OptionalList{Some: 1, Value: abi.KeepText(why)}
	}
	abi.Leave()
	return unsafe.Pointer(&abi.Ret)
}
