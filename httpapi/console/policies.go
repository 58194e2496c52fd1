package console

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keyward/keyward/client"
)

// policyDefaults are what the form of a new policy begins with: the API's own
// defaults.
var policyDefaults = map[string]string{
	"rotation_interval_seconds": "30d", "publish_lead_seconds": "1d", "grace_period_seconds": "7d", "purge_after_seconds": "90d",
	"default_token_ttl_seconds": "15m", "max_token_ttl_seconds": "1d", "max_published_keys": "16", "rsa_bits": "2048",
	"min_adoption": "0", "max_adoption_wait_seconds": "7d",
}

var algorithms = []string{"ES256", "ES384", "ES512", "EdDSA", "Ed25519", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ML-DSA-44", "ML-DSA-65", "ML-DSA-87"}

// durationUnits are those of a form: 1d 12h, 15m, 90s.
var durationUnits = map[byte]int64{'s': 1, 'm': 60, 'h': 3600, 'd': 86400}

// parseDuration reads a duration of a form in seconds. A number alone is seconds.
func parseDuration(text string) (int64, error) {
	text = strings.ToLower(strings.ReplaceAll(strings.TrimSpace(text), " ", ""))
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n >= 0 {
		return n, nil
	}
	var sum int64
	for text != "" {
		i := strings.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' })
		if i <= 0 || durationUnits[text[i]] == 0 || i > 12 {
			return 0, errDuration
		}
		n, err := strconv.ParseInt(text[:i], 10, 64)
		if err != nil {
			return 0, errDuration
		}
		sum += n * durationUnits[text[i]]
		text = text[i+1:]
	}
	return sum, nil
}

var errDuration = fmt.Errorf("write a duration as in 30d, 12h, 15m or 90s")

// durationText is a duration as parseDuration reads it.
func durationText(n int64) string {
	var b strings.Builder
	for _, unit := range "dhms" {
		size := durationUnits[byte(unit)]
		if k := n / size; k > 0 {
			fmt.Fprintf(&b, "%d%c ", k, unit)
			n -= k * size
		}
	}
	return cmp.Or(strings.TrimSpace(b.String()), "0")
}

// readPolicy reads the fields of a policy, and notes their faults.
func readPolicy(values url.Values, wrong map[string]string) client.PutPolicyRequest {
	var p client.PutPolicyRequest
	for name, to := range map[string]**int64{
		"rotation_interval_seconds": &p.RotationIntervalSeconds, "publish_lead_seconds": &p.PublishLeadSeconds, "grace_period_seconds": &p.GracePeriodSeconds,
		"purge_after_seconds": &p.PurgeAfterSeconds, "default_token_ttl_seconds": &p.DefaultTokenTTLSeconds, "max_token_ttl_seconds": &p.MaxTokenTTLSeconds, "max_adoption_wait_seconds": &p.MaxAdoptionWaitSeconds,
	} {
		if !values.Has(name) {
			continue
		}
		n, err := parseDuration(values.Get(name))
		if err != nil || values.Get(name) == "" {
			wrong[name] = errDuration.Error()
			continue
		}
		*to = &n
	}
	if text := values.Get("max_published_keys"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			wrong["max_published_keys"] = "write a number"
		}
		p.MaxPublishedKeys = &n
	}
	if text := values.Get("min_adoption"); text != "" {
		share, err := strconv.ParseFloat(text, 64)
		if err != nil {
			wrong["min_adoption"] = "write a share from 0 to 1, as in 0.95"
		}
		p.MinAdoption = &share
	}
	if isRSA(values.Get("alg")) && values.Get("rsa_bits") != "" {
		n, err := strconv.Atoi(values.Get("rsa_bits"))
		if err != nil {
			wrong["rsa_bits"] = "write a number"
		}
		p.RSABits = new(client.PutPolicyRequestRSABits(n))
	}
	if values.Get("default") != "" {
		p.Default = new(true)
	}
	return p
}

