package moving

import (
	"fmt"
	"slices"
	"time"

	"github.com/keyward/keyward/keys"
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
func Plan(all []Key, t Target, o Options) []Step {
	p := planner{o, t, map[string]Key{}, conflicts(all), map[string]bool{}}
	steps := make([]Step, 0, len(all))
	for _, k := range all {
		s := p.planKey(k)
		s.Key, s.Why = k, joinNotes(k.Note, s.Why)
		steps = append(steps, s)
		if _, twice := p.seen[k.KID]; !twice {
			p.seen[k.KID] = k
		}
	}
	return steps
}

// conflicts returns, by kid, why none of its keys can be imported: the source has several
// keys of this kid, or one for several algorithms, and Keyward keeps one.
func conflicts(all []Key) map[string]string {
	first, why := map[string]Key{}, map[string]string{}
	for _, k := range all {
		if k.RefuseReason != "" || k.SkipReason != "" {
			continue
		}
		other, there := first[k.KID]
		switch {
		case !there:
			first[k.KID] = k
		case other.Public.Thumbprint() != k.Public.Thumbprint():
			why[k.KID] = "the source has several keys of this kid"
		case other.Alg != k.Alg:
			why[k.KID] = "the source has this key for several algorithms: " + other.Alg + " and " + k.Alg + "; import it for one of them with keyward key import"
		}
	}
	return why
}

type planner struct {
	Options
	Target
	seen    map[string]Key    // by kid: the first one
	twofold map[string]string // by kid: why keys of it are refused
	signer  map[string]bool   // algorithms with a signing key so far
}

func (p *planner) planKey(k Key) Step {
	_, twice := p.seen[k.KID]
	signs := k.RefuseReason == "" && k.SkipReason == "" && !twice && p.isSigner(k)
	known, there := p.findKnown(k.KID)
	switch {
	case k.RefuseReason != "":
		return Step{Becomes: Refused, Why: k.RefuseReason}
	case k.SkipReason != "":
		return Step{Becomes: Left, Why: k.SkipReason}
	case p.twofold[k.KID] != "":
		return Step{Becomes: Refused, Why: p.twofold[k.KID]}
	case twice:
		return Step{Becomes: Left, Why: "the source lists this key twice"}
	case !keys.ValidKID(k.KID):
		return Step{Becomes: Refused, Why: "its kid must be " + keys.KIDRule}
	case there && known.Thumbprint != "" && known.Thumbprint != k.Public.Thumbprint():
		return Step{Becomes: Refused, Why: "the tenant has another key of this kid"}
	case there:
		return Step{Becomes: Present, Why: "already there as " + known.State}
	}
	s := p.planVerifier(k)
	if signs {
		s = p.planSigner(k)
	}
	if why := k.judge(signs); why != "" && s.Moves() {
		return Step{Becomes: Refused, Why: why}
	}
	return s
}

// isSigner reports whether a key becomes the signing key of its algorithm.
func (p *planner) isSigner(k Key) bool {
	if k.Private == nil || p.As == VerifyOnly || p.signer[k.Alg] || p.Signs != "" && p.Signs != k.KID {
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
	if !s.Until.After(p.Now) {
		return Step{Becomes: Left, Why: "it has expired: " + s.Until.Format(time.RFC3339)}
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
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	}
	return d.String()
}

func joinNotes(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}
