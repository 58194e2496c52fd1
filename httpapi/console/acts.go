package console

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/oapi-codegen/nullable"

	"github.com/keyward/keyward/client"
	"github.com/keyward/keyward/internal/plural"
)

// act is something that can be done to a tenant. It is shown as a dry run first.
type act struct {
	Name      string
	Title     string
	Button    string
	Operation string // of openapi.yaml
	Danger    bool
	Typed     bool // cannot be undone: the tenant's slug has to be typed
	preview   func(*visit, *actPage) error
	do        func(*visit, *actPage) error
}

var acts = map[string]act{
	"rotate":     {Title: "Rotate now", Button: "Rotate now", Operation: "rotateKeys", preview: previewRotation, do: rotate},
	"revoke":     {Title: "Revoke a key", Button: "Revoke this key now", Operation: "revokeKey", Danger: true, preview: previewRevocation, do: revoke},
	"revoke-all": {Title: "Revoke every key", Button: "Revoke every key now", Operation: "revokeAllKeys", Danger: true, Typed: true, preview: previewRevokeAll, do: revokeAll},
	"suspend":    {Title: "Suspend the tenant", Button: "Suspend now", Operation: "updateTenant", Danger: true, preview: previewNothing, do: setStatus("suspended")},
	"resume":     {Title: "Resume the tenant", Button: "Resume now", Operation: "updateTenant", preview: previewNothing, do: setStatus("active")},
	"purge":      {Title: "Purge old keys", Button: "Purge now", Operation: "purgeKeys", Danger: true, Typed: true, preview: previewPurge, do: purge},
	"delete":     {Title: "Delete the tenant", Button: "Delete for ever", Operation: "deleteTenant", Danger: true, Typed: true, preview: previewDeletion, do: deleteTenant},
	"import":     {Title: "Import a key", Button: "Import", Operation: "importKey", preview: previewNothing, do: importKey},
	"retire":     {Title: "Retire a policy", Button: "Retire now", Operation: "retirePolicy", Danger: true, preview: previewRetirement, do: retire},
}

// actPage is a dry run, and what came of the real thing.
type actPage struct {
	act
	form
	Overview   overview
	Changes    []keyChange
	Later      []client.TimelineStep
	Trust      []Trust
	Breaks     *time.Time // until when tokens live that stop verifying
	Published  int64      // seconds that the next key has been published
	Key        *client.Key
	Purge      []client.Key
	More       bool // of those, more than are shown
	Before     []jwk
	After      []jwk
	Expect     string // what the dry run was made of
	Impossible string

	Done     bool
	Checked  *client.KeyList // what an import would bring in
	Sealed   string          // the key to import, for this session alone
	Imported []client.Key
	Replicas *replicas
	Awaits   *client.Approval // nothing is done yet
	Redo     string           // the same page with the approval
	Approval string
}

// replicas is how many processes serve a change.
type replicas struct{ Live, Confirmed int }

// served is what an answer says about the replicas that serve its change.
type served struct {
	Replicas *replicas `json:"replicas"`
}

// query carries it to the page that follows.
func (s *served) query() string {
	if s.Replicas == nil {
		return ""
	}
	return fmt.Sprintf("&served=%d&of=%d", s.Replicas.Confirmed, s.Replicas.Live)
}

// Served says on that page how many replicas serve the change, or nothing.
func (v *visit) Served() string {
	confirmed, err1 := strconv.Atoi(v.Query("served"))
	live, err2 := strconv.Atoi(v.Query("of"))
	if err1 != nil || err2 != nil {
		return ""
	}
	return fmt.Sprintf(" %d of %s %s it.", confirmed, plural.Count(live, "replica"), plural.Verb(live, "serves", "serve"))
}

// keyChange is what becomes of a key at once.
type keyChange struct {
	KID           string
	Alg           string
	New           bool // it does not exist yet
	Before, After string
}

// begin reads the subject of the act. Its parameters are in the query of the dry
// run, so that the page can be sent to a colleague.
func (v *visit) begin(values url.Values) (*actPage, error) {
	a, known := acts[v.r.PathValue("act")]
	if !known {
		return nil, &pageError{404, "There is no such page", "The address may be cut off or out of date."}
	}
	if !v.Can(a.Operation) {
		return nil, forbidden
	}
	if err := v.findTenant(); err != nil {
		return nil, err
	}
	a.Name = v.r.PathValue("act")
	p := &actPage{act: a, form: form{Values: values, Nonce: client.NewKey()}, Approval: values.Get("approval")}
	var err error
	if p.Overview, err = v.readOverview(); err != nil {
		return nil, err
	}
	p.Expect = p.Overview.fingerprint()
	return p, nil
}

