package keys

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/tenant"
)

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
	payload, err := attested(jws, CheckpointType, platform)
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

// attested is the payload of a compact JWS of a type, signed by the key of a
// JWK Set that its header names, with the algorithm of that key.
func attested(jws, typ string, set []byte) ([]byte, error) {
	u, err := parseToken(jws)
	if err != nil {
		return nil, err
	}
	if mediaType(u.typ) != mediaType(typ) {
		return nil, fmt.Errorf("its typ is not %s", typ)
	}
	jwk, err := u.attester(set)
	if err != nil {
		return nil, err
	}
	public, err := ParsePublicJWK(u.alg, jwk)
	if err != nil {
		return nil, err
	}
	if !verifySignature(public, u.alg, u.signed, u.signature) {
		return nil, errors.New("its signature is wrong")
	}
	return u.payload, nil
}

// attester finds the key that the header names. One that was revoked, as a key history has
// it, attests nothing: whoever has it may have signed this.
func (u *unverified) attester(set []byte) (jwk json.RawMessage, err error) {
	var all struct{ Keys []json.RawMessage }
	if err := json.Unmarshal(set, &all); err != nil || all.Keys == nil {
		return nil, errors.New("the keys given are no JWK Set")
	}
	for _, raw := range all.Keys {
		var k struct {
			KID     string          `json:"kid"`
			Alg     string          `json:"alg"`
			Revoked json.RawMessage `json:"revoked"`
		}
		switch err := json.Unmarshal(raw, &k); {
		case err != nil || k.KID != u.kid:
		case k.Revoked != nil:
			return nil, fmt.Errorf("the key %q, which signed it, was revoked", u.kid)
		case k.Alg != string(u.alg):
			return nil, fmt.Errorf("the key %q, which is to have signed it, is for another algorithm", u.kid)
		case jwk != nil:
			return nil, fmt.Errorf("two of the keys given are %q", u.kid)
		default:
			jwk = raw
		}
	}
	if jwk == nil {
		return nil, fmt.Errorf("none of the keys given is %q, which is to have signed it", u.kid)
	}
	return jwk, nil
}
