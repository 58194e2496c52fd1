package jwks

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// A set is a JSON Web Key Set (RFC 7517 section 5) as it was fetched. The
// document is kept whole; of its keys, at most max are kept ready to use.
type set struct {
	raw     []byte
	entries []*entry // the signing keys, in the document's order
	byID    map[string][]*entry
	total   int // keys in the document, of whatever kind
	crowded bool
	max     int

	mu sync.Mutex // held while a key is made ready
}

// An entry is a signing key of a set.
type entry struct {
	Key                       // without its public key
	raw   json.RawMessage     // what it is made from
	ready atomic.Pointer[Key] // nil if others were used more recently
	used  atomic.Int64        // when, in ns of the caller's clock; kept in crowded sets
}

var errNotSet = errors.New(`it is not a JSON object with an array "keys"`)

// parseSet reads a document. Keys that are not for verifying signatures here
// are left out and told to skip; a document that is no set at all is an error,
// one without keys is not: it says that the issuer has none.
func parseSet(raw []byte, maxReady, maxKeys int, skip func(kid string, reason error)) (*set, error) {
	var document struct {
		Keys *[]json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(raw, &document); err != nil || document.Keys == nil {
		return nil, errors.Join(errNotSet, err)
	}
	keys := *document.Keys
	if len(keys) > maxKeys {
		return nil, fmt.Errorf("it has %d keys, more than %d", len(keys), maxKeys)
	}
	s := &set{raw: raw, byID: map[string][]*entry{}, total: len(keys), max: maxReady}
	for _, raw := range keys {
		key, kid, err := parseKey(raw)
		if err != nil {
			skip(kid, err)
			continue
		}
		s.add(key, raw)
	}
	s.crowded = len(s.entries) > s.max
	return s, nil
}

// add takes a key in, unless it is there already.
func (s *set) add(key *Key, raw json.RawMessage) {
	e := &entry{Key: Key{id: key.id, alg: key.alg, fixed: key.fixed}, raw: bytes.Clone(raw)}
	for _, other := range s.byID[key.id] {
		if twin := s.key(other, 0); twin.alg == key.alg && twin.fixed == key.fixed && twin.PEM() == key.PEM() {
			return
		}
	}
	if len(s.entries) < s.max {
		e.ready.Store(key)
	}
	s.entries = append(s.entries, e)
	s.byID[key.id] = append(s.byID[key.id], e)
}

// pick finds the one key that answers to kid and, unless alg is nil, verifies
// alg. Without a kid, that is the only key of the set (as in jwks-rsa). The
// number of keys that could be meant is 1 exactly if the key is not nil.
func (s *set) pick(kid string, alg *algorithm, now int64) (*Key, int) {
	among := s.byID[kid]
	if kid == "" {
		if among = s.entries; len(among) > 1 {
			return nil, len(among)
		}
	}
	var found *entry
	matches := 0
	for _, e := range among {
		if alg == nil || e.accepts(alg) {
			found = e
			matches++
		}
	}
	if matches != 1 {
		return nil, matches
	}
	return s.key(found, now), 1
}

// key is the entry's key, ready to use.
func (s *set) key(e *entry, now int64) *Key {
	if s.crowded {
		e.used.Store(now)
	}
	if k := e.ready.Load(); k != nil {
		return k
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key, _, err := parseKey(e.raw)
	if err != nil { // cannot be: it was parsed before
		panic(err)
	}
	s.makeRoom()
	e.ready.Store(key)
	return key
}

// makeRoom lets go of the key that was used least recently.
func (s *set) makeRoom() {
	var oldest *entry
	ready := 0
	for _, e := range s.entries {
		if e.ready.Load() == nil {
			continue
		}
		ready++
		if oldest == nil || e.used.Load() < oldest.used.Load() {
			oldest = e
		}
	}
	if ready >= s.max && oldest != nil {
		oldest.ready.Store(nil)
	}
}

// empty is the error of a set that cannot verify anything; nil if it can.
func (s *set) empty() error {
	switch {
	case s.total == 0:
		return ErrNoKeys
	case len(s.entries) == 0:
		return ErrNoSigningKeys
	}
	return nil
}
