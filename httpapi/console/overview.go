package console

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyward/keyward/client"
	"github.com/keyward/keyward/internal/plural"
	"github.com/keyward/keyward/tenant"
)

// overview is what a tenant's page says at a glance: what signs, what signs next
// and when, what is still trusted and until when, and what is wrong.
type overview struct {
	Lines    []line
	Findings []finding
	Trusted  []trusted    // keys that verify and do not sign, the last to end first
	Revoked  []revokedKey // lately
	Policies []client.Policy
	Keys     []client.Key // published, then what left lately
	Timeline timeline
	Done     string

	CanSeeKeys bool
	Pending    []client.Approval
}

// line is what one policy does.
type line struct {
	Policy  client.Policy
	Active  *client.Key
	Standby *client.Key
	NextAt  *time.Time // when the standby is to sign; nil: never by itself
	ReadyAt *time.Time // when every cache has had time to see the standby
	Late    bool

	Adoption *client.KeyAdoption // of the standby; nil: not known, or no verifier came lately
	Waits    bool                // the schedule waits for verifiers to fetch it
}

// Behind returns how many verifiers that came lately have not fetched the standby.
func (l line) Behind() int {
	if l.Adoption == nil {
		return 0
	}
	return int(l.Adoption.Fetchers - l.Adoption.Adopted)
}

// trusted is a key that is published only so that tokens keep verifying.
type trusted struct {
	client.Key
	Until *time.Time
}

// revokedKey is a key that left the JWKS lately. Verifiers that keep an old copy may
// still trust it.
type revokedKey struct {
	client.Key
	Caches  *time.Time // until when, if they follow Cache-Control
	Longest *time.Time // if they follow ages of their own
	Never   int        // kinds of verifiers that have to be restarted
	Restart []string   // examples of them
}

// finding is something that wants attention.
type finding struct {
	Level  string // bad, warn or info
	Title  string
	Detail string
	Link   string // below the tenant's page, or platformLink
	Action string
}

// platformLink leads to the page that says whether the worker runs.
const platformLink = "platform"

const (
	recently    = 24 * time.Hour // a revocation that is still news
	farTooOld   = 366 * 24 * time.Hour
	shownKeys   = 100
	shownLately = 5
)

// readOverview makes the calls of a tenant's page, at once.
func (v *visit) readOverview() (overview, error) {
	var (
		policies                    client.PolicyList
		published, revoked, expired client.KeyList
		approvals                   client.ApprovalListResponse
		slug                        = v.Tenant.Slug
	)
	list := func(p client.ListKeysParams) func(context.Context) (*client.KeyList, error) {
		return func(ctx context.Context) (*client.KeyList, error) { return v.api.ListKeys(ctx, slug, &p) }
	}
	err := v.all(
		into(v, "listPolicies", &policies, func(ctx context.Context) (*client.PolicyList, error) { return v.api.ListPolicies(ctx, slug) }),
		into(v, "listKeys", &published, list(client.ListKeysParams{ValidAt: &v.Now, Limit: new(shownKeys)})),
		into(v, "listKeys", &revoked, list(client.ListKeysParams{State: new(client.KeyStateRevoked), Limit: new(shownLately)})),
		into(v, "listKeys", &expired, list(client.ListKeysParams{State: new(client.KeyStateExpired), Limit: new(shownLately)})),
		into(v, "listApprovals", &approvals, func(ctx context.Context) (*client.ApprovalListResponse, error) {
			return v.api.ListApprovals(ctx, slug, &client.ListApprovalsParams{Status: new(client.ApprovalStatusFilter("pending")), Limit: new(20)})
		}),
	)
	if err != nil {
		return overview{}, err
	}
	adopted, err := v.adoptions(slug, published.Items)
	if err != nil {
		return overview{}, err
	}
	o := newOverview(v.Now, *v.Tenant, policies.Items, published.Items, revoked.Items, adopted, v.Can("listKeys"))
	v.keepAllowed(o.Findings)
	o.Pending = approvals.Items
	o.Keys = groupByPolicy(slices.Concat(o.Keys, revoked.Items, expired.Items), o.Policies)
	for i := range o.Revoked {
		o.Revoked[i].summarize(v.trustOf(o.Revoked[i].Key))
	}
	o.Timeline = newTimeline(v.Now, o.Policies, o.Keys)
	return o, nil
}

// keepAllowed takes the links to what the visitor may not do out of findings.
func (v *visit) keepAllowed(all []finding) {
	for i, f := range all {
		path, _, _ := strings.Cut(f.Link, "?")
		name, isAct := strings.CutPrefix(path, "act/")
		switch {
		case f.Link == platformLink && !v.OfPlatform():
			all[i].Link, all[i].Action = "", ""
		case isAct && !v.Can(acts[name].Operation):
			all[i].Link, all[i].Action = "", ""
		case strings.HasPrefix(path, "policies/") && !v.Can("putPolicy"):
			all[i].Link = "policies"
		}
	}
}

