package postern_test

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"postern.dev/postern"
	"postern.dev/postern/directory"
	"postern.dev/postern/fake"
	"postern.dev/postern/metrics"
)

func fails(t *testing.T, err error, kind postern.Kind) {
	t.Helper()
	if got, failed := fake.KindOf(err); !failed || got != kind {
		t.Errorf("%v, not %v", err, kind)
	}
}

func works(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestWhatWasCountedIsThereByNameAndLabels(t *testing.T) {
	host := fake.New(t)
	mail, kind := metrics.Label{Name: "queue", Value: "mail"}, metrics.Label{Name: "kind", Value: "a"}
	works(t, metrics.Increase("jobs", 1, mail, kind))
	works(t, metrics.Increase("jobs", 2, kind, mail))
	works(t, metrics.Set("backlog", 5))
	works(t, metrics.Adjust("backlog", -2))
	works(t, metrics.Observe("job_seconds", 0.25))
	works(t, metrics.Observe("job_seconds", 0.5))
	if jobs, counted := host.Metric("jobs", mail, kind); jobs != 3 || !counted {
		t.Errorf("jobs %v, %v", jobs, counted)
	}
	if backlog, _ := host.Metric("backlog"); backlog != 3 {
		t.Errorf("backlog %v", backlog)
	}
	if observed := host.Observed("job_seconds"); !reflect.DeepEqual(observed, []float64{0.25, 0.5}) {
		t.Errorf("observed %v", observed)
	}
	if _, counted := host.Metric("jobs"); counted {
		t.Error("a series that nobody counted")
	}
}

func TestWhatTheGatewayRefusesOfMetricsIsRefused(t *testing.T) {
	fake.New(t)
	for _, name := range []string{"", "9a", "a-b", "jobs_total", strings.Repeat("a", 65)} {
		fails(t, metrics.Increase(name, 1), postern.InvalidArgument)
	}
	for _, label := range []string{"plugin", "le", "__a", "a b"} {
		fails(t, metrics.Set("a", 1, metrics.Label{Name: label}), postern.InvalidArgument)
	}
	fails(t, metrics.Set("a", 1, metrics.Label{Name: "b"}, metrics.Label{Name: "b"}), postern.InvalidArgument)
	fails(t, metrics.Set("a", 1, metrics.Label{Name: "b", Value: strings.Repeat("x", 129)}), postern.InvalidArgument)
	fails(t, metrics.Increase("a", -1), postern.InvalidArgument)
	fails(t, metrics.Set("g", math.NaN()), postern.InvalidArgument)
	works(t, metrics.Set("g", 1))
	fails(t, metrics.Observe("g", 1), postern.FailedPrecondition)
	works(t, metrics.Declare("h", metrics.Histogram, "Time", 1, 2))
	fails(t, metrics.Declare("h", metrics.Histogram, "Time", 1), postern.FailedPrecondition)
	fails(t, metrics.Declare("i", metrics.Histogram, "", 2, 1), postern.InvalidArgument)
}

func TestOneSeriesMoreThanAManifestAllowsByDefaultIsRefused(t *testing.T) {
	fake.New(t)
	for n := range 1000 {
		works(t, metrics.Increase("a", 1, metrics.Label{Name: "n", Value: fmt.Sprint(n)}))
	}
	fails(t, metrics.Increase("a", 1), postern.ResourceExhausted)
}

func TestAWatchTellsWhatIsThereAndThenWhatIsDifferent(t *testing.T) {
	host := fake.New(t)
	one := directory.Instance{ID: "users-1", Weight: 100, Healthy: true}
	host.Service("users", one)
	watch := directory.NewWatch("users")
	next := func(want ...directory.Instance) {
		t.Helper()
		listing, changed, err := watch.Next(time.Millisecond)
		works(t, err)
		if !changed || len(listing.Instances) != len(want) || len(want) > 0 && !reflect.DeepEqual(listing.Instances, want) {
			t.Errorf("%v, %v, not %v", listing, changed, want)
		}
	}
	next(one)
	if _, changed, err := watch.Next(time.Millisecond); changed || err != nil {
		t.Errorf("changed %v, %v", changed, err)
	}
	ill := one
	ill.Healthy = false
	host.Service("users", ill)
	next(ill)
	host.Service("users")
	next()
}

func TestAServiceThatIsNotGrantedIsNotLookedUp(t *testing.T) {
	fake.New(t)
	_, err := directory.Discover("users")
	fails(t, err, postern.PermissionDenied)
	_, _, err = directory.NextChange("users", "", time.Millisecond)
	fails(t, err, postern.PermissionDenied)
}
