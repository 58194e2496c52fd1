package snapshot

import (
	"errors"
	"testing"
)

// A discovery document is rendered once, and again only after a failure.
func TestDiscoveryIsRenderedOnce(t *testing.T) {
	snap, made := &Snapshot{}, 0
	broken := errors.New("broken")
	if _, err := snap.Discovery(func(*Snapshot) (*Document, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	for range 3 {
		d, err := snap.Discovery(func(s *Snapshot) (*Document, error) {
			made++
			return &Document{Body: []byte("{}")}, nil
		})
		if err != nil || string(d.Body) != "{}" || made != 1 {
			t.Errorf("%+v, %v, made %d times", d, err, made)
		}
	}
}