// adoptions returns who has fetched the standby keys among keys, by kid.
func (v *visit) adoptions(ref string, keys []client.Key) (map[string]*client.KeyAdoption, error) {
	var standby []client.Key
	for _, k := range keys {
		if k.State == client.KeyStateStandby && v.Can("getKeyAdoption") {
			standby = append(standby, k)
		}
	}
	found, fetches := make([]client.KeyAdoption, len(standby)), make([]fetch, len(standby))
	for i, k := range standby {
		fetches[i] = into(v, "getKeyAdoption", &found[i], func(ctx context.Context) (*client.KeyAdoption, error) {
			return v.api.GetKeyAdoption(ctx, ref, k.KID)
		})
	}
	err := v.all(fetches...)
	byKID := map[string]*client.KeyAdoption{}
	for i := range found {
		if found[i].Fetchers > 0 {
			byKID[found[i].KID] = &found[i]
		}
	}
	return byKID, err
}

// newOverview judges the rows that were read. Keys are those that are published.
func newOverview(now time.Time, t client.Tenant, policies []client.Policy, published, revoked []client.Key, adopted map[string]*client.KeyAdoption, canSeeKeys bool) overview {
	published = slices.DeleteFunc(slices.Clone(published), func(k client.Key) bool { return !isPublished(k) }) // it may have moved since
	o := overview{Policies: policies, Keys: sortKeys(published), CanSeeKeys: canSeeKeys}
	for _, p := range policies {
		o.Lines = append(o.Lines, newLine(now, p, published, adopted))
	}
	for _, k := range published {
		if k.State == client.KeyStateDeprecated {
			o.Trusted = append(o.Trusted, trusted{k, cmp.Or(k.NextTransitionAt, k.ExpiresAt)})
		}
	}
	slices.SortFunc(o.Trusted, func(a, b trusted) int { return deadline(b.Until).Compare(deadline(a.Until)) })
	for _, k := range revoked {
		if k.RevokedAt != nil && now.Sub(*k.RevokedAt) < recently {
			o.Revoked = append(o.Revoked, revokedKey{Key: k})
		}
	}
	o.Findings = findings(now, t, o, canSeeKeys)
	return o
}

func isPublished(k client.Key) bool {
	return k.State == client.KeyStateActive || k.State == client.KeyStateStandby || k.State == client.KeyStateDeprecated
}

