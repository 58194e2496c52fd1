package moving

import "time"

// What becomes of a key.
const (
	Active     = "active"     // it signs at once
	Standby    = "standby"    // it signs from the next rotation on
	Deprecated = "deprecated" // it verifies, until an end
	Present    = "there"      // Keyward has it already
	Left       = "left"       // it stays behind, and nothing is lost
	Refused    = "refused"    // it stays behind, and its tokens will not verify
)

// VerifyOnly is the role under which no key signs.
const VerifyOnly = "verify-only"

// Known is a key that the tenant has, or had.
type Known struct {
	KID, Alg, State string
	Thumbprint      string // empty: purged
	Imported        bool
}

// Target is the tenant that the keys move to.
type Target struct {
	Keys     []Known
	Policies []string // algorithms
}

// Options say how the keys move.
type Options struct {
	Now     time.Time
	KeepFor time.Duration // how long keys verify whose end the source does not say
	As      string        // what a signing key becomes: Standby, Active or VerifyOnly
	Signs   string        // the kid of the one that signs; empty: the source's choice
}

// Step is what becomes of one key.
type Step struct {
	Key
	Becomes string
	Until   time.Time // of Deprecated
	Why     string
}

// Moves reports whether there is anything to do.
func (s Step) Moves() bool {
	return s.Becomes == Active || s.Becomes == Standby || s.Becomes == Deprecated
}

// Plan decides for every key. Of the private keys of an algorithm the first
// signs, or the one that Options names; the others verify. A key that is there
// already is left alone, so that a plan can be carried out twice.
func Plan(keys []Key, t Target, o Options) []Step {
	p := planner{o, t, map[string]bool{}, map[string]bool{}}
	steps := make([]Step, 0, len(keys))
	for _, k := range keys {
		s := p.planKey(k)
		s.Key, s.Why = k, joinNotes(k.Note, s.Why)
		steps = append(steps, s)
		p.seen[k.KID] = true
	}
	return steps
}
