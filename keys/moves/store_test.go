package moves

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/tenant"
)

func TestNewTenantHasActiveAndStandby(t *testing.T) {
	p := newProcess(t)
	made := p.tenant(t, "acme", asDefault(jose.ES256), defaultOf(t, jose.EdDSA))
	for _, alg := range []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA} {
		for _, state := range []keys.State{keys.Active, keys.Standby} {
			page, err := p.store.List(t.Context(), made.ID, Filter{State: state, Alg: alg, Limit: 10})
			if err != nil || len(page.Items) != 1 {
				t.Fatalf("%s %s: %d keys, %v", alg, state, len(page.Items), err)
			}
		}
	}
	p.intact(t, made.ID)
	events := p.actions(t, made)
	want := []audit.Action{
		audit.TenantCreated, audit.DataKeyCreated,
		audit.PolicyCreated, audit.KeyCreated, audit.KeyActivated, audit.KeyCreated,
		audit.PolicyCreated, audit.KeyCreated, audit.KeyActivated, audit.KeyCreated,
	}
	if !slices.Equal(events, want) {
		t.Errorf("history is %v, want %v", events, want)
	}
}

// defaultOf is a policy that is not the default one of its tenant.
func defaultOf(t testing.TB, alg jose.SignatureAlgorithm) tenant.Policy {
	t.Helper()
	p := tenant.DefaultPolicy(alg)
	p.Default = false
	return p
}

func (p *process) actions(t testing.TB, made tenant.Tenant) (actions []audit.Action) {
	t.Helper()
	page, err := p.audit.List(t.Context(), made.ID, audit.Filter{Ascending: true, Limit: 500})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range page.Events {
		actions = append(actions, e.Action)
	}
	return actions
}

func TestLifeOfAKeyByTheSchedule(t *testing.T) {
	p := newProcess(t)
	made := p.tenant(t, "acme")
	first, second := p.only(t, made.ID, keys.Active), p.only(t, made.ID, keys.Standby)

	p.clock.Advance(30*24*time.Hour - time.Minute)
	if done := p.tick(t); done.Rotated != 0 {
		t.Fatalf("rotated %d before the interval was over", done.Rotated)
	}
	p.clock.Advance(2 * time.Minute)
	if done := p.tick(t); done.Rotated != 2 { // the platform's own tenant too
		t.Fatalf("rotated %d, want 2", done.Rotated)
	}
	if got := p.only(t, made.ID, keys.Active); got != second {
		t.Errorf("active is %s, want the old standby %s", got, second)
	}
	if got := p.only(t, made.ID, keys.Deprecated); got != first {
		t.Errorf("deprecated is %s, want the old active %s", got, first)
	}
	p.only(t, made.ID, keys.Standby)

	p.clock.Advance(7*24*time.Hour + time.Minute)
	p.tick(t)
	if got := p.only(t, made.ID, keys.Expired); got != first {
		t.Errorf("expired is %s, want %s", got, first)
	}
	p.clock.Advance(90*24*time.Hour + time.Minute)
	p.tick(t)
	if got := p.in(t, made.ID, keys.Purged); !slices.Contains(got, first) {
		t.Errorf("purged are %v, want %s among them", got, first)
	}
	k, err := p.store.Get(t.Context(), made.ID, first)
	if err != nil || k.PublicJWK != nil || k.PurgedAt == nil || k.ActivatedAt == nil {
		t.Errorf("a purged key keeps its history and loses its public key: %+v, %v", k, err)
	}
	p.intact(t, made.ID)
}

func TestRotateByHand(t *testing.T) {
	p := newProcess(t)
	made := p.tenant(t, "acme")
	first, second := p.only(t, made.ID, keys.Active), p.only(t, made.ID, keys.Standby)
	p.clock.Advance(90 * time.Second)
	r, err := p.store.Rotate(t.Context(), tester, made.ID, RotateRequest{Reason: "drill"})
	if err != nil {
		t.Fatal(err)
	}
	if r.Active.KID != second || r.Deprecated.KID != first || r.Standby.KID == "" || r.PublishedSeconds != 90 {
		t.Errorf("got %+v", r)
	}
	if got := p.only(t, made.ID, keys.Standby); got != r.Standby.KID {
		t.Errorf("standby is %s, want %s", got, r.Standby.KID)
	}
	p.intact(t, made.ID)
}

