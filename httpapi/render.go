package httpapi

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/oapi-codegen/nullable"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/moves"
	"github.com/keyward/keyward/tenant"
)

// reply answers with a JSON body. Nothing is escaped for HTML: it is none.
func reply(c echo.Context, status int, v any) error {
	body, err := encoded(v)
	if err != nil {
		return err
	}
	return c.Blob(status, echo.MIMEApplicationJSON, body)
}

// encoded is v as JSON, in which "&" stays "&", and a line feed.
func encoded(v any) ([]byte, error) {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return body.Bytes(), err
}

// ptr is a value that may be absent.
func ptr[T any](v T) *T { return &v }

// given is v, or nil for the zero value, which then is absent from the answer.
func given[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// or is what p points to, or a default.
func or[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}

func whole(d time.Duration) int64 { return int64(d / time.Second) }

func seconds(n int64) time.Duration { return time.Duration(n) * time.Second }

func (s *server) renderTenant(t tenant.Tenant) Tenant {
	domain := nullable.NewNullNullable[string]()
	if t.CustomDomain != "" {
		domain.Set(t.CustomDomain)
	}
	return Tenant{
		ID: t.ID, Slug: t.Slug, Name: t.Name, Issuer: t.Issuer(s.cfg.PublicURL), CustomDomain: domain, Status: TenantStatus(t.Status),
		JWKSMaxAgeSeconds:               whole(t.Caching.MaxAge),
		JWKSStaleWhileRevalidateSeconds: whole(t.Caching.StaleWhileRevalidate),
		JWKSStaleIfErrorSeconds:         whole(t.Caching.StaleIfError),
		ClockSkewSeconds:                whole(t.Caching.ClockSkew),
		NotBefore:                       t.NotBefore, FreezeWindows: renderFreezes(t.Freezes), ApprovalRequired: renderGuarded(t.ApprovalRequired),
		Metadata: renderMetadata(t.Metadata), CreatedAt: t.CreatedAt.UTC(), UpdatedAt: t.UpdatedAt.UTC(),
	}
}

func renderMetadata(members json.RawMessage) *ProviderMetadata {
	if len(members) == 0 {
		return nil
	}
	return ptr(ProviderMetadata(members))
}

func renderFreezes(freezes []tenant.Freeze) []FreezeWindow {
	out := make([]FreezeWindow, len(freezes))
	for i, f := range freezes {
		out[i] = FreezeWindow{From: f.From, Until: f.Until, Reason: given(f.Reason)}
	}
	return out
}

func renderPolicy(p tenant.Policy) Policy {
	return Policy{
		Alg: Alg(p.Alg), Default: p.Default, RSABits: given(p.RSABits),
		RotationIntervalSeconds: whole(p.RotationInterval), PublishLeadSeconds: whole(p.PublishLead),
		GracePeriodSeconds: whole(p.GracePeriod), PurgeAfterSeconds: whole(p.PurgeAfter),
		DefaultTokenTTLSeconds: whole(p.DefaultTokenTTL), MaxTokenTTLSeconds: whole(p.MaxTokenTTL),
		MaxPublishedKeys: p.MaxPublishedKeys,
	}
}

func renderKey(e moves.Entry) Key {
	out := Key{
		KID: e.KID, Alg: Alg(e.Alg), Kty: KeyKty(keys.KeyType(e.Alg)), Use: KeyUseSig, State: KeyState(e.State), Origin: KeyOrigin(e.Origin),
		CreatedAt: e.CreatedAt, PublishedAt: e.PublishedAt, ActivatedAt: e.ActivatedAt, DeprecatedAt: e.DeprecatedAt,
		ExpiresAt: e.ExpiresAt, RevokedAt: e.RevokedAt, RevocationReason: given(RevocationReason(e.RevocationReason)),
		PurgedAt: e.PurgedAt, NextTransitionAt: e.NextTransitionAt, LastSignedAt: e.LastSignedAt,
		LastTokenExpiresAt: e.LastTokenExpiresAt, SafeToRetireAt: e.SafeToRetireAt,
	}
	if e.ExpiredAt != nil { // it left then, which may be earlier than planned
		out.ExpiresAt = e.ExpiredAt
	}
	if e.PublicJWK != nil {
		out.PublicJWK = ptr(e.PublicJWK)
	}
	return out
}

func renderKeys(entries []moves.Entry) []Key {
	out := make([]Key, len(entries))
	for i, e := range entries {
		out[i] = renderKey(e)
	}
	return out
}

func renderEvent(e audit.Event) AuditEvent {
	return AuditEvent{
		Seq: e.Seq, At: e.At, Tenant: e.Tenant, TenantID: e.TenantID, Action: AuditAction(e.Action),
		Actor: Actor{Type: ActorType(e.Actor.Type), ID: e.Actor.ID, Name: e.Actor.Name},
		KID:   given(e.KID), FromState: given(e.FromState), ToState: given(e.ToState), Reason: given(e.Reason),
		RequestID: given(e.RequestID), Details: JSONObject(e.Details),
		Hash: hex.EncodeToString(e.Hash), PrevHash: hex.EncodeToString(e.PrevHash),
	}
}

func renderAPIKey(k tenant.APIKey) APIKey {
	return APIKey{
		ID: k.ID, Name: k.Name, Role: Role(k.Role), CreatedAt: k.CreatedAt, ExpiresAt: k.ExpiresAt, LastUsedAt: k.LastUsedAt,
	}
}
