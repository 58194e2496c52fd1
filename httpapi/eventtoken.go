package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/keys/signing"
	"github.com/keyward/keyward/keys/snapshot"
	"github.com/keyward/keyward/keys/tokens"
	"github.com/keyward/keyward/tenant"
	"github.com/keyward/keyward/webhook"
)

// EventSigner signs what webhooks are told, by a key of the platform. It is a
// [webhook.Signer].
type EventSigner struct {
	Snapshots *snapshot.Cache
	Signer    *signing.Signer
	PublicURL string // without a trailing slash
}

// Sign implements [webhook.Signer].
func (s EventSigner) Sign(ctx context.Context, body []byte) (string, error) {
	signed, err := s.Signer.Attest(ctx, signing.PayloadOrder{Payload: body, Typ: webhook.SignatureType, Form: tokens.Form{Detached: true}})
	return signed.JWS, err
}

// SignSET implements [webhook.Signer].
func (s EventSigner) SignSET(ctx context.Context, e audit.Event, id uuid.UUID, audience string, at time.Time) (string, error) {
	platform, err := s.Snapshots.Fresh(ctx, tenant.PlatformSlug)
	if err != nil {
		return "", err
	}
	issuer := s.PublicURL + "/t/" + e.Tenant // of a deleted tenant
	if snap, err := s.Snapshots.Fresh(ctx, e.TenantID.String()); err == nil {
		issuer = snap.Issuer
	} else if !errors.Is(err, tenant.ErrNotFound) {
		return "", err
	}
	payload, err := json.Marshal(newEventToken(platform.Issuer, issuer, e, id, audience, at))
	if err != nil {
		return "", err
	}
	signed, err := s.Signer.Attest(ctx, signing.PayloadOrder{Payload: payload, Typ: tokens.EventType})
	return signed.JWS, err
}

// credentialChange is the event type of CAEP 1.0 section 3.3.
const credentialChange = "https://schemas.openid.net/secevent/caep/event-type/credential-change" // #nosec G101 -- a type of events

// eventToken holds the claims of a Security Event Token (RFC 8417 section 2.2). It says
// what happened to which key or tenant, and neither who did it nor the free text that
// they gave.
type eventToken struct {
	Issuer    string         `json:"iss"`
	ID        uuid.UUID      `json:"jti"`
	IssuedAt  int64          `json:"iat"`
	Audience  string         `json:"aud"`
	Time      int64          `json:"toe"`
	SubjectID subjectID      `json:"sub_id"`
	Events    map[string]any `json:"events"`
}

// subjectID is an identifier of format iss_sub (RFC 9493 section 3.2.3): of a tenant's
// issuer, the kid of a key, or the tenant's slug.
type subjectID struct {
	Format  string `json:"format"`
	Issuer  string `json:"iss"`
	Subject string `json:"sub"`
}

// keyChange is the event of a key. The members that CAEP does not define are Keyward's.
type keyChange struct {
	CredentialType string `json:"credential_type"`
	ChangeType     string `json:"change_type"`
	Timestamp      int64  `json:"event_timestamp"`
	Action         string `json:"action"`
	KID            string `json:"kid"`
	State          string `json:"state,omitempty"`
	Reason         string `json:"reason,omitempty"` // of a revocation
}

// tenantChange is the event of a tenant.
type tenantChange struct {
	Timestamp int64  `json:"event_timestamp"`
	Action    string `json:"action"`
	State     string `json:"state,omitempty"`
}

// changeTypes are those of CAEP by action; others are updates.
var changeTypes = map[audit.Action]string{
	audit.KeyCreated: "create", audit.KeyImported: "create", audit.KeyRevoked: "revoke", audit.KeyExpired: "delete", audit.KeyPurged: "delete",
}

// newEventToken returns the claims for an event of a tenant whose issuer is given.
func newEventToken(platform, issuer string, e audit.Event, id uuid.UUID, audience string, at time.Time) eventToken {
	t := eventToken{Issuer: platform, ID: id, IssuedAt: at.Unix(), Audience: audience, Time: e.At.Unix(), SubjectID: subjectID{"iss_sub", issuer, e.Tenant}}
	if e.KID == "" {
		t.Events = map[string]any{platform + "/events/" + string(e.Action): tenantChange{e.At.Unix(), string(e.Action), e.ToState}}
		return t
	}
	t.SubjectID.Subject = e.KID
	k := keyChange{CredentialType: "jwk", ChangeType: "update", Timestamp: e.At.Unix(), Action: string(e.Action), KID: e.KID, State: e.ToState}
	if change := changeTypes[e.Action]; change != "" {
		k.ChangeType = change
	}
	if e.Action == audit.KeyRevoked {
		k.Reason = e.Reason
	}
	t.Events = map[string]any{credentialChange: k}
	return t
}
