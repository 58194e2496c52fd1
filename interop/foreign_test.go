package interop

import (
	"crypto/rand"
	"encoding/base64"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestForeignReaders runs every reader through the same scenarios, over HTTPS, and
// fails where one behaves otherwise than foreignReaders says: also where it has
// learned something. Then docs/verifiers.md must say the same.
func TestForeignReaders(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var seen []observation
	t.Run("readers", func(t *testing.T) {
		turns := make(chan struct{}, 6) // so many readers at once: they are many programs
		for _, r := range foreignReaders {
			t.Run(r.name, func(t *testing.T) {
				t.Parallel()
				r.skipUnlessPresent(t)
				turns <- struct{}{}
				defer func() { <-turns }()
				o := r.observe(t)
				if t.Failed() {
					return
				}
				mu.Lock()
				defer mu.Unlock()
				seen = append(seen, o)
			})
		}
	})
	compareVerifiers(t, seen)
}

// observation is what a run has shown of a reader.
type observation struct {
	*reader
	version string
	conduct
}

func (r *reader) observe(t *testing.T) observation {
	o := observation{reader: r}
	if r.isParty {
		o = r.observeParty(t)
	} else {
		o.mix(t)
		o.live(t)
		o.carry(t)
	}
	want := r.conduct
	if o.reads != want.reads {
		t.Errorf("of the mixed sets it reads %q, want %q", o.reads, want.reads)
	}
	if !slices.Equal(sortAlgorithms(o.lacks), sortAlgorithms(want.lacks)) {
		t.Errorf("it lacks %v, want %v", o.lacks, want.lacks)
	}
	if o.refuses != want.refuses {
		t.Errorf("two rotations within the lifetime of its cache: it refuses at first is %v, want %v", o.refuses, want.refuses)
	}
	if o.trusts != want.trusts {
		t.Errorf("a revocation in the mode standby: it goes on to trust is %v, want %v", o.trusts, want.trusts)
	}
	if o.keeps != want.keeps {
		t.Errorf("a revocation in the mode fresh: it goes on to trust is %v, want %v", o.keeps, want.keeps)
	}
	if o.remembers != want.remembers {
		t.Errorf("a revocation in the mode fresh: it remembers tokens that it has verified is %v, want %v", o.remembers, want.remembers)
	}
	return o
}

// sortAlgorithms orders as Keyward lists them.
func sortAlgorithms(some []string) (sorted []string) {
	for _, alg := range algorithms {
		if slices.Contains(some, alg) {
			sorted = append(sorted, alg)
		}
	}
	return sorted
}

// mixedTenants have keys of many algorithms, and one token of each. All readers
// share them: no key is changed there.
type mixedTenant struct {
	*tenant
	tokens map[string]token
}

var (
	mixedTenants = map[string]mixedTenant{}
	mixing       sync.Mutex
)

func (s mixedSet) tenant(t *testing.T) mixedTenant {
	t.Helper()
	mixing.Lock()
	defer mixing.Unlock()
	if m, made := mixedTenants[s.name]; made {
		return m
	}
	has := slices.DeleteFunc(slices.Clone(algorithms), func(alg string) bool { return !s.has(alg) })
	m := mixedTenant{signingWith(t, has), map[string]token{}}
	for _, alg := range has {
		m.tokens[alg] = m.token(t, alg)
	}
	mixedTenants[s.name] = m
	return m
}

// mix finds the largest set that the reader reads, and the algorithms that it
// verifies there.
func (o *observation) mix(t *testing.T) {
	for _, set := range mixedSets {
		tn := set.tenant(t)
		s := o.open(t, o.reader, tn.tenant, algorithms)
		o.version = s.version
		if !s.accepts(t, "ES256, mixed set: "+set.name, tn.tokens["ES256"]) {
			continue
		}
		o.reads, o.lacks = set.name, slices.Clone(set.lack)
		for _, alg := range algorithms {
			if set.has(alg) && !s.accepts(t, alg+", mixed set: "+set.name, tn.tokens[alg]) {
				o.lacks = append(o.lacks, alg)
			}
		}
		s.mustRefuse(t, "a forged token", forge(tn.tokens["ES256"]))
		s.mustRefuse(t, "a token for somebody else", answer[token](t, "POST", tn.path("/tokens"), object{"claims": object{"sub": "alice", "aud": "somebody-else"}}))
		s.mustRefuse(t, "a token of another tenant", newTenant(t, object{}).token(t, "ES256"))
		s.mustAccept(t, "a token after refused ones", tn.tokens["ES256"])
		return
	}
}

// forge changes one character in the middle of the signature.
func forge(tok token) token {
	at := len(tok.Token) - 40
	other := "A"
	if tok.Token[at] == 'A' {
		other = "B"
	}
	tok.Token = tok.Token[:at] + other + tok.Token[at+1:]
	return tok
}

// live goes through the life of a key: two rotations within the lifetime of the
// reader's cache, a revocation in the mode standby, and one in the mode fresh.
// Before each it opens the reader anew, with an empty cache.
func (o *observation) live(t *testing.T) {
	tn := byHand(t, "ES256")
	open := func() session { return o.open(t, o.reader, tn, []string{"ES256"}) }
	rotate := func() token {
		if err := tn.rotate(t.Context(), "ES256"); err != nil {
			t.Fatal(err)
		}
		return tn.token(t, "ES256")
	}
	revoke := func(tok token, mode string) token {
		if _, err := tn.revoke(t.Context(), tok, mode); err != nil {
			t.Fatal(err)
		}
		return tn.token(t, "ES256")
	}

	first, s := tn.token(t, "ES256"), open()
	s.mustAccept(t, "a token before any rotation", first)
	second := rotate()
	s.mustAccept(t, "a token of a key that was published ahead", second)
	third := rotate()
	o.refuses = !s.accepts(t, "a token of a key that its cache lacks", third)
	s.mustAccept(t, "an old token after two rotations", first)

	s = open()
	s.mustAccept(t, "an old token, seen for the first time", first)
	s.mustAccept(t, "a new token, seen for the first time", third)
	fourth := revoke(third, "standby")
	s.mustAccept(t, "a token of the standby", fourth)
	o.trusts = s.accepts(t, "a token of the key revoked in the mode standby", third)

	s = open()
	s.mustAccept(t, "a token before the second revocation", fourth)
	another := tn.token(t, "ES256")
	fifth := revoke(fourth, "fresh")
	if !s.accepts(t, "a token of the fresh key", fifth) && o.coolsDown {
		eventually(t, o.name+" fetches again", func() bool { return s.accepts(t, "a token of the fresh key", fifth) })
	}
	o.keeps = s.accepts(t, "a new token of the key revoked in the mode fresh", another)
	o.remembers = s.accepts(t, "an old token of the key revoked in the mode fresh", fourth) != o.keeps

	s = open()
	s.mustRefuse(t, "a token of the key revoked in the mode standby, seen for the first time", third)
	s.mustRefuse(t, "a token of the key revoked in the mode fresh, seen for the first time", fourth)
	s.mustAccept(t, "a token of the fresh key, seen for the first time", fifth)
}

// mostKeys is how many keys of one policy may be published, by the API. An import
// leaves room for the standby that the next rotation makes.
const mostKeys = 64

var largestTenant struct {
	once sync.Once
	*tenant
}

// largest is a tenant that publishes as many keys of 4096 bits as a policy may. Two
// of them sign; the others only verify and are random numbers, which nobody has a
// private key of.
func largest(t *testing.T) *tenant {
	t.Helper()
	l := &largestTenant
	l.once.Do(func() {
		tn := newTenant(t, object{"policies": []object{{"alg": "RS256", "rsa_bits": 4096, "rotation_interval_seconds": 0, "max_published_keys": mostKeys}}})
		var keys []object
		for range mostKeys - 3 {
			keys = append(keys, object{"kty": "RSA", "alg": "RS256", "use": "sig", "e": "AQAB", "n": base64.RawURLEncoding.EncodeToString(modulus(t))})
		}
		answer[object](t, "POST", tn.path("/keys/import"), object{"public_key": object{"keys": keys}, "expires_at": time.Now().AddDate(1, 0, 0).UTC().Format(time.RFC3339)})
		if n := len(tn.published(t)); n != mostKeys-1 {
			t.Fatalf("%d keys are published, want %d", n, mostKeys-1)
		}
		l.tenant = tn
	})
	if l.tenant == nil {
		t.Fatal("there is no largest set")
	}
	return l.tenant
}

// carry shows the reader the largest keys, in the largest set of one policy.
func (o *observation) carry(t *testing.T) {
	tn := largest(t)
	o.open(t, o.reader, tn, []string{"RS256"}).mustAccept(t, "a token by RSA of 4096 bits, in the largest set of such keys", tn.token(t, "RS256"))
}

// modulus is an odd number of 4096 bits without small factors.
func modulus(t *testing.T) []byte {
	t.Helper()
	small := new(big.Int).MulRange(1, 2000)
	for {
		n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 4094))
		if err != nil {
			t.Fatal(err)
		}
		n.SetBit(n.SetBit(n, 4095, 1), 0, 1)
		if new(big.Int).GCD(nil, nil, n, small).BitLen() == 1 {
			return n.Bytes()
		}
	}
}

// algorithmOf is what a token's header says.
func algorithmOf(token string) string {
	header, _, _ := strings.Cut(token, ".")
	text, _ := base64.RawURLEncoding.DecodeString(header) // a refusal follows
	_, rest, _ := strings.Cut(string(text), `"alg":"`)
	alg, _, _ := strings.Cut(rest, `"`)
	return alg
}