func isRSA(alg string) bool { return strings.HasPrefix(alg, "RS") || strings.HasPrefix(alg, "PS") }

// inequality is one of the promises that a policy must keep, with its numbers.
// The API decides; this explains.
type inequality struct {
	Field      string
	Says       string
	Why        string
	Left       int64
	Right      int64
	Sum        string // what the right side is made of
	Holds      bool
	Impossible bool // a number is missing
}

func inequalities(p client.PutPolicyRequest, t client.Tenant) []inequality {
	value := func(n *int64) int64 {
		if n == nil {
			return -1
		}
		return *n
	}
	propagation := t.JWKSMaxAgeSeconds + t.JWKSStaleWhileRevalidateSeconds + t.ClockSkewSeconds
	all := []inequality{
		{
			Field: "publish_lead_seconds", Says: "Publish lead ≥ cache time", Left: value(p.PublishLeadSeconds), Right: propagation,
			Why: "No key signs before every well-behaved cache has had time to fetch it.",
			Sum: fmt.Sprintf("%s max-age + %s stale-while-revalidate + %s skew", secondsText(t.JWKSMaxAgeSeconds), secondsText(t.JWKSStaleWhileRevalidateSeconds), secondsText(t.ClockSkewSeconds)),
		},
		{
			Field: "grace_period_seconds", Says: "Grace period ≥ longest token + skew", Left: value(p.GracePeriodSeconds), Right: value(p.MaxTokenTTLSeconds) + t.ClockSkewSeconds,
			Why: "No token outlives the key that verifies it.",
			Sum: fmt.Sprintf("%s longest token + %s skew", secondsText(value(p.MaxTokenTTLSeconds)), secondsText(t.ClockSkewSeconds)),
		},
		{
			Field: "default_token_ttl_seconds", Says: "Longest token ≥ usual token", Left: value(p.MaxTokenTTLSeconds), Right: value(p.DefaultTokenTTLSeconds),
			Why: "A token without a lifetime of its own gets the usual one.",
		},
	}
	if interval := value(p.RotationIntervalSeconds); interval != 0 {
		all = append(all, inequality{
			Field: "rotation_interval_seconds", Says: "Rotation interval ≥ publish lead", Left: interval, Right: value(p.PublishLeadSeconds),
			Why: "The next key is published while the current one signs.",
		})
	}
	for i := range all {
		all[i].Holds = all[i].Left >= 0 && all[i].Right >= 0 && all[i].Left >= all[i].Right
	}
	return all
}

type policiesPage struct {
	Lines   []line
	Unused  []string
	Lengths map[string][]inequality
}

func listPolicies(v *visit) error {
	if err := v.findTenant(); err != nil {
		return err
	}
	o, err := v.readOverview()
	if err != nil {
		return err
	}
	p := policiesPage{Lines: o.Lines, Lengths: map[string][]inequality{}}
	for _, alg := range algorithms {
		if !slices.ContainsFunc(o.Policies, func(p client.Policy) bool { return string(p.Alg) == alg }) {
			p.Unused = append(p.Unused, alg)
		}
	}
	for _, pol := range o.Policies {
		p.Lengths[string(pol.Alg)] = inequalities(putOf(pol), *v.Tenant)
	}
	return v.render("policies.html", "Policies of "+tenantName(v.Tenant), p)
}

func putOf(p client.Policy) client.PutPolicyRequest {
	return client.PutPolicyRequest{
		RotationIntervalSeconds: &p.RotationIntervalSeconds, PublishLeadSeconds: &p.PublishLeadSeconds, GracePeriodSeconds: &p.GracePeriodSeconds,
		PurgeAfterSeconds: &p.PurgeAfterSeconds, DefaultTokenTTLSeconds: &p.DefaultTokenTTLSeconds, MaxTokenTTLSeconds: &p.MaxTokenTTLSeconds,
		MaxPublishedKeys: &p.MaxPublishedKeys, MinAdoption: &p.MinAdoption, MaxAdoptionWaitSeconds: &p.MaxAdoptionWaitSeconds,
	}
}

