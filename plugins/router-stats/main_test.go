package main

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"postern.dev/postern"
	"postern.dev/postern/fake"
)

func fresh(methodsMax int) *stats {
	return &stats{windows: map[key]*window{}, methodsMax: methodsMax, interval: time.Second}
}

var epoch = time.Unix(1_000_000, 0)

func TestAWindowIsToldWithTheFirstCallAfterTheInterval(t *testing.T) {
	s := fresh(8)
	k := key{"users", "Get"}
	for micros := uint64(1); micros <= 99; micros++ {
		if _, is := s.add(k, "", micros, epoch); is {
			t.Fatal("told at once")
		}
	}
	got, is := s.add(k, "not-found", 5000, epoch.Add(1500*time.Millisecond))
	expected := Summary{Service: "users", Method: "Get", Millis: 1500, Calls: 100, Failures: map[string]uint64{"not-found": 1},
		P50Micros: 64, P99Micros: 128, MaxMicros: 5000}
	if !is || !reflect.DeepEqual(got, expected) {
		t.Errorf("told %v %+v", is, got)
	}
	got, is = s.add(k, "", 3, epoch.Add(4*time.Second))
	if !is || got.Calls != 1 || got.Failures != nil || got.P50Micros != 3 {
		t.Errorf("told %v %+v", is, got)
	}
}

func TestMethodsBeyondTheBoundAreCountedTogether(t *testing.T) {
	s := fresh(2)
	for _, method := range []string{"A", "B", "C", "D"} {
		s.add(key{"users", method}, "", 1, epoch)
	}
	if len(s.windows) != 3 || s.windows[others].calls != 2 {
		t.Errorf("windows %v", s.windows)
	}
}

func TestMethodsThatAreNotCalledAnyMoreMakeRoom(t *testing.T) {
	s := fresh(3)
	later := epoch.Add(time.Second)
	s.add(key{"users", "Told"}, "", 1, epoch.Add(-time.Second))
	s.add(key{"users", "Told"}, "", 1, epoch)
	s.add(key{"users", "Old"}, "not-found", 70, epoch)
	s.add(key{"users", "Older"}, "not-found", 1, epoch.Add(-time.Millisecond))
	for _, method := range []string{"A", "B", "C"} {
		s.add(key{"users", method}, "", 1, later)
	}
	for _, method := range []string{"A", "B", "C"} {
		if w := s.windows[key{"users", method}]; w == nil || w.calls != 1 {
			t.Errorf("window of %s is %v", method, w)
		}
	}
	together := s.windows[others]
	if len(s.windows) != 4 || together == nil {
		t.Fatalf("windows %v", s.windows)
	}
	got := together.summary(others, later)
	if got.Calls != 2 || got.Failures["not-found"] != 2 || got.MaxMicros != 70 || got.Millis != 1001 {
		t.Errorf("together %+v", got)
	}
	s.add(key{"users", "D"}, "", 1, later)
	if together.calls != 3 || len(s.windows) != 4 {
		t.Errorf("windows %v", s.windows)
	}
}

func TestTimesAtTheEdges(t *testing.T) {
	for _, micros := range []uint64{0, 1, 1 << 26, 1 << 40} {
		w := window{calls: 1, max: micros}
		s := fresh(1)
		s.windows[key{}] = &window{begun: epoch}
		got, _ := s.add(key{}, "", micros, epoch.Add(time.Hour))
		if got.P99Micros != w.max || got.MaxMicros != micros {
			t.Errorf("%d microseconds are told as %+v", micros, got)
		}
	}
}

func TestOutcomesArePublished(t *testing.T) {
	running = nil
	host := fake.New(t)
	host.Config("interval-ms", 0)
	host.Config("topic", "stats")
	host.Config("methods-max", "many")
	host.Topic("stats", 1)
	call := host.Request("users", "Get", "{}")
	if err := call.Out("", postern.Errorf(postern.NotFound, "no user"), 70*time.Microsecond); err != nil {
		t.Fatal(err)
	}
	if call.Failed().Kind != postern.NotFound {
		t.Errorf("the outcome became %v", call.Failed())
	}
	published := host.Published()
	if len(published) != 1 {
		t.Fatalf("published %v", published)
	}
	var got Summary
	if err := json.Unmarshal(published[0].Payload, &got); err != nil || got.Calls != 1 || got.Failures["not-found"] != 1 || got.MaxMicros != 70 {
		t.Errorf("published %s, %v", published[0].Payload, err)
	}
	if log := host.Log(); len(log) != 1 || log[0].Message != "the default is used" {
		t.Errorf("logged %v", log)
	}
}

func TestACallDoesNotFailWithoutTheGrant(t *testing.T) {
	running = nil
	host := fake.New(t)
	host.Config("interval-ms", 0)
	if err := host.Request("users", "Get", "{}").Out("{}", nil, 0); err != nil {
		t.Error(err)
	}
	if log := host.Log(); len(log) != 1 || log[0].Message != "not published" {
		t.Errorf("logged %v", log)
	}
}