func deadline(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

func newLine(now time.Time, p client.Policy, published []client.Key, adopted map[string]*client.KeyAdoption) line {
	l := line{Policy: p}
	for i, k := range published {
		switch {
		case k.Alg != p.Alg:
		case k.State == client.KeyStateActive:
			l.Active = &published[i]
		case k.State == client.KeyStateStandby:
			l.Standby = &published[i]
		}
	}
	if l.Standby != nil {
		ready := l.Standby.PublishedAt.Add(time.Duration(p.PublishLeadSeconds) * time.Second)
		l.ReadyAt, l.NextAt = &ready, l.Standby.NextTransitionAt
		l.Adoption = adopted[l.Standby.KID]
		l.Waits = l.Adoption != nil && l.Adoption.Share < p.MinAdoption && l.Active != nil && l.Active.ActivatedAt != nil && p.RotationIntervalSeconds > 0 &&
			now.After(l.Active.ActivatedAt.Add(seconds(p.RotationIntervalSeconds)))
	} else if l.Active != nil {
		l.NextAt = l.Active.NextTransitionAt
	}
	l.Late = l.NextAt != nil && now.Sub(*l.NextAt) > tenant.OverdueAfter
	return l
}

// findings lists the problems that need attention, the worst first.
func findings(now time.Time, t client.Tenant, o overview, canSeeKeys bool) []finding {
	var all []finding
	add := func(level, title, detail, link, action string) {
		all = append(all, finding{level, title, detail, link, action})
	}
	if t.Status == client.TenantStatusSuspended {
		add("bad", "Suspended: nothing is signed", "Published keys still verify what was signed before.", "act/resume", "Resume…")
	}
	for _, l := range o.Lines {
		if !canSeeKeys {
			break
		}
		alg := string(l.Policy.Alg)
		if l.Active == nil {
			add("bad", alg+": no key signs", "Tokens of this algorithm cannot be issued.", "policies/"+alg, "Policy")
		}
		if l.Standby == nil {
			add("bad", alg+": no standby key", "Nothing is published that could take over: a revocation now would break verification until caches refetch. Keyward's worker makes one within seconds. If this stays, the worker does not run: whoever operates Keyward runs keyward doctor on the server, which says why and what to do.", platformLink, "Does the worker run?")
		}
		if n := l.Behind(); n > 0 && l.Waits {
			add("warn", alg+": the rotation waits for "+plural.Count(n, "verifier"), fmt.Sprintf("%s of the verifiers have fetched the next key, and the policy wants %s. It signs at the latest %s.", percent(l.Adoption.Share), percent(l.Policy.MinAdoption), relativeTo(now, l.NextAt)),
				"key?kid="+query(l.Standby.KID), "Who is behind")
		} else if n > 0 && now.After(*l.ReadyAt) {
			add("warn", alg+": "+plural.Count(n, "verifier")+" behind", "They came lately and have not fetched the next key, though every well-behaved cache should have. Its tokens fail there until they do.", "key?kid="+query(l.Standby.KID), "Who is behind")
		}
		if l.Late && l.Standby != nil {
			add("bad", alg+": rotation is overdue", "It was due "+relative(now, *l.NextAt)+". The worker does not run, or a freeze window or a full key set holds it.", "act/rotate?alg="+alg, "Rotate now…")
		}
		if l.Policy.RotationIntervalSeconds == 0 && l.Active != nil && l.Active.ActivatedAt != nil && now.Sub(*l.Active.ActivatedAt) > farTooOld {
			add("warn", alg+": the same key has signed for more than a year", "This policy rotates by hand only.", "act/rotate?alg="+alg, "Rotate…")
		}
		if strings.HasPrefix(alg, "RS") && l.Policy.RSABits != nil && *l.Policy.RSABits < 3072 {
			add("info", fmt.Sprintf("%s with %d bits is an old choice", alg, *l.Policy.RSABits), "ES256 or RSA of 3072 bits is stronger; verifiers that know only RSA keep working with RS256.", "policies/"+alg, "Policy")
		}
	}
	for _, k := range o.Revoked {
		add("warn", "Key "+shortKID(k.KID)+" was revoked "+relative(now, *k.RevokedAt), "Reason: "+reasonWord(k.RevocationReason)+". Verifiers that keep old copies of the JWKS may still trust it.", "key?kid="+query(k.KID), "Who still trusts it")
	}
	if n := len(o.Keys); n > tenant.LargeSet {
		add("warn", "Large set: "+plural.Count(n, "key")+" are published", "Every verifier downloads all of them. A shorter grace period or a longer rotation interval makes fewer.", "policies", "Policies")
	}
	for _, f := range t.FreezeWindows {
		if now.After(f.From) && now.Before(f.Until) {
			add("info", "Freeze window until "+shortDate(now, f.Until), "Scheduled rotations wait for its end.", "settings", "Settings")
		}
	}
	slices.SortStableFunc(all, func(a, b finding) int {
		order := []string{"bad", "warn", "info"}
		return slices.Index(order, a.Level) - slices.Index(order, b.Level)
	})
	return all
}

func (r *revokedKey) summarize(all []Trust) {
	for i, t := range all {
		switch {
		case t.Until == nil:
			r.Never++
			r.Restart = append(r.Restart, t.Examples...)
		case i == 0: // the first class follows HTTP
			r.Caches = t.Until
		case r.Longest == nil || t.Until.After(*r.Longest):
			r.Longest = t.Until
		}
	}
}

// groupByPolicy puts the keys of a policy together and leaves their order.
func groupByPolicy(all []client.Key, policies []client.Policy) []client.Key {
	place := func(k client.Key) int {
		i := slices.IndexFunc(policies, func(p client.Policy) bool { return p.Alg == k.Alg })
		if i < 0 {
			return len(policies)
		}
		return i
	}
	slices.SortStableFunc(all, func(a, b client.Key) int { return place(a) - place(b) })
	return all
}

// Worst returns the level of the worst finding, "" if there is none.
func (o overview) Worst() string {
	if len(o.Findings) == 0 {
		return ""
	}
	return o.Findings[0].Level
}

// Serious counts the findings that want somebody to act.
func (o overview) Serious() (n int) {
	for _, f := range o.Findings {
		if f.Level != "info" {
			n++
		}
	}
	return n
}

// LastTrusted returns when the last key that only verifies leaves the JWKS.
func (o overview) LastTrusted() *time.Time {
	if len(o.Trusted) == 0 {
		return nil
	}
	return o.Trusted[0].Until
}

// sortKeys orders keys: active, then standby, then deprecated.
func sortKeys(all []client.Key) []client.Key {
	order := []client.KeyState{client.KeyStateActive, client.KeyStateStandby, client.KeyStateDeprecated}
	slices.SortStableFunc(all, func(a, b client.Key) int {
		return cmp.Or(slices.Index(order, a.State)-slices.Index(order, b.State), deadline(b.DeprecatedAt).Compare(deadline(a.DeprecatedAt)))
	})
	return all
}
