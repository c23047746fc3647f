package host

import (
	"runtime"
	"structs"
	"unsafe"

	"postern.dev/postern/internal/abi"
	"postern.dev/postern/internal/text"
)

func MetricDeclare(name string, kind MetricKind, help string, bounds []float64) error {
	name, help = text.Valid(name), text.Valid(help)
	abi.Begin()
	defer abi.End()
	metricsDeclare(name, uint32(kind), help, unsafe.Pointer(unsafe.SliceData(bounds)), uint32(len(bounds)), abi.RetResult())
	runtime.KeepAlive(bounds)
	return failed()
}

func ChangeMetric(change MetricChange, name string, labels []Pair, value float64) error {
	name, labels = text.Valid(name), validPairs(labels)
	abi.Begin()
	defer abi.End()
	shapes := pairs(labels)
	first, n := unsafe.Pointer(unsafe.SliceData(shapes)), uint32(len(shapes))
	switch change {
	case Increase:
		metricsIncrease(name, first, n, value, abi.RetResult())
	case Set:
		metricsSet(name, first, n, value, abi.RetResult())
	case Adjust:
		metricsAdjust(name, first, n, value, abi.RetResult())
	case Observe:
		metricsObserve(name, first, n, value, abi.RetResult())
	}
	runtime.KeepAlive(labels)
	return failed()
}

type instanceShape struct {
	_         structs.HostLayout
	ID        abi.List
	Addresses abi.List
	Version   abi.OptionalList
	Zone      abi.OptionalList
	Weight    uint32
	Metadata  abi.List
	Healthy   uint8
	Stale     uint8
}

type listingShape struct {
	_         structs.HostLayout
	Revision  abi.List
	Instances abi.List
}

type optionalListingShape struct {
	_     structs.HostLayout
	Some  uint8
	Value listingShape
}

func (l *listingShape) take() Listing {
	items := abi.Items[instanceShape](l.Instances)
	listing := Listing{Revision: l.Revision.String(), Instances: make([]Instance, len(items))}
	for i, item := range items {
		version, _ := item.Version.Get()
		zone, _ := item.Zone.Get()
		fields := takeFields(item.Metadata)
		metadata := make([]Pair, len(fields))
		for at, field := range fields {
			metadata[at] = Pair{Name: field.Name, Value: string(field.Value)}
		}
		listing.Instances[i] = Instance{
			ID:        item.ID.String(),
			Addresses: item.Addresses.Strings(),
			Version:   version,
			Zone:      zone,
			Weight:    item.Weight,
			Metadata:  metadata,
			Healthy:   item.Healthy != 0,
			Stale:     item.Stale != 0,
		}
	}
	return listing
}

// Discover: of a batch, what is found depends on whose call is answered, so `begin` says whose.
func Discover(service string) (Listing, error) {
	service = text.Valid(service)
	begin()
	defer abi.End()
	directoryDiscover(service, abi.RetResult())
	if err := failed(); err != nil {
		return Listing{}, err
	}
	return (*listingShape)(unsafe.Pointer(&abi.RetResult().Value)).take(), nil
}

// NextChange: changed is false when nothing has changed.
func NextChange(service, revision string, timeoutMs uint32) (listing Listing, changed bool, err error) {
	service, revision = text.Valid(service), text.Valid(revision)
	begin()
	defer abi.End()
	directoryNextChange(service, revision, timeoutMs, abi.RetResult())
	if err := failed(); err != nil {
		return Listing{}, false, err
	}
	option := (*optionalListingShape)(unsafe.Pointer(&abi.RetResult().Value))
	if option.Some == 0 {
		return Listing{}, false, nil
	}
	return option.Value.take(), true, nil
}

//go:wasmimport postern:gateway/metrics@0.1.0 declare
func metricsDeclare(name string, kind uint32, help string, bounds unsafe.Pointer, n uint32, ret *abi.Result)

//go:wasmimport postern:gateway/metrics@0.1.0 increase
func metricsIncrease(name string, labels unsafe.Pointer, n uint32, value float64, ret *abi.Result)

//go:wasmimport postern:gateway/metrics@0.1.0 set
func metricsSet(name string, labels unsafe.Pointer, n uint32, value float64, ret *abi.Result)

//go:wasmimport postern:gateway/metrics@0.1.0 adjust
func metricsAdjust(name string, labels unsafe.Pointer, n uint32, value float64, ret *abi.Result)

//go:wasmimport postern:gateway/metrics@0.1.0 observe
func metricsObserve(name string, labels unsafe.Pointer, n uint32, value float64, ret *abi.Result)

//go:wasmimport postern:gateway/directory@0.1.0 discover
func directoryDiscover(service string, ret *abi.Result)

//go:wasmimport postern:gateway/directory@0.1.0 next-change
func directoryNextChange(service, revision string, timeoutMs uint32, ret *abi.Result)
