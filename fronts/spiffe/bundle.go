package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/internal/age"
	"github.com/keyward/keyward/internal/cachecontrol"
	"github.com/keyward/keyward/jwks"
)

// algorithms are those of JWT-SVIDs (JWT-SVID, section 2.1).
var algorithms = []jose.SignatureAlgorithm{"RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512"}

// isAllowed reports whether a bundle may have a key.
func isAllowed(key *jwks.Key) bool { return slices.Contains(algorithms, key.Algorithm()) }

// bundle is the SPIFFE bundle of a trust domain.
type bundle struct {
	document []byte // the JWK Set
	issuer   string // of the tenant
	sequence uint64
	keys     int
	hint     time.Duration // how often verifiers shall ask, a second or more

	fetched age.Instant
	keep    time.Duration // how long it may be used after fetched, minKeep or more
	expires time.Time     // the exp of the signed set
}

// minKeep is the longest time from the begin of a request to the end of the next one while
// Keyward answers: without it there would be no bundle between two fetches of a tenant with
// a short max-age and no stale-if-error.
const minKeep = fetchTimeout + pollInterval + fetchTimeout

// newBundle makes a bundle from a tenant's set, which came with header at fetched.
func newBundle(set *signedSet, header http.Header, fetched age.Instant) (*bundle, error) {
	var claims struct {
		Issuer  string `json:"iss"`
		Expires int64  `json:"exp"`
		Epoch   int64  `json:"epoch"`
		Version int64  `json:"version"`
	}
	if err := json.Unmarshal(set.claims, &claims); err != nil {
		return nil, err
	}
	sequence, err := sequenceOf(claims.Epoch, claims.Version)
	if err != nil {
		return nil, err
	}
	b := &bundle{issuer: claims.Issuer, sequence: sequence, fetched: fetched, expires: time.Unix(claims.Expires, 0)}
	maxAge := cachecontrol.Directive(header, "max-age")
	b.hint, b.keep = max(maxAge, time.Second), max(maxAge+cachecontrol.Directive(header, "stale-if-error"), minKeep)
	keys := authorities(set.keys)
	b.keys = len(keys)
	b.document, err = json.Marshal(struct {
		Sequence    uint64            `json:"spiffe_sequence"`
		RefreshHint int64             `json:"spiffe_refresh_hint"`
		Keys        []jose.JSONWebKey `json:"keys"`
	}{sequence, int64(b.hint / time.Second), keys})
	return b, err
}

// authorities returns the keys that verify JWT-SVIDs, without members that SPIFFE does not
// define, such as alg (SPIFFE Trust Domain and Bundle, section 4.2). A key that was imported
// for several algorithms is therefore one here.
func authorities(set []*jwks.Key) []jose.JSONWebKey {
	keys := []jose.JSONWebKey{} // a bundle must have keys, if none then an empty list (section 4.1.3)
	for _, key := range set {
		isSame := func(k jose.JSONWebKey) bool { return k.KeyID == key.ID() }
		if isAllowed(key) && key.ID() != "" && !slices.ContainsFunc(keys, isSame) {
			keys = append(keys, jose.JSONWebKey{Key: key.Public(), KeyID: key.ID(), Use: "jwt-svid"})
		}
	}
	return keys
}

// A sequence has versionBits for the version, and is an integer that JSON parsers of every
// language read exactly (RFC 8259, section 6).
const (
	versionBits  = 40
	sequenceBits = 53
)

// sequenceOf returns the sequence number of a set. Keyward's version of a tenant rises with
// every change, and its epoch with every recovery of the database, after which versions may
// begin again at smaller ones: no front has state of its own, and all say the same.
func sequenceOf(epoch, version int64) (uint64, error) {
	if version <= 0 || version >= 1<<versionBits || epoch < 0 || epoch >= 1<<(sequenceBits-versionBits) {
		return 0, fmt.Errorf("the set has epoch %d and version %d: %w", epoch, version, errNoSequence)
	}
	return uint64(epoch)<<versionBits | uint64(version), nil
}

var errNoSequence = errors.New("they make no sequence number")

// isUsable reports whether the bundle may be served: not beyond the exp of the set, nor
// longer after the last answer of Keyward than its stale-if-error allows (RFC 5861), minKeep
// at least.
func (b *bundle) isUsable(now func() time.Time) bool {
	at := age.Read(now)
	return at.Wall().Before(b.expires) && b.fetched.Within(b.keep, at)
}
