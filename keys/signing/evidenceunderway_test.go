package signing

import (
	"testing"
	"time"
)

// What is being written down is not forgotten meanwhile.
func TestEvidenceUnderWay(t *testing.T) {
	var e evidence
	name, at := keyName{kid: "a"}, time.Unix(1000, 0)
	e.add(name, at, at.Add(time.Minute))
	_, written := e.take()
	e.add(name, at.Add(time.Second), at)
	if s := e.of(name); !s.at.Equal(at.Add(time.Second)) || !s.expires.Equal(at.Add(time.Minute)) {
		t.Errorf("while it is written: %+v", s)
	}
	written()
	if s := e.of(name); !s.expires.Equal(at) {
		t.Errorf("once it is written: %+v", s)
	}
}
