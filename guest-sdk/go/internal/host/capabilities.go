package host

// MetricKind is what a metric is.
type MetricKind uint8

const (
	Counter MetricKind = iota
	Gauge
	Histogram
)

// MetricChange is what becomes of a metric.
type MetricChange uint8

const (
	Increase MetricChange = iota
	Set
	Adjust
	Observe
)

// Instance is one that answers for a service.
type Instance struct {
	ID string
	// Addresses are where it is reached: `tcp://10.0.0.7:9090`. None for a plugin of this gateway.
	Addresses []string
	// Version is a semantic version; empty where it states none.
	Version string
	// Zone is empty where it is in none.
	Zone string
	// Weight is its share of the calls beside others; 0 while it is taken out.
	Weight uint32
	// Metadata is in the order of names.
	Metadata []Pair
	// Healthy says whether it answered when it was last asked.
	Healthy bool
	// Stale says that another gateway told of it that is lost at present.
	Stale bool
}

// Listing is all instances of a service at one moment.
type Listing struct {
	// Revision names what is listed: two listings of one service with the same revision are equal.
	Revision string
	// Instances are in the order of IDs.
	Instances []Instance
}
