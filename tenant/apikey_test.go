package tenant_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/tenant"
)

// key makes a credential; a nil tenant is the platform.
func (w world) key(t *testing.T, id *uuid.UUID, role tenant.Role) (tenant.APIKey, string) {
	t.Helper()
	k, key, err := w.CreateAPIKey(t.Context(), somebody, tenant.NewAPIKey{TenantID: id, Role: role, Name: "ci"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return k, key
}

func TestCreateAPIKey(t *testing.T) {
	w := newWorld(t)
	id := w.tenant(t, "acme")
	k, key := w.key(t, &id, tenant.TenantSigner)
	if !regexp.MustCompile(`^kw_[0-9a-f]{32}_[a-z2-7]{52}$`).MatchString(key) || !strings.Contains(key, strings.ReplaceAll(k.ID.String(), "-", "")) {
		t.Errorf("key looks like %q", regexp.MustCompile(`[a-z2-7]{52}$`).ReplaceAllString(key, "…"))
	}
	p, err := w.Authenticate(t.Context(), key)
	if err != nil || p.Actor.ID != k.ID.String() || p.Role != tenant.TenantSigner || *p.TenantID != id || p.Actor.Name != "ci" {
		t.Errorf("%+v, %v", p, err)
	}
	events := w.events(t, id)
	if e := events[1]; e.Action != audit.APIKeyCreated || string(e.Details) != fmt.Sprintf(`{"id":"%s","name":"ci","role":"tenant_signer"}`, k.ID) {
		t.Errorf("%+v %s", e, e.Details)
	}
	w.secretIsNowhere(t, key)
}

// secretIsNowhere looks for a key's secret in everything that is stored.
func (w world) secretIsNowhere(t *testing.T, key string) {
	t.Helper()
	secret := key[strings.LastIndex(key, "_")+1:]
	for _, table := range []string{"api_keys", "audit_events", "tenants", "idempotency_keys"} {
		var found int
		err := w.connect(t).QueryRow(t.Context(), "SELECT count(*) FROM "+table+" r WHERE r::text LIKE '%' || $1 || '%' OR r::text LIKE '%' || $2 || '%'",
			secret, fmt.Sprintf("%x", secret)).Scan(&found)
		if err != nil || found != 0 {
			t.Errorf("%s holds the secret (%d rows), %v", table, found, err)
		}
	}
}

func TestPlatformKeys(t *testing.T) {
	w := newWorld(t)
	_, _, err := w.CreateAPIKey(t.Context(), somebody, tenant.NewAPIKey{Role: tenant.PlatformAdmin}, nil)
	if !errors.Is(err, tenant.ErrNoPlatform) {
		t.Fatalf("before the platform's tenant exists: %v", err)
	}
	platform := w.tenant(t, tenant.PlatformSlug)
	k, key := w.key(t, nil, tenant.PlatformAdmin)
	if p, err := w.Authenticate(t.Context(), key); err != nil || p.TenantID != nil || p.Role != tenant.PlatformAdmin {
		t.Errorf("%+v, %v", p, err)
	}
	if err := w.RevokeAPIKey(t.Context(), somebody, nil, k.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Authenticate(t.Context(), key); !errors.Is(err, tenant.ErrUnauthenticated) {
		t.Errorf("revoked: %v", err)
	}
	if got, want := actions(w.events(t, platform)), []audit.Action{audit.TenantCreated, audit.APIKeyCreated, audit.APIKeyRevoked}; !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
}

func TestCreateAPIKeyRefused(t *testing.T) {
	w := newWorld(t)
	w.tenant(t, tenant.PlatformSlug)
	id, gone, nobody := w.tenant(t, "acme"), w.tenant(t, "gone"), uuid.New()
	w.delete(t, gone)
	past, idem := noon, tenant.Idempotency{CredentialID: "c", Key: strings.Repeat("k", 256), RequestHash: []byte("h")}
	for name, c := range map[string]struct {
		n     tenant.NewAPIKey
		idem  *tenant.Idempotency
		field string
		is    error
	}{
		"platform role for a tenant":   {tenant.NewAPIKey{TenantID: &id, Role: tenant.PlatformAuditor}, nil, "role", nil},
		"tenant role for the platform": {tenant.NewAPIKey{Role: tenant.TenantAdmin}, nil, "role", nil},
		"no role":                      {tenant.NewAPIKey{TenantID: &id}, nil, "role", nil},
		"made-up role":                 {tenant.NewAPIKey{Role: "platform_root"}, nil, "role", nil},
		"long name":                    {tenant.NewAPIKey{TenantID: &id, Role: tenant.TenantAdmin, Name: strings.Repeat("x", 201)}, nil, "name", nil},
		"expired":                      {tenant.NewAPIKey{TenantID: &id, Role: tenant.TenantAdmin, ExpiresAt: &past}, nil, "expires_at", nil},
		"long idempotency key":         {tenant.NewAPIKey{TenantID: &id, Role: tenant.TenantAdmin}, &idem, "Idempotency-Key", nil},
		"deleted tenant":               {tenant.NewAPIKey{TenantID: &gone, Role: tenant.TenantAdmin}, nil, "", tenant.ErrNotFound},
		"no tenant":                    {tenant.NewAPIKey{TenantID: &nobody, Role: tenant.TenantAdmin}, nil, "", tenant.ErrNotFound},
	} {
		_, key, err := w.CreateAPIKey(t.Context(), somebody, c.n, c.idem)
		var broken *tenant.FieldErrors
		if key != "" || c.is != nil && !errors.Is(err, c.is) || c.is == nil && (!errors.As(err, &broken) || broken.Fields[0].Field != c.field) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := w.events(t, id); len(got) != 1 {
		t.Errorf("refusals left %v", actions(got))
	}
}

func TestListAndRevokeAPIKeys(t *testing.T) {
	w := newWorld(t)
	w.tenant(t, tenant.PlatformSlug)
	id, other := w.tenant(t, "acme"), w.tenant(t, "other")
	var want []uuid.UUID
	for range 5 {
		k, _ := w.key(t, &id, tenant.TenantAuditor)
		want = append([]uuid.UUID{k.ID}, want...)
	}
	theirs, key := w.key(t, &other, tenant.TenantAdmin)
	w.key(t, nil, tenant.PlatformAdmin)
	for name, tenantID := range map[string]*uuid.UUID{"another tenant": &id, "the platform": nil} {
		if err := w.RevokeAPIKey(t.Context(), somebody, tenantID, theirs.ID); !errors.Is(err, tenant.ErrNoAPIKey) {
			t.Errorf("by %s: %v", name, err)
		}
	}
	if _, err := w.Authenticate(t.Context(), key); err != nil {
		t.Error(err)
	}
	if err := w.RevokeAPIKey(t.Context(), somebody, &id, want[1]); err != nil {
		t.Fatal(err)
	}
	if err := w.RevokeAPIKey(t.Context(), somebody, &id, want[1]); !errors.Is(err, tenant.ErrNoAPIKey) {
		t.Errorf("twice: %v", err)
	}
	if got := w.ids(t, &id); !slices.Equal(got, slices.Delete(slices.Clone(want), 1, 2)) {
		t.Errorf("%v, want %v without the second", got, want)
	}
	if got := w.ids(t, nil); len(got) != 1 {
		t.Errorf("%d platform keys", len(got))
	}
	if got := w.events(t, id); len(got) != 7 || got[6].Action != audit.APIKeyRevoked {
		t.Errorf("%v", actions(got))
	}
}

func (w world) ids(t *testing.T, tenantID *uuid.UUID) (ids []uuid.UUID) {
	t.Helper()
	for cursor, more := "", true; more; more = cursor != "" {
		page, next, err := w.ListAPIKeys(t.Context(), tenantID, 2, cursor)
		if err != nil || len(page) > 2 {
			t.Fatalf("%d keys, %v", len(page), err)
		}
		for _, k := range page {
			ids = append(ids, k.ID)
		}
		cursor = next
	}
	return ids
}

func TestConcurrentCreations(t *testing.T) {
	w := newWorld(t)
	id := w.tenant(t, "acme")
	var writers sync.WaitGroup
	for range 50 {
		writers.Go(func() {
			_, _, err := w.CreateAPIKey(t.Context(), somebody, tenant.NewAPIKey{TenantID: &id, Role: tenant.TenantAuditor}, nil)
			if err != nil {
				t.Error(err)
			}
		})
	}
	writers.Wait()
	if got := w.events(t, id); len(got) != 51 {
		t.Errorf("%d events, want 51", len(got))
	}
}

func TestIdempotency(t *testing.T) {
	w := newWorld(t)
	w.tenant(t, tenant.PlatformSlug)
	id := w.tenant(t, "acme")
	idem := tenant.Idempotency{CredentialID: "c1", Key: "k1", RequestHash: bytes.Repeat([]byte{1}, 32)}
	create := func(tenantID *uuid.UUID, role tenant.Role, idem tenant.Idempotency) (uuid.UUID, error) {
		k, _, err := w.CreateAPIKey(context.WithoutCancel(t.Context()), somebody, tenant.NewAPIKey{TenantID: tenantID, Role: role}, &idem)
		return k.ID, err
	}
	var (
		mu         sync.Mutex
		made       []uuid.UUID
		replays    []uuid.UUID
		requesters sync.WaitGroup
	)
	for range 20 {
		requesters.Go(func() {
			k, err := create(&id, tenant.TenantAdmin, idem)
			var replay *tenant.ReplayError
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				made = append(made, k)
			case errors.As(err, &replay):
				replays = append(replays, replay.ResourceID)
			default:
				t.Error(err)
			}
		})
	}
	requesters.Wait()
	if len(made) != 1 || len(replays) != 19 || slices.ContainsFunc(replays, func(r uuid.UUID) bool { return r != made[0] }) {
		t.Errorf("made %v, replays %v", made, replays)
	}
	other := idem
	other.RequestHash = bytes.Repeat([]byte{2}, 32)
	if _, err := create(&id, tenant.TenantAdmin, other); !errors.Is(err, tenant.ErrIdempotencyMismatch) {
		t.Errorf("another request: %v", err)
	}
	somebodyElse := idem
	somebodyElse.CredentialID = "c2"
	if _, err := create(&id, tenant.TenantAdmin, somebodyElse); err != nil {
		t.Errorf("another credential's key: %v", err)
	}
	if _, err := create(nil, tenant.PlatformAuditor, idem); err != nil {
		t.Errorf("the platform's: %v", err)
	}
	if got := w.ids(t, &id); len(got) != 2 {
		t.Errorf("%d keys, want 2", len(got))
	}
}

func TestExpiryIsKept(t *testing.T) {
	w := newWorld(t)
	id := w.tenant(t, "acme")
	at := noon.Add(time.Minute)
	_, key, err := w.CreateAPIKey(t.Context(), somebody, tenant.NewAPIKey{TenantID: &id, Role: tenant.TenantAdmin, ExpiresAt: &at}, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.pass(time.Minute - time.Microsecond)
	if _, err := w.Authenticate(t.Context(), key); err != nil {
		t.Errorf("just before: %v", err)
	}
	w.pass(time.Microsecond) // answered from memory
	if _, err := w.Authenticate(t.Context(), key); !errors.Is(err, tenant.ErrUnauthenticated) {
		t.Errorf("at its end: %v", err)
	}
}
