package jwks

import "testing"

// The kids heard of last are kept, and no more of them.
func TestRevokedKidsAreBounded(t *testing.T) {
	var r revoked
	for n := range 3 * maxRevoked {
		r.add(string(rune('a' + n)))
		r.add(string(rune('a' + n)))
	}
	_, oldest := r.kids["a"]
	_, latest := r.kids[string(rune('a'+3*maxRevoked-1))]
	if len(r.kids) != maxRevoked || len(r.order) != maxRevoked || oldest || !latest {
		t.Errorf("%d kids, %d in order, oldest %t, latest %t", len(r.kids), len(r.order), oldest, latest)
	}
}
