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

// Attest signs with the platform's active key what the platform itself says,
// under a reserved typ that no caller of SignToken and SignPayload can use; who
// verifies it demands that typ. Errors: those of SignPayload.
func (s *Signer) Attest(ctx context.Context, o PayloadOrder) (signed SignedPayload, err error) {
	if !tokens.ReservedType(o.Typ) {
		return SignedPayload{}, fmt.Errorf("keys: attest: typ %q is not reserved", o.Typ)
	}
	err = s.atDesk(ctx, tenant.PlatformSlug, func(d desk) (err error) {
		signed, err = s.signPayload(ctx, d, o)
		return err
	})
	return signed, err
}

// CheckpointType is the typ of a checkpoint.
const CheckpointType = "keyward-checkpoint+jwt"

// ErrCheckpoint means that a text is no checkpoint that one of the given keys
// signed.
var ErrCheckpoint = errors.New("keys: not a valid checkpoint")

// Checkpoint is the end of a tenant's chain at some time, as the platform
// attests it. Kept elsewhere, it proves later that nothing up to there was
// rewritten, not even by somebody who may write events and head alike.
type Checkpoint struct {
	Issuer   string    `json:"iss"` // the platform's
	IssuedAt int64     `json:"iat"` // seconds since 1970-01-01 UTC
	TenantID uuid.UUID `json:"tenant_id"`
	Tenant   string    `json:"tenant"` // its slug then
	Seq      int64     `json:"seq"`
	Hash     string    `json:"hash"` // of the event at Seq, in hexadecimal
	At       time.Time `json:"at"`   // of that event
}

// Checkpoint signs the end of a chain with the platform's active key; it never
// expires. Errors: those of SignToken.
func (s *Signer) Checkpoint(ctx context.Context, h audit.HeadEvent) (SignedPayload, error) {
	platform, err := s.desk(ctx, tenant.PlatformSlug)
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

// VerifyCheckpoint reads a checkpoint that one of the platform's keys signed,
// which are given as a JWK Set. It needs nothing but its arguments. The typ must
// be that of checkpoints: other things that the platform signs are none. Its
// error wraps [ErrCheckpoint].
func VerifyCheckpoint(jws string, platform []byte) (c Checkpoint, err error) {
	payload, err := tokens.VerifyAttestation(jws, CheckpointType, platform)
	if err == nil {
		err = json.Unmarshal(payload, &c)
	}
	if hash, bad := hex.DecodeString(c.Hash); err == nil && (bad != nil || len(hash) != 32 || c.Seq < 1 || c.TenantID == uuid.Nil) {
		err = errors.New("it names no event")
	}
	if err != nil {
		return Checkpoint{}, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	return c, nil
}
