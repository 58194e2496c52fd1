package httpapi

import (
	"testing"

	"github.com/keyward/keyward/db/dbtest"
)

// Who has just looked at a key and revokes it waits for PostgreSQL three times:
// credential and tenant are in memory.
func TestARevocationAsksTheDatabaseThreeTimes(t *testing.T) {
	proxy := dbtest.CountRoundTrips(t, dbtest.New(t))
	w := newWorldOn(t, proxy.DSN)
	w.tenant("acme")
	fewest := int64(1 << 62) // the listener asks something too, now and then
	for range 10 {
		w.do("POST", "/v1/tenants/acme/tokens", w.root, `{"claims":{}}`).ok(200) // evidence that is not written yet
		kid := w.keys("acme", KeyStateActive)[0].KID
		before := proxy.Count()
		var out RevokeResult
		w.do("POST", "/v1/tenants/acme/keys/"+kid+"/revoke", w.root, `{"reason":"compromised"}`).ok(200, &out)
		fewest = min(fewest, proxy.Count()-before)
		if out.BreaksTokensUntil == nil || out.Key.LastSignedAt == nil {
			t.Fatal("the answer does not know of a token that was signed a moment ago")
		}
	}
	if fewest > 3 {
		t.Errorf("%d round trips, want at most 3", fewest)
	}
}
