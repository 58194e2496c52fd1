package signing

import (
	"testing"
	"time"
)

// lastUse includes the signatures of a flush in progress.
func TestEvidenceDuringFlush(t *testing.T) {
	var e evidence
	name, at := keyName{kid: "a"}, time.Unix(1000, 0)
	e.add(name, at, at.Add(time.Minute))
	_, done := e.startFlush()
	e.add(name, at.Add(time.Second), at)
	if s := e.lastUse(name); !s.at.Equal(at.Add(time.Second)) || !s.expires.Equal(at.Add(time.Minute)) {
		t.Errorf("during the flush: %+v", s)
	}
	done()
	if s := e.lastUse(name); !s.expires.Equal(at) {
		t.Errorf("after the flush: %+v", s)
	}
}