func TestPreviewChangesNothing(t *testing.T) {
	p := newProcess(t)
	made := p.tenant(t, "acme")
	before := p.actions(t, made)
	preview, err := p.store.PreviewRotation(t.Context(), tester, made.ID, RotateRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if preview.Active.KID != p.only(t, made.ID, keys.Standby) || preview.Deprecated.KID != p.only(t, made.ID, keys.Active) {
		t.Errorf("got %+v", preview)
	}
	if len(preview.Before) != 2 || len(preview.After) != 2 || len(preview.Timeline) < 5 {
		t.Errorf("before %d, after %d, timeline %+v", len(preview.Before), len(preview.After), preview.Timeline)
	}
	if after := p.actions(t, made); !slices.Equal(before, after) {
		t.Errorf("the history grew from %v to %v", before, after)
	}
}

func TestRevoke(t *testing.T) {
	for _, c := range []struct {
		name  string
		state keys.State
		req   RevokeRequest
		mode  Mode
	}{
		{"active, standby takes over", keys.Active, RevokeRequest{Reason: keys.Superseded}, StandbyTakesOver},
		{"active, compromised", keys.Active, RevokeRequest{Reason: keys.Compromised}, FreshTakesOver},
		{"active, compromised, standby asked for", keys.Active, RevokeRequest{Reason: keys.Compromised, Mode: StandbyTakesOver}, StandbyTakesOver},
		{"active, fresh asked for", keys.Active, RevokeRequest{Reason: keys.Unspecified, Mode: FreshTakesOver}, FreshTakesOver},
		{"standby", keys.Standby, RevokeRequest{Reason: keys.Compromised}, ""},
		{"deprecated", keys.Deprecated, RevokeRequest{Reason: keys.Compromised}, ""},
	} {
		t.Run(c.name, func(t *testing.T) { testRevoke(t, c.state, c.req, c.mode) })
	}
}

func testRevoke(t *testing.T, state keys.State, req RevokeRequest, mode Mode) {
	p := newProcess(t)
	made := p.tenant(t, "acme")
	if _, err := p.store.Rotate(t.Context(), tester, made.ID, RotateRequest{}); err != nil {
		t.Fatal(err)
	}
	active, standby, kid := p.only(t, made.ID, keys.Active), p.only(t, made.ID, keys.Standby), p.only(t, made.ID, state)
	r, err := p.store.Revoke(t.Context(), tester, made.ID, kid, req)
	if err != nil {
		t.Fatal(err)
	}
	if r.Key.KID != kid || r.Key.State != keys.Revoked || r.Mode != mode || len(r.TrustedUntil) == 0 {
		t.Errorf("got %+v", r)
	}
	now, next := p.only(t, made.ID, keys.Active), p.only(t, made.ID, keys.Standby)
	switch {
	case state == keys.Deprecated && (now != active || next != standby),
		state == keys.Standby && (now != active || next == standby),
		mode == StandbyTakesOver && (now != standby || next == standby),
		mode == FreshTakesOver && (now == active || now == standby || next != standby):
		t.Errorf("active went from %s to %s, standby from %s to %s", active, now, standby, next)
	}
	if _, err := p.store.Revoke(t.Context(), tester, made.ID, kid, req); !errors.Is(err, keys.ErrInvalidTransition) {
		t.Errorf("revoking again: %v", err)
	}
	p.intact(t, made.ID)
}

func TestRevokeAllAndPurge(t *testing.T) {
	p := newProcess(t)
	made := p.tenant(t, "acme", asDefault(jose.ES256), defaultOf(t, jose.EdDSA))
	if _, err := p.store.Rotate(t.Context(), tester, made.ID, RotateRequest{Alg: jose.EdDSA}); err != nil {
		t.Fatal(err)
	}
	out, err := p.store.RevokeAll(t.Context(), tester, made.ID, keys.Compromised, "drill")
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Revoked) != 5 || len(out.Active) != 2 || len(out.Standby) != 2 {
		t.Errorf("revoked %d, active %d, standby %d", len(out.Revoked), len(out.Active), len(out.Standby))
	}
	purged, err := p.store.Purge(t.Context(), tester, made.ID)
	if err != nil || len(purged) != 5 {
		t.Errorf("purged %d: %v", len(purged), err)
	}
	if _, err := p.store.Revoke(t.Context(), tester, made.ID, purged[0].KID, RevokeRequest{Reason: keys.Unspecified}); !errors.Is(err, keys.ErrInvalidTransition) {
		t.Errorf("revoking a purged key: %v", err)
	}
	p.intact(t, made.ID)
}

