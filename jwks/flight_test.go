package jwks

import "testing"

// A caller that had no copy, and finds that a fetch has landed meanwhile, takes the copy
// of that one instead of fetching again.
func TestAFetchThatHasLandedIsNotRepeated(t *testing.T) {
	client, err := New(Config{Local: Static([]byte(`{"keys":[]}`))})
	if err != nil {
		t.Fatal(err)
	}
	s := client.local
	have, _, err := s.usableCopy(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if newer, f, err := s.joinFlight(client.clock.read(), nil, false); newer != have || f != nil || err != nil {
		t.Errorf("%p, %v, %v; want the copy %p", newer, f, err, have)
	}
	newer, f, err := s.joinFlight(client.clock.read(), have, false)
	if newer != nil || f == nil || err != nil {
		t.Fatalf("%p, %v, %v; want a fetch", newer, f, err)
	}
	<-f.done
}
