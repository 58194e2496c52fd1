package snapshot

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys"
)

// The JWKS has the active keys first, then the standby keys, then the deprecated ones by
// when they stopped signing, latest first, whenever they were created: rendered by a
// change and rendered from the rows of keys.
func TestOrderOfSet(t *testing.T) {
	private, err := keys.Generate(jose.ES256, 0)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var all []keys.Key
	var rows []db.PublishedKeysRow
	add := func(kid string, state keys.State, created time.Time, deprecated *time.Time) {
		jwk, err := keys.PublicJWK(private.Public(), jose.ES256, kid)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, keys.Key{KID: kid, Alg: jose.ES256, State: state, CreatedAt: created, DeprecatedAt: deprecated, PublicJWK: jwk})
		rows = append(rows, db.PublishedKeysRow{KID: kid, Alg: "ES256", State: string(state), CreatedAt: created, DeprecatedAt: deprecated, PublicJWK: jwk})
	}
	want := []string{"active", "standby"}
	add("standby", keys.Standby, at, nil)
	add("active", keys.Active, at, nil)
	for i := range 8 {
		kid, stopped := fmt.Sprintf("%d-%s", i, uuid.NewString()), at.Add(time.Duration(i)*time.Hour)
		created := at // all at once, as the first two keys of a policy
		if i%3 == 0 {
			created = at.Add(-time.Duration(i) * time.Hour) // the later it stopped, the earlier it was created
		}
		add(kid, keys.Deprecated, created, &stopped)
		want = slices.Insert(want, 2, kid)
	}
	for range 20 {
		rand.Shuffle(len(all), func(i, j int) { all[i], all[j], rows[i], rows[j] = all[j], all[i], rows[j], rows[i] })
		rendered, err := RenderSet(at, all, nil)
		if err != nil {
			t.Fatal(err)
		}
		read, err := publishedSet(db.Public{Keys: rows, ChangedAt: at})
		if err != nil {
			t.Fatal(err)
		}
		for way, set := range map[string]Set{"a change": rendered, "rows": read} {
			var body struct{ Keys []struct{ KID string } }
			if err := json.Unmarshal(set.Body, &body); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, k := range body.Keys {
				got = append(got, k.KID)
			}
			if !slices.Equal(got, want) {
				t.Fatalf("by %s: %q, want %q", way, got, want)
			}
		}
	}
}
