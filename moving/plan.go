package moving

import (
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/internal/plural"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/keyfile"
	"github.com/keyward/keyward/keys/tokens"
)

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

// maxKept is how long an imported public key is kept at most: ten years, less the time
// between the plan and its run.
const maxKept = (10*365 - 1) * 24 * time.Hour

// Known is a present or former key of the tenant.
type Known struct {
	KID, Alg, State string
	Algs            []string // all, if it has several
	Thumbprint      string   // empty: purged
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
func Plan(all []Key, t Target, o Options) []Step {
	all = slices.Clone(all)
	for i := range all {
		if k := &all[i]; k.RefuseReason == "" && k.SkipReason == "" {
			k.fault = k.judge(false)
		}
	}
	mergeAlgorithms(all, t, o)
	p := planner{o, t, conflicts(all), map[string]bool{}}
	steps := make([]Step, 0, len(all))
	for _, k := range all {
		s := p.planKey(k)
		if s.Key = k; s.Moves() && len(k.Algs) > 0 {
			s.Why = joinNotes("for "+strings.Join(k.Algs, ", "), s.Why)
		}
		s.Why = joinNotes(k.Note, s.Why)
		steps = append(steps, s)
	}
	FollowTwins(steps)
	return steps
}

// FollowTwins gives the other entries of a key that does not come in the outcome of its
// first one. Call it after refusing steps.
func FollowTwins(steps []Step) {
	for i := range steps {
		s := &steps[i]
		if first := steps[s.twinOf]; s.twin && !first.Moves() {
			s.Becomes, s.Why = first.Becomes, first.Why
		}
	}
}

// sound reports whether nothing in the key itself keeps it out. One that is not sound
// keeps no other key of its kid out.
func (k Key) sound() bool { return k.RefuseReason == "" && k.SkipReason == "" && k.fault == "" }

// OnlyStrangers reports whether a plan has keys, and none that is for signatures and of a
// kind that Keyward has.
func OnlyStrangers(steps []Step) bool {
	return len(steps) > 0 && !slices.ContainsFunc(steps, func(s Step) bool { return !s.Stranger })
}

// OnlyLeft reports whether a plan has keys, and all of them stay behind: none comes in, and
// none is there already.
func OnlyLeft(steps []Step) bool {
	return len(steps) > 0 && !slices.ContainsFunc(steps, func(s Step) bool { return s.Becomes != Left })
}

// conflicts returns, by kid, why none of its keys can be imported: the source has several
// keys of this kid, and Keyward keeps one.
func conflicts(all []Key) map[string]string {
	first, why := map[string]Key{}, map[string]string{}
	for _, k := range all {
		if !k.sound() {
			continue
		}
		other, there := first[k.KID]
		switch {
		case !there:
			first[k.KID] = k
		case other.Public.Thumbprint() != k.Public.Thumbprint():
			why[k.KID] = keyfile.Fault(tokens.Invalid("kid", keyfile.SharedKID))
		}
	}
	return why
}

// mergeAlgorithms gives the first entry of each key all the algorithms that the source has
// the key for under its kid, and marks the others as its twins. A private entry counts as
// the first. A key that is to sign joins the first algorithm with a policy.
func mergeAlgorithms(all []Key, t Target, o Options) {
	first := map[[2]string]int{} // by kid and thumbprint
	algs := map[[2]string][]string{}
	for i, k := range all {
		if !k.sound() {
			continue
		}
		id := [2]string{k.KID, k.Public.Thumbprint()}
		if !slices.Contains(algs[id], k.Alg) {
			algs[id] = append(algs[id], k.Alg)
		}
		if at, there := first[id]; !there || all[at].Private == nil && k.Private != nil && o.As != VerifyOnly {
			first[id] = i
		}
	}
	for i := range all {
		k := &all[i]
		if !k.sound() {
			continue
		}
		id := [2]string{k.KID, k.Public.Thumbprint()}
		k.twinOf = first[id]
		if k.twin = k.twinOf != i; !k.twin && len(algs[id]) > 1 {
			k.setAlgorithms(algs[id], t, o)
		}
	}
}

// setAlgorithms sets the algorithms of a key that the source has for several.
func (k *Key) setAlgorithms(algs []string, t Target, o Options) {
	if k.Private != nil && o.As != VerifyOnly {
		if i := slices.IndexFunc(algs, func(alg string) bool { return slices.Contains(t.Policies, alg) }); i >= 0 {
			k.Alg = algs[i]
		}
	} else {
		k.Alg = algs[0]
	}
	k.Algs = []string{k.Alg}
	for _, alg := range algs {
		if alg != k.Alg {
			k.Algs = append(k.Algs, alg)
		}
	}
}

// algorithms returns all algorithms of the tenant's key.
func (known Known) algorithms() []string {
	if len(known.Algs) > 0 {
		return known.Algs
	}
	return []string{known.Alg}
}

// without returns an algorithm of a key of the source that the tenant's key is not for;
// empty if it is for all of them.
func (known Known) without(k Key) jose.SignatureAlgorithm {
	for _, alg := range append([]string{k.Alg}, k.Algs...) {
		if !slices.Contains(known.algorithms(), alg) {
			return jose.SignatureAlgorithm(alg)
		}
	}
	return ""
}

type planner struct {
	Options
	Target
	twofold map[string]string // by kid: why keys of it are refused
	signer  map[string]bool   // algorithms with a signing key so far
}

func (p *planner) planKey(k Key) Step {
	signs := k.sound() && !k.twin && p.isSigner(k)
	known, there := p.findKnown(k.KID)
	switch {
	case k.RefuseReason != "":
		return Step{Becomes: Refused, Why: k.RefuseReason}
	case k.SkipReason != "":
		return Step{Becomes: Left, Why: k.SkipReason}
	case p.twofold[k.KID] != "":
		return Step{Becomes: Refused, Why: p.twofold[k.KID]}
	case k.twin:
		return Step{Becomes: Left, Why: "the source lists this key twice; it comes in once"}
	case there && known.Thumbprint != "" && known.Thumbprint != k.Public.Thumbprint():
		return Step{Becomes: Refused, Why: keyfile.AnotherKey}
	case there && !keys.State(known.State).Published():
		return p.planGone(k, known)
	case there && known.without(k) != "":
		return Step{Becomes: Refused, Why: keyfile.ThereWithout(known.without(k))}
	case there:
		return Step{Becomes: Present, Why: keyfile.ThereAs(keys.State(known.State))}
	}
	s := p.planVerifier(k)
	if signs {
		s = p.planSigner(k)
	}
	why := k.fault
	if signs && why == "" {
		why = k.judge(true)
	}
	if why != "" && s.Moves() {
		return Step{Becomes: Refused, Why: why}
	}
	return s
}

// planGone refuses a key that the tenant had, because its tokens will not verify, unless it
// has expired at the source too.
func (p *planner) planGone(k Key, known Known) Step {
	if s := p.planVerifier(k); s.Becomes == Left {
		return s
	}
	return Step{Becomes: Refused, Why: keyfile.GoneAs(keys.State(known.State))}
}

// isSigner reports whether a key becomes the signing key of its algorithm.
func (p *planner) isSigner(k Key) bool {
	expired := !k.ExpiresAt.IsZero() && !k.ExpiresAt.After(p.Now)
	if k.Private == nil || k.verifyOnly || expired || p.As == VerifyOnly || p.signer[k.Alg] || p.Signs != "" && p.Signs != k.KID {
		return false
	}
	p.signer[k.Alg] = true
	return true
}

func (p *planner) planSigner(k Key) Step {
	if !slices.Contains(p.Policies, k.Alg) {
		return Step{Becomes: Refused, Why: "the tenant has no policy for " + k.Alg + " to sign with: create one first (PUT …/policies/" + k.Alg + "), or import with --as=" + VerifyOnly}
	}
	for _, known := range p.Keys {
		switch {
		case known.Alg != k.Alg || known.State != p.As:
		case p.As == Active:
			return Step{Becomes: Active, Why: "in place of " + known.KID + ", which is deprecated"}
		case known.Imported:
			return Step{Becomes: Refused, Why: "would revoke the standby key " + known.KID + ", also imported, whose tokens may be valid: rotate first, or import with --as=active or --as=" + VerifyOnly}
		default:
			return Step{Becomes: Standby, Why: "in place of " + known.KID + ", which never signed and is revoked as superseded"}
		}
	}
	return Step{Becomes: p.As}
}

func (p *planner) planVerifier(k Key) Step {
	s := Step{Becomes: Deprecated, Until: k.ExpiresAt, Why: "until its expiry at the source"}
	if k.ExpiresAt.IsZero() {
		s.Until, s.Why = p.Now.Add(p.KeepFor), "for "+formatDays(p.KeepFor)+" (--keep-for)"
	}
	if longest := p.Now.Add(maxKept); s.Until.After(longest) {
		s.Until, s.Why = longest, "for ten years, the longest that Keyward keeps a public key"
	}
	if !s.Until.After(p.Now) {
		return Step{Becomes: Left, Why: keyfile.ExpiredAt(s.Until)}
	}
	return s
}

func (p *planner) findKnown(kid string) (Known, bool) {
	for _, k := range p.Keys {
		if k.KID == kid {
			return k, true
		}
	}
	return Known{}, false
}

// formatDays formats a duration, in days if it is whole days.
func formatDays(d time.Duration) string {
	if d%(24*time.Hour) == 0 {
		return plural.Count(int64(d/(24*time.Hour)), "day")
	}
	return d.String()
}

func joinNotes(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}