type policyPage struct {
	form
	Alg          string
	Created      bool // there is no such policy yet
	Default      bool
	Inequalities []inequality
	Preview      *client.PolicyPreview
	Changes      []keyChange
	Later        []client.TimelineStep
	After        []jwk
}

// Refused reports whether what was entered is not accepted.
func (p policyPage) Refused() bool { return p.Error != "" || len(p.Fields) > 0 }

// Verdict says whether what is entered holds: by the API, if it was asked.
func (p policyPage) Verdict() string {
	if p.Refused() {
		labels := make([]string, 0, len(p.Fields))
		for _, field := range slices.Sorted(maps.Keys(p.Fields)) {
			labels = append(labels, fieldLabel(field))
		}
		return strings.TrimSpace("✕ Not accepted as it is. " + cmp.Or(strings.Join(labels, ", "), p.Error))
	}
	if p.Preview != nil {
		return "✓ Accepted: it can be saved."
	}
	if slices.ContainsFunc(p.Inequalities, func(q inequality) bool { return !q.Holds }) {
		return "✕ Not all of them hold."
	}
	return "✓ All of them hold."
}

// readPolicyPage reads the policy that the form is about.
func (v *visit) readPolicyPage() (policyPage, error) {
	p := policyPage{Alg: v.r.PathValue("alg"), Created: true}
	if !v.Can("putPolicy") {
		return p, forbidden
	}
	if err := v.findTenant(); err != nil {
		return p, err
	}
	if !slices.Contains(algorithms, p.Alg) {
		return p, &pageError{404, "There is no such algorithm", "Choose one on the page of policies."}
	}
	list, err := v.api.ListPolicies(v.r.Context(), v.Tenant.Slug)
	if err != nil {
		return p, err
	}
	p.Values = url.Values{"alg": {p.Alg}}
	for name, value := range policyDefaults {
		p.Values.Set(name, value)
	}
	for _, old := range list.Items {
		if string(old.Alg) == p.Alg {
			p.Created, p.Default = false, old.Default
			fillPolicy(p.Values, old)
		}
	}
	return p, nil
}

func fillPolicy(values url.Values, p client.Policy) {
	for name, n := range map[string]int64{
		"rotation_interval_seconds": p.RotationIntervalSeconds, "publish_lead_seconds": p.PublishLeadSeconds, "grace_period_seconds": p.GracePeriodSeconds,
		"purge_after_seconds": p.PurgeAfterSeconds, "default_token_ttl_seconds": p.DefaultTokenTTLSeconds, "max_token_ttl_seconds": p.MaxTokenTTLSeconds, "max_adoption_wait_seconds": p.MaxAdoptionWaitSeconds,
	} {
		values.Set(name, durationText(n))
	}
	values.Set("max_published_keys", strconv.Itoa(p.MaxPublishedKeys))
	values.Set("min_adoption", strconv.FormatFloat(p.MinAdoption, 'f', -1, 64))
	if p.RSABits != nil {
		values.Set("rsa_bits", strconv.Itoa(*p.RSABits))
	}
}

func editPolicy(v *visit) error {
	p, err := v.readPolicyPage()
	if err != nil {
		return err
	}
	p.Inequalities = inequalities(readPolicy(p.Values, map[string]string{}), *v.Tenant)
	return v.render("policy.html", p.Alg+" policy of "+tenantName(v.Tenant), p)
}

