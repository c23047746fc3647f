package service

import (
	"structs"
	"unsafe"

	"postern.dev/postern/internal/abi"
	"postern.dev/postern/internal/guard"
)

type serviceShape struct {
	_       structs.HostLayout
	Name    abi.List
	Version abi.OptionalList
	Summary abi.List
	Methods abi.List
}

type methodShape struct {
	_          structs.HostLayout
	Name       abi.List
	Summary    abi.List
	Kind       uint8
	Request    abi.List
	Response   abi.List
	Idempotent uint8
}

type pairShape struct {
	_     structs.HostLayout
	Name  abi.List
	Value abi.List
}

// What the last answer points to.
var (
	describedServices []serviceShape
	describedMethods  [][]methodShape
	describedSchemas  []pairShape
)

//go:wasmexport postern:gateway/describe@0.1.0#services
func describe() unsafe.Pointer {
	abi.Enter()
	describedServices, describedMethods = nil, nil
	for _, s := range offered {
		methods := make([]methodShape, 0, len(s.Methods))
		for _, d := range s.Describe() {
			shape := methodShape{
				Name:     abi.KeepText(d.Name),
				Summary:  abi.KeepText(d.Summary),
				Kind:     uint8(d.Shape),
				Request:  abi.KeepText(d.Request),
				Response: abi.KeepText(d.Response),
			}
			if d.Idempotent {
				shape.Idempotent = 1
			}
			methods = append(methods, shape)
		}
		shape := serviceShape{
			Name:    abi.KeepText(s.Name),
			Summary: abi.KeepText(s.Summary),
			Methods: abi.Sequence(methods),
		}
		if s.Version != "" {
			shape.Version = abi.OptionalList{Some: 1, Value: abi.KeepText(s.Version)}
		}
		describedMethods = append(describedMethods, methods)
		describedServices = append(describedServices, shape)
	}
	*(*abi.List)(unsafe.Pointer(&abi.Ret)) = abi.Sequence(describedServices)
	abi.Leave()
	return unsafe.Pointer(&abi.Ret)
}

//go:wasmexport postern:gateway/schemas@0.1.0#schemas
func schemas() unsafe.Pointer {
	abi.Enter()
	describedSchemas = nil
	for _, schema := range allSchemas() {
		describedSchemas = append(describedSchemas, pairShape{
			Name:  abi.KeepText(schema.Name),
			Value: abi.KeepText(schema.JSON),
		})
	}
	*(*abi.List)(unsafe.Pointer(&abi.Ret)) = abi.Sequence(describedSchemas)
	abi.Leave()
	return unsafe.Pointer(&abi.Ret)
}

// allSchemas: a type whose schema cannot be made costs the schemas and not the plugin.
func allSchemas() []Schema {
	defer guard.Log()
	return Schemas()
}
