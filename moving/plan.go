package moving

import "time"

// Values of Step.Becomes.
const (
	Active     = "active"     // signs at once
	Standby    = "standby"    // signs from the next rotation on
	Deprecated = "deprecated" // verifies until an expiry
	Present    = "there"      // already imported
	Left       = "left"       // not imported, without loss
	Refused    = "refused"    // not imported; its tokens will not verify
)

// VerifyOnly is the value of Options.As for importing no signing key.
const VerifyOnly = "verify-only"

// Known is a present or former key of the tenant.
type Known struct {
	KID, Alg, State string
	Thumbprint      string // empty: purged
	Imported        bool
}

// Target is the state of the importing tenant.
type Target struct {
	Keys     []Known
	Policies []string // algorithms
}

// Options are the user's choices.
type Options struct {
	Now     time.Time
	KeepFor time.Duration // for keys without an expiry at the source
	As      string        // role of a signing key: Standby, Active or VerifyOnly
	Signs   string        // kid of the signing key; empty: the source's choice
}

// Step is the planned import of one key.
type Step struct {
	Key
	Becomes string
	Until   time.Time // expiry, if Deprecated
	Why     string
}

// Moves reports whether the step imports the key.
func (s Step) Moves() bool {
	return s.Becomes == Active || s.Becomes == Standby || s.Becomes == Deprecated
}

// Plan returns a step for every key. The first private key of an algorithm
// signs, or the key named by Options; the others verify. Keys already imported
// are skipped, so that a plan can be executed twice.
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