// fingerprint names the published keys and their states. A dry run is only good
// for what it was made of.
func (o overview) fingerprint() string {
	var all []string
	for _, k := range o.Keys {
		if isPublished(k) {
			all = append(all, string(k.State)[:1]+shortKID(k.KID))
		}
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// previewAct shows the effects of the act before it is done.
func previewAct(v *visit) error {
	values := v.r.URL.Query()
	p, err := v.begin(values)
	if err != nil {
		return err
	}
	return v.showAct(p, http.StatusOK)
}

func (v *visit) showAct(p *actPage, status int) error {
	if err := p.preview(v, p); err != nil {
		fields, detail, shown := formErrors(err)
		if !shown {
			return err
		}
		p.Impossible = cmp.Or(detail, "This is not possible now.")
		for field, message := range fields {
			p.Impossible += " " + field + " " + message + "."
		}
	}
	return v.renderStatus(status, "act.html", p.Title+": "+tenantName(v.Tenant), p)
}

// carryOut does it.
func carryOut(v *visit) error {
	if err := v.r.ParseForm(); err != nil {
		return errForm
	}
	p, err := v.begin(v.r.PostForm)
	if err != nil {
		return err
	}
	if p.Values.Get("nonce") != "" {
		p.Nonce = p.Values.Get("nonce")
	}
	if p.Typed && strings.TrimSpace(p.Values.Get("confirm")) != v.Tenant.Slug {
		p.Fields = map[string]string{"confirm": "Type " + v.Tenant.Slug + " to confirm."}
		return v.showAct(p, 422)
	}
	if expect := p.Values.Get("expect"); expect != "" && expect != p.Expect {
		p.Error = "The keys have changed since this page was made, so nothing was done. This is what would happen now."
		return v.showAct(p, http.StatusConflict)
	}
	return v.finish(p, p.do(v, p))
}

// finish shows the result of the act.
func (v *visit) finish(p *actPage, err error) error {
	var awaits *client.ApprovalError
	switch {
	case errors.As(err, &awaits):
		p.Awaits = &awaits.Approval
		q := url.Values{"approval": {awaits.Approval.ID.String()}}
		for _, name := range []string{"alg", "kid", "reason", "mode", "comment", "kind", "role", "expires_at"} {
			if value := p.Values.Get(name); value != "" {
				q.Set(name, value)
			}
		}
		p.Redo = v.Base() + "/act/" + p.Name + "?" + q.Encode()
		return v.renderStatus(http.StatusAccepted, "act.html", "Waiting for a second person", p)
	case err != nil:
		var shown bool
		if p.Fields, p.Error, shown = formErrors(err); !shown {
			return err
		}
		if p.Error == "" {
			p.Error = "Nothing was done. Something in the form is not accepted."
		}
		p.Nonce = client.NewKey()
		return v.showAct(p, 422)
	case p.Done:
		return v.render("act.html", p.Title+": done", p)
	}
	return nil // it has answered
}

// once makes a repeated POST of the same page the same request, shows up to when
// every replica serves the change, and brings the second person's approval.
func (p *actPage) once() []client.RequestEditorFn {
	editors := []client.RequestEditorFn{client.Once(p.Nonce), preferWait}
	if id, err := uuid.Parse(p.Approval); err == nil {
		editors = append(editors, client.Approved(id))
	}
	return editors
}

func preferWait(_ context.Context, r *http.Request) error {
	r.Header.Set("Prefer", "wait=2")
	return nil
}

func previewNothing(*visit, *actPage) error { return nil }

func (p *actPage) optional(name string) *string {
	if text := strings.TrimSpace(p.Values.Get(name)); text != "" {
		return &text
	}
	return nil
}

func (p *actPage) rotation() client.RotateRequest {
	r := client.RotateRequest{Reason: p.optional("reason")}
	if alg := p.Values.Get("alg"); alg != "" {
		r.Alg = new(client.Alg(alg))
	}
	return r
}

func previewRotation(v *visit, p *actPage) error {
	would, err := v.api.PreviewRotation(v.r.Context(), v.Tenant.Slug, p.rotation())
	if err != nil {
		return err
	}
	p.Published = would.PublishedSeconds
	alg := p.Values.Get("alg")
	for _, policy := range p.Overview.Policies {
		if alg == "" && policy.Default {
			alg = string(policy.Alg)
		}
	}
	p.Changes, p.Later = splitSteps(v.Now, alg, would.Timeline)
	p.Before, p.After = jwksOf(would.JWKSBefore), jwksAfter(would.JWKSAfter, p.Changes)
	return nil
}

// jwksAfter returns a set as it becomes, with the keys that are made then: a dry run cannot
// name them.
func jwksAfter(set client.JWKSet, changes []keyChange) []jwk {
	after := jwksOf(set)
	for _, c := range changes {
		if c.New {
			after = append(after, jwk{Alg: c.Alg})
		}
	}
	return after
}

func jwksOf(set client.JWKSet) []jwk {
	out := make([]jwk, len(set.Keys))
	for i, raw := range set.Keys {
		_ = json.Unmarshal(raw, &out[i]) // it is the API's own
	}
	return out
}

func rotate(v *visit, p *actPage) error {
	done, err := client.Decode[served](v.api.Requests.RotateKeys(v.r.Context(), v.Tenant.Slug, nil, p.rotation(), p.once()...))
	if err != nil {
		return err
	}
	return v.redirect(v.Base() + "?done=rotated" + done.query()) // a page that is loaded again must not rotate again
}

func (p *actPage) revocation() client.RevokeRequest {
	r := client.RevokeRequest{Reason: client.RevocationReason(cmp.Or(p.Values.Get("reason"), "compromised")), Comment: p.optional("comment")}
	if mode := p.Values.Get("mode"); mode != "" {
		r.Mode = new(client.RevocationMode(mode))
	}
	return r
}

func previewRevocation(v *visit, p *actPage) error {
	if p.Values.Get("reason") == "" {
		p.Values.Set("reason", "compromised")
	}
	kid := p.Values.Get("kid")
	would, err := v.api.RevokeKey(v.r.Context(), v.Tenant.Slug, kid, &client.RevokeKeyParams{DryRun: new(true)}, p.revocation())
	if err != nil {
		return err
	}
	p.Trust, p.Breaks = trusts(would.TrustedUntil), would.BreaksTokensUntil
	for i, k := range p.Overview.Keys {
		if k.KID == kid {
			p.Key = &p.Overview.Keys[i]
		}
	}
	if p.Key == nil {
		p.Key = &would.Key
	}
	p.Changes = []keyChange{{KID: kid, Alg: string(would.Key.Alg), Before: string(p.Key.State), After: "revoked"}}
	if p.Key.State == client.KeyStateActive {
		if would.Replacement != nil {
			p.Changes = append(p.Changes, keyChange{KID: would.Replacement.KID, Alg: string(would.Key.Alg), Before: "standby", After: "active"},
				keyChange{New: true, Alg: string(would.Key.Alg), After: "standby"})
		} else {
			p.Changes = append(p.Changes, keyChange{New: true, Alg: string(would.Key.Alg), After: "active"})
		}
		if would.Mode != nil && p.Values.Get("mode") == "" {
			p.Values.Set("mode", string(*would.Mode))
		}
	} else if p.Key.State == client.KeyStateStandby {
		p.Changes = append(p.Changes, keyChange{New: true, Alg: string(would.Key.Alg), After: "standby"})
	}
	p.beforeAndAfter()
	return nil
}

// beforeAndAfter makes the JWK Sets before and after the act.
func (p *actPage) beforeAndAfter() {
	for _, k := range p.Overview.Keys {
		if !isPublished(k) {
			continue
		}
		p.Before = append(p.Before, jwk{k.KID, string(k.Alg), string(k.Kty)})
		i := slices.IndexFunc(p.Changes, func(c keyChange) bool { return c.KID == k.KID })
		if i < 0 || p.Changes[i].After != "revoked" && p.Changes[i].After != "expired" {
			p.After = append(p.After, jwk{k.KID, string(k.Alg), string(k.Kty)})
		}
	}
	for _, c := range p.Changes {
		if c.New {
			p.After = append(p.After, jwk{"", c.Alg, ""})
		}
	}
}

func revoke(v *visit, p *actPage) error {
	kid := p.Values.Get("kid")
	if _, err := client.Bytes(v.api.Requests.RevokeKey(v.r.Context(), v.Tenant.Slug, kid, nil, p.revocation(), p.once()...)); err != nil {
		return err
	}
	return v.redirect(v.revokedPath(kid) + "&done=1")
}

func (p *actPage) massRevocation() client.RevokeAllRequest {
	return client.RevokeAllRequest{Reason: client.RevocationReason(cmp.Or(p.Values.Get("reason"), "compromised")), Comment: p.optional("comment")}
}

func previewRevokeAll(v *visit, p *actPage) error {
	if p.Values.Get("reason") == "" {
		p.Values.Set("reason", "compromised")
	}
	would, err := v.api.RevokeAllKeys(v.r.Context(), v.Tenant.Slug, &client.RevokeAllKeysParams{DryRun: new(true)}, p.massRevocation())
	if err != nil {
		return err
	}
	p.Trust, p.Breaks = trusts(would.TrustedUntil), would.BreaksTokensUntil
	for _, k := range p.Overview.Keys {
		if isPublished(k) {
			p.Changes = append(p.Changes, keyChange{KID: k.KID, Alg: string(k.Alg), Before: string(k.State), After: "revoked"})
		}
	}
	for _, pol := range p.Overview.Policies {
		p.Changes = append(p.Changes, keyChange{New: true, Alg: string(pol.Alg), After: "active"}, keyChange{New: true, Alg: string(pol.Alg), After: "standby"})
	}
	p.beforeAndAfter()
	return nil
}

func revokeAll(v *visit, p *actPage) error {
	done, err := client.Decode[client.RevokeAllResult](v.api.Requests.RevokeAllKeys(v.r.Context(), v.Tenant.Slug, nil, p.massRevocation(), p.once()...))
	if err != nil {
		return err
	}
	if len(done.Revoked) > 0 { // of one request, any of them leads to all
		return v.redirect(v.revokedPath(done.Revoked[0].KID) + "&done=1")
	}
	p.Done = true
	for _, k := range slices.Concat(done.Active, done.Standby) {
		p.Changes = append(p.Changes, keyChange{KID: k.KID, Alg: string(k.Alg), After: string(k.State)})
	}
	return nil
}

func setStatus(status client.TenantStatus) func(*visit, *actPage) error {
	return func(v *visit, p *actPage) error {
		done, err := client.Decode[served](v.api.Requests.UpdateTenant(v.r.Context(), v.Tenant.Slug, client.UpdateTenantRequest{Status: &status}, p.once()...))
		if err != nil {
			return err
		}
		return v.redirect(v.Base() + "?done=" + map[client.TenantStatus]string{"suspended": "suspended", "active": "resumed"}[status] + done.query())
	}
}

func previewPurge(v *visit, p *actPage) error {
	for _, state := range []client.KeyState{client.KeyStateExpired, client.KeyStateRevoked} {
		list, err := v.api.ListKeys(v.r.Context(), v.Tenant.Slug, &client.ListKeysParams{State: &state, Limit: new(50)})
		if err != nil {
			return err
		}
		p.Purge, p.More = append(p.Purge, list.Items...), p.More || list.NextCursor != nil
	}
	if len(p.Purge) == 0 {
		p.Impossible = "No key is expired or revoked, so there is nothing to purge."
	}
	return nil
}

func purge(v *visit, p *actPage) error {
	done, err := v.api.PurgeKeys(v.r.Context(), v.Tenant.Slug, client.NoOptions{}, p.once()...)
	if err != nil {
		return err
	}
	p.Done = true
	for _, kid := range done.Purged {
		p.Changes = append(p.Changes, keyChange{KID: kid, After: "purged"})
	}
	return nil
}

func previewDeletion(v *visit, p *actPage) error {
	for _, k := range p.Overview.Keys {
		if !isPublished(k) {
			continue
		}
		p.Changes = append(p.Changes, keyChange{KID: k.KID, Alg: string(k.Alg), Before: string(k.State), After: "revoked"})
		if until := k.LastTokenExpiresAt; until != nil && until.After(v.Now) && (p.Breaks == nil || until.After(*p.Breaks)) {
			p.Breaks = until
		}
	}
	p.beforeAndAfter()
	if len(p.Changes) > 0 {
		p.Trust = v.trustOf(client.Key{RevokedAt: &v.Now}) // no fresh key comes after it
	}
	return nil
}

func deleteTenant(v *visit, p *actPage) error {
	if _, err := client.Bytes(v.api.Requests.DeleteTenant(v.r.Context(), v.Tenant.Slug, p.once()...)); err != nil {
		return err
	}
	return v.redirect("/console/tenants?done=deleted&slug=" + url.QueryEscape(v.Tenant.Slug) + "&id=" + v.Tenant.ID.String())
}

func previewRetirement(v *visit, p *actPage) error {
	would, err := client.Decode[client.RetirePreview](v.api.Requests.RetirePolicy(v.r.Context(), v.Tenant.Slug, client.Alg(p.Values.Get("alg")), &client.RetirePolicyParams{DryRun: new(true)}))
	if err != nil {
		return err
	}
	p.Changes, p.Later = splitSteps(v.Now, p.Values.Get("alg"), would.Timeline)
	p.Before, p.After = jwksOf(would.JWKSBefore), jwksOf(would.JWKSAfter)
	return nil
}

func retire(v *visit, p *actPage) error {
	if _, err := client.Bytes(v.api.Requests.RetirePolicy(v.r.Context(), v.Tenant.Slug, client.Alg(p.Values.Get("alg")), nil, p.once()...)); err != nil {
		return err
	}
	return v.redirect(v.Base() + "/policies?done=retired")
}

// nullText is null for an empty field, which clears it.
func nullText(text string) nullable.Nullable[string] {
	if text = strings.TrimSpace(text); text == "" {
		return nullable.NewNullNullable[string]()
	}
	return nullable.NewNullableWithValue(text)
}

// wrongTime is shown beside a field that parseTime cannot read.
const wrongTime = "Not a time: use 2026-01-31T09:00, in UTC."

func parseTime(text string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.Parse(layout, strings.TrimSpace(text)); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, errors.New("not a time")
}