func TestMaxPublishedKeysMakesARotationWait(t *testing.T) {
	p := newProcess(t)
	policy := tenant.DefaultPolicy(jose.ES256)
	policy.MaxPublishedKeys = 3
	made := p.tenant(t, "acme", policy)
	if _, err := p.store.Rotate(t.Context(), tester, made.ID, RotateRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.store.Rotate(t.Context(), tester, made.ID, RotateRequest{}); !errors.Is(err, ErrRotationWaits) {
		t.Fatalf("a token of the deprecated key may live, yet: %v", err)
	}
	p.clock.Advance(24*time.Hour + 2*time.Minute)
	if _, err := p.store.Rotate(t.Context(), tester, made.ID, RotateRequest{}); err != nil {
		t.Fatalf("no token of the deprecated key can live: %v", err)
	}
	p.only(t, made.ID, keys.Expired)
	p.intact(t, made.ID)
}

func TestPolicies(t *testing.T) {
	p := newProcess(t)
	made := p.tenant(t, "acme")
	ctx := t.Context()
	if _, created, err := p.store.PutPolicy(ctx, tester, made.ID, defaultOf(t, jose.RS256)); err != nil || !created {
		t.Fatalf("created %v, %v", created, err)
	}
	if err := p.store.RetirePolicy(ctx, tester, made.ID, jose.ES256); !errors.Is(err, ErrDefaultPolicy) {
		t.Errorf("retiring the default policy: %v", err)
	}
	if _, created, err := p.store.PutPolicy(ctx, tester, made.ID, asDefault(jose.RS256)); err != nil || created {
		t.Fatalf("created %v, %v", created, err)
	}
	if err := p.store.RetirePolicy(ctx, tester, made.ID, jose.ES256); err != nil {
		t.Fatal(err)
	}
	page, err := p.store.List(ctx, made.ID, Filter{Alg: jose.ES256, Limit: 10})
	if err != nil || len(page.Items) != 2 || page.Items[0].State == page.Items[1].State {
		t.Errorf("a retired policy has a deprecated and a revoked key: %+v, %v", page.Items, err)
	}
	if _, created, err := p.store.PutPolicy(ctx, tester, made.ID, defaultOf(t, jose.ES256)); err != nil || !created {
		t.Fatalf("a retired policy comes back: created %v, %v", created, err)
	}
	bad := defaultOf(t, jose.ES256)
	bad.GracePeriod = bad.MaxTokenTTL
	var refused *tenant.PolicyError
	if _, _, err := p.store.PutPolicy(ctx, tester, made.ID, bad); !errors.As(err, &refused) {
		t.Errorf("a grace period shorter than tokens: %v", err)
	}
	p.intact(t, made.ID)
}

func TestShorterTokensDoNotShortenOldOnes(t *testing.T) {
	p := newProcess(t)
	made := p.tenant(t, "acme")
	signedAt := p.clock.Now()
	short := tenant.DefaultPolicy(jose.ES256)
	short.Default = true
	short.MaxTokenTTL, short.DefaultTokenTTL, short.GracePeriod = time.Minute, time.Minute, 5*time.Minute
	if _, _, err := p.store.PutPolicy(t.Context(), tester, made.ID, short); err != nil {
		t.Fatal(err)
	}
	r, err := p.store.Rotate(t.Context(), tester, made.ID, RotateRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if least := signedAt.Add(24*time.Hour + time.Minute); r.Deprecated.ExpiresAt.Before(least) {
		t.Errorf("expires at %v, but a token signed before may live until %v", r.Deprecated.ExpiresAt, least)
	}
}

func TestDeleteTenant(t *testing.T) {
	p := newProcess(t)
	made := p.tenant(t, "acme")
	_, credential, err := p.tenants.CreateAPIKey(t.Context(), tester, tenant.NewAPIKey{TenantID: &made.ID, Role: tenant.TenantSigner})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.store.DeleteTenant(t.Context(), tester, made.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := p.tenants.Authenticate(t.Context(), credential); !errors.Is(err, tenant.ErrUnauthenticated) {
		t.Errorf("the deleted tenant's credential: %v", err)
	}
	if got := p.actions(t, made); !slices.Contains(got, audit.APIKeyRevoked) || !slices.Contains(got, audit.DataKeyDestroyed) {
		t.Errorf("history is %v", got)
	}
	if err := p.store.DeleteTenant(t.Context(), tester, made.ID); !errors.Is(err, tenant.ErrNotFound) {
		t.Errorf("deleting again: %v", err)
	}
	again := p.tenant(t, "acme")
	if again.ID == made.ID {
		t.Error("the id was used again")
	}
	p.intact(t, made.ID)
	p.clock.Advance(91 * 24 * time.Hour)
	p.tick(t)
	if got := p.in(t, made.ID, keys.Purged); len(got) != 2 {
		t.Errorf("%d keys of the deleted tenant are purged, want 2", len(got))
	}
	platform, err := p.tenants.Get(t.Context(), tenant.PlatformSlug)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.store.DeleteTenant(t.Context(), tester, platform.ID); !errors.Is(err, tenant.ErrBuiltIn) {
		t.Errorf("deleting the platform's tenant: %v", err)
	}
}

func asDefault(alg jose.SignatureAlgorithm) tenant.Policy {
	p := tenant.DefaultPolicy(alg)
	p.Default = true
	return p
}
