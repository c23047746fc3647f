package balancer

import (
	"structs"
	"time"
	"unsafe"

	"postern.dev/postern/internal/abi"
)

type instanceShape struct {
	_        structs.HostLayout
	ID       abi.List
	Weight   uint32
	Zone     abi.OptionalList
	Version  abi.OptionalList
	Metadata abi.List
}

type pairShape struct {
	_     structs.HostLayout
	Name  abi.List
	Value abi.List
}

//go:wasmexport postern:gateway/balancer@0.1.0#update
func exportUpdate(list, length uint32) {
	abi.Enter()
	shapes := abi.Items[instanceShape](abi.NewList(list, length))
	instances := make([]Instance, len(shapes))
	for i, shape := range shapes {
		instance := Instance{ID: shape.ID.String(), Weight: shape.Weight, Metadata: map[string]string{}}
		instance.Zone, _ = shape.Zone.Get()
		instance.Version, _ = shape.Version.Get()
		for _, pair := range abi.Items[pairShape](shape.Metadata) {
			instance.Metadata[pair.Name.String()] = pair.Value.String()
		}
		instances[i] = instance
	}
	abi.Taken()
	update(instances)
	abi.Leave()
}

//go:wasmexport postern:gateway/balancer@0.1.0#pick
func exportPick(key uint64) unsafe.Pointer {
	abi.Enter()
	ret := (*struct {
		_     structs.HostLayout
		Some  uint8
		Index uint32
	})(unsafe.Pointer(&abi.Ret))
	index := pick(key)
	ret.Some = 0
	if index >= 0 {
		ret.Some, ret.Index = 1, uint32(index)
	}
	abi.Leave()
	return unsafe.Pointer(&abi.Ret)
}

//go:wasmexport postern:gateway/balancer@0.1.0#done
func exportDone(index, outcome uint32, micros uint64) {
	abi.Enter()
	done(int(index), Outcome(outcome), time.Duration(micros)*time.Microsecond)
	abi.Leave()
}
