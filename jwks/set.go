package jwks

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
)

// A set is a JSON Web Key Set (RFC 7517 section 5) as it was fetched. The
// document is kept whole; of its keys, at most max are kept ready to use.
type set struct {
	raw      string
	entries  []*entry // the signing keys, in the document's order
	byID     map[string][]*entry
	total    int // keys in the document, of whatever kind
	distinct int // signing keys that differ in their numbers
	crowded  bool
	max      int
	signed   *signedSet // nil: it came without a signature

	mu sync.Mutex // held while a key is made ready
}

// An entry is a signing key of a set.
type entry struct {
	Key                       // without its public key
	raw   string              // the JWK
	print fingerprint         // of the public key
	ready atomic.Pointer[Key] // nil if others were used more recently
	used  atomic.Int64        // when, by the monotonic clock; kept in crowded sets
}

var errNotSet = errors.New(`it is not a JSON object with an array "keys"`)

// parseSet parses a document in time that is linear in its length and ends with
// ctx. Keys that are not for verifying signatures here are left out and reported
// to skip. A document that is no set at all is an error; one without keys is not:
// it says that the issuer has none.
func parseSet(ctx context.Context, raw []byte, maxReady, maxKeys int, skip func(kid string, reason error)) (*set, error) {
	s := &set{raw: string(raw), max: maxReady}
	keys, err := splitKeys(s.raw, maxKeys)
	if err != nil {
		return nil, err
	}
	s.total = len(keys)
	seen := map[entryID]bool{}
	for _, raw := range keys {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		key, kid, err := parseKey(raw)
		if err != nil {
			skip(kid, err)
			continue
		}
		e := &entry{Key: Key{id: key.id, alg: key.alg, fixed: key.fixed}, raw: raw, print: fingerprintOf(key.key)}
		if id := (entryID{key.id, key.alg, key.fixed, e.print}); !seen[id] {
			seen[id] = true
			if len(s.entries) < s.max {
				e.ready.Store(key)
			}
			s.entries = append(s.entries, e)
		}
	}
	s.index()
	return s, nil
}

// entryID is equal for two entries that are one key listed twice.
type entryID struct {
	kid   string
	alg   *algorithm
	fixed bool
	print fingerprint
}

// splitKeys returns the keys of a document as they are written.
func splitKeys(document string, maxKeys int) (keys []string, err error) {
	lists, isList := 0, false
	whole := splitMembers(strings.TrimPrefix(document, byteOrderMark), func(name, value string) {
		if name != "keys" {
			return
		}
		lists++
		total := 0
		isList = eachElement(value, func(key string) {
			if total++; total <= maxKeys {
				keys = append(keys, key)
			}
		})
		if total > maxKeys {
			err = fmt.Errorf("it has %d keys, more than %d", total, maxKeys)
		}
	})
	if !whole || lists != 1 || !isList {
		return nil, errNotSet
	}
	return keys, err
}

// index fills the fields that follow from the entries.
func (s *set) index() {
	s.byID = map[string][]*entry{}
	prints := map[fingerprint]bool{}
	for _, e := range s.entries {
		s.byID[e.id] = append(s.byID[e.id], e)
		prints[e.print] = true
	}
	s.distinct = len(prints)
	s.crowded = len(s.entries) > s.max
}

// pick returns the one key that answers to kid and, unless alg is nil, verifies
// alg. Without a kid, that is the only key of the set (as in jwks-rsa). A key that
// is listed several times is one. The second result is the number of different
// keys that could be meant, 1 exactly if the key is not nil.
func (s *set) pick(kid string, alg *algorithm, now instant) (*Key, int) {
	among := s.byID[kid]
	if kid == "" {
		if among = s.entries; s.distinct > 1 {
			return nil, s.distinct
		}
	}
	var found *entry
	matches := 0
	for _, e := range among {
		switch {
		case alg != nil && !e.accepts(alg):
		case found == nil:
			found, matches = e, 1
		case e.print != found.print:
			matches++
		}
	}
	if matches != 1 {
		return nil, matches
	}
	return s.readyKey(found, now), 1
}

// readyKey returns the entry's key, ready to use.
func (s *set) readyKey(e *entry, now instant) *Key {
	if s.crowded {
		e.used.Store(now.mono)
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

// makeRoom drops the ready key that was used least recently, if there are max.
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

// emptyError returns the error of a set that cannot verify anything; nil if it can.
func (s *set) emptyError() error {
	switch {
	case s.total == 0:
		return ErrNoKeys
	case len(s.entries) == 0:
		return ErrNoSigningKeys
	}
	return nil
}
