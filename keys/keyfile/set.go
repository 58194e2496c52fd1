package keyfile

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"github.com/keyward/keyward/keys/tokens"
)

// Set is what a file with public keys holds.
type Set struct {
	Keys    []Key
	IsSet   bool      // a JWK Set, even of one key
	Skipped []Skipped // in the order of the set
	fault   error     // of the first key that was refused, or that is of another kind
	faultAt int       // its place in the set
}

// Skipped is a key of a JWK Set that is not imported.
type Skipped struct {
	Index   int    // in the set
	KID     string // its own; empty: none
	Reason  string
	Refused bool // tokens of the key will not verify; false: it is no key for signatures, of a kind that Keyward does not have, already there, or ended at its issuer
}

// Refuse skips a key whose tokens will not verify. The others come in all the same.
func (s *Set) Refuse(index int, kid string, err error) {
	s.blame(index, err)
	s.Skip(Skipped{Index: index, KID: kid, Reason: Fault(err), Refused: true})
}

// Skip adds a key that is not imported.
func (s *Set) Skip(k Skipped) {
	at, _ := slices.BinarySearchFunc(s.Skipped, k.Index, func(a Skipped, index int) int { return cmp.Compare(a.Index, index) })
	s.Skipped = slices.Insert(s.Skipped, at, k)
}

// skip skips a key that Keyward has no use for. What its parser says of it is the fault
// of a set that has nothing else, if it was made for signatures.
func (s *Set) skip(i int, kid, reason string, j *foreignJWK) {
	s.Skip(Skipped{Index: i, KID: kid, Reason: reason})
	if _, err := j.parseKey(false); j.labels().forSignatures() {
		s.blame(i, err)
	}
}

// blame keeps the fault of the first key in the order of the set.
func (s *Set) blame(index int, err error) {
	if err != nil && (s.fault == nil || index < s.faultAt) {
		s.fault, s.faultAt = err, index
	}
}

// Err returns why nothing of the file can be imported, nil if something can or nothing
// was refused.
func (s *Set) Err() error {
	if len(s.Keys) > 0 {
		return nil
	}
	return s.fault
}

// Fault returns why a key is refused, worded to follow its name or "it", without quoting
// it. Every door to an import words it so: the API, key import and the plan of import-from.
func Fault(err error) string {
	var claim *tokens.ClaimError
	if !errors.As(err, &claim) {
		return "cannot be imported: " + err.Error()
	}
	member := claim.Field
	for _, key := range []string{FieldPrivate, FieldPublic} {
		if rest, inside := strings.CutPrefix(member, key); inside {
			member = rest
		}
	}
	if _, rest, inside := strings.Cut(member, "]"); inside {
		member = rest
	}
	if member = strings.TrimPrefix(member, "."); member == "" {
		return claim.Message
	}
	return "cannot be imported: its " + member + " " + claim.Message
}