// savePolicy tries a policy first, and stores it once that was looked at.
func savePolicy(v *visit) error {
	p, err := v.readPolicyPage()
	if err != nil {
		return err
	}
	if err := v.r.ParseForm(); err != nil {
		return errForm
	}
	p.Values, p.Fields = v.r.PostForm, map[string]string{}
	p.Values.Set("alg", p.Alg)
	body := readPolicy(p.Values, p.Fields)
	p.Inequalities = inequalities(body, *v.Tenant)
	if len(p.Fields) == 0 {
		if err = v.putPolicy(&p, body, p.Values.Get("do") == "save"); err == nil && p.Preview == nil {
			return v.redirect(v.Base() + "/policies?done=" + url.QueryEscape(p.Alg))
		}
		if shown, err := v.showAwaiting(err); shown {
			return err
		}
		var shown bool
		if p.Fields, p.Error, shown = formErrors(err); err != nil && !shown {
			return err
		}
	}
	status := 200
	if len(p.Fields) > 0 || p.Error != "" {
		status = 422
	}
	return v.renderStatus(status, "policy.html", p.Alg+" policy of "+tenantName(v.Tenant), p)
}

func (v *visit) putPolicy(p *policyPage, body client.PutPolicyRequest, save bool) error {
	ctx := v.r.Context()
	if save {
		_, err := client.Bytes(v.api.Requests.PutPolicy(ctx, v.Tenant.Slug, client.Alg(p.Alg), nil, body, v.changes()...))
		return err
	}
	preview, err := client.Decode[client.PolicyPreview](v.api.Requests.PutPolicy(ctx, v.Tenant.Slug, client.Alg(p.Alg), &client.PutPolicyParams{DryRun: new(true)}, body))
	if err != nil {
		return err
	}
	p.Preview = preview
	p.Changes, p.Later = splitSteps(v.Now, p.Alg, preview.Timeline)
	p.After = jwksAfter(preview.JWKSAfter, p.Changes)
	return nil
}

// splitSteps separates immediate steps of an algorithm from the later ones of the schedule.
func splitSteps(now time.Time, alg string, steps []client.TimelineStep) (changes []keyChange, afterwards []client.TimelineStep) {
	for _, s := range steps {
		if s.At.After(now.Add(2 * time.Second)) {
			afterwards = append(afterwards, s)
			continue
		}
		c := keyChange{New: s.KID == nil, Alg: alg}
		if s.KID != nil {
			c.KID = *s.KID
		}
		if s.FromState != nil {
			c.Before = string(*s.FromState)
		}
		if s.ToState != nil {
			c.After = string(*s.ToState)
		}
		changes = append(changes, c)
	}
	return changes, afterwards
}

type verifiersPage struct {
	JWKS     string
	Push     string // where key-events are
	Keys     []jwk
	Header   []string
	URL      string
	Issuer   string
	Audience string
	Alg      string
	Snippets []snippet
	Chosen   string
	Policies []client.Policy
}

// showVerifiers shows the JWK Set as verifiers see it, byte for byte, and how they are set up.
func showVerifiers(v *visit) error {
	if err := v.findTenant(); err != nil {
		return err
	}
	var policies client.PolicyList
	p := verifiersPage{URL: v.PublicURL() + "/t/" + v.Tenant.Slug + "/.well-known/jwks.json", Issuer: v.Tenant.Issuer, Chosen: v.Query("for"), Alg: "ES256"}
	p.Push = v.c.origin(v.r) + "/v1/tenants/" + v.Tenant.Slug + "/key-events"
	err := v.all(
		into(v, "listPolicies", &policies, func(ctx context.Context) (*client.PolicyList, error) { return v.api.ListPolicies(ctx, v.Tenant.Slug) }),
		func(ctx context.Context) error { return p.readSet(ctx, v) },
	)
	if err != nil {
		return err
	}
	if len(policies.Items) > 0 {
		p.Alg = string(policies.Items[0].Alg)
	}
	p.Snippets = snippets(p)
	if !slices.ContainsFunc(p.Snippets, func(s snippet) bool { return s.ID == p.Chosen }) {
		p.Chosen = p.Snippets[0].ID
	}
	return v.render("verifiers.html", "Verifiers of "+tenantName(v.Tenant), p)
}
