package signing

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/keys/tokens"
	"github.com/keyward/keyward/tenant"
)

// Attest signs a statement of the platform itself with the platform's active key, under
// a reserved typ that callers of SignToken and SignPayload cannot use; verifiers of the
// statement require that typ. Errors: those of SignPayload.
func (s *Signer) Attest(ctx context.Context, o PayloadOrder) (signed SignedPayload, err error) {
	if !tokens.ReservedType(o.Typ) && !tokens.IsEventType(o.Typ) {
		return SignedPayload{}, fmt.Errorf("keys: attest: typ %q is not reserved", o.Typ)
	}
	o.attested = true
	err = s.signWithRetry(ctx, tenant.PlatformSlug, func(d session) (err error) {
		signed, err = s.signPayload(ctx, d, o, tokens.CallerHeader{})
		return err
	})
	return signed, err
}

// CheckpointType is the typ of a checkpoint.
const CheckpointType = "keyward-checkpoint+jwt"

// ErrCheckpoint means that a text is not a checkpoint signed by one of the given keys.
var ErrCheckpoint = errors.New("keys: not a valid checkpoint")

// Checkpoint attests the end of a tenant's audit chain at some time. A copy kept
// elsewhere proves later that no event up to that point was rewritten, not even by an
// attacker with write access to events and head.
type Checkpoint struct {
	Issuer   string    `json:"iss"` // of the platform
	IssuedAt int64     `json:"iat"` // seconds since 1970-01-01 UTC
	TenantID uuid.UUID `json:"tenant_id"`
	Tenant   string    `json:"tenant"` // the slug at that time
	Seq      int64     `json:"seq"`
	Hash     string    `json:"hash"` // of the event at Seq, in hexadecimal
	At       time.Time `json:"at"`   // of that event
}

// Checkpoint signs the end of a chain with the platform's active key; it never expires.
// Errors: those of SignToken.
func (s *Signer) Checkpoint(ctx context.Context, h audit.HeadEvent) (SignedPayload, error) {
	platform, err := s.openSession(ctx, tenant.PlatformSlug)
	if err != nil {
		return SignedPayload{}, err
	}
	payload, err := json.Marshal(Checkpoint{
		Issuer: platform.Issuer, IssuedAt: platform.now.Unix(),
		TenantID: h.TenantID, Tenant: h.Tenant, Seq: h.Seq, Hash: hex.EncodeToString(h.Hash), At: h.At.UTC(),
	})
	if err != nil {
		return SignedPayload{}, err
	}
	return s.Attest(ctx, PayloadOrder{Payload: payload, Typ: CheckpointType})
}

// VerifyCheckpoint parses a checkpoint and verifies that one of the platform's keys,
// given as a JWK Set, signed it. It uses nothing but its arguments. The typ must be
// [CheckpointType]: other statements of the platform are rejected. Errors wrap
// [ErrCheckpoint].
func VerifyCheckpoint(jws string, platform []byte) (c Checkpoint, err error) {
	payload, err := tokens.VerifyAttestation(jws, CheckpointType, platform)
	if err == nil {
		err = json.Unmarshal(payload, &c)
	}
	if hash, bad := hex.DecodeString(c.Hash); err == nil && (bad != nil || len(hash) != 32 || c.Seq < 1 || c.TenantID == uuid.Nil) {
		err = errors.New("its seq, hash or tenant_id is invalid")
	}
	if err != nil {
		return Checkpoint{}, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	return c, nil
}
