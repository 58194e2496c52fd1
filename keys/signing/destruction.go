package signing

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/tenant"
)

// ErrNotDeleted means that the tenant is not deleted, so that there is no destruction to
// certify.
var ErrNotDeleted = errors.New("keys: the tenant is not deleted")

// DestructionType is the typ of a certificate of destruction.
const DestructionType = "keyward-destruction+jwt"

// Destruction lists the keys that the deletion of a tenant destroyed, according to its
// history. Repeated reads return the same, except that a thumbprint is missing once a
// key with a foreign kid is purged.
type Destruction struct {
	TenantID  uuid.UUID          `json:"tenant_id"`
	Slug      string             `json:"slug"`
	DeletedAt time.Time          `json:"deleted_at"`
	Keys      []DestroyedKey     `json:"keys"`
	DataKeys  []DestroyedDataKey `json:"data_keys"`
	Head      DestructionHead    `json:"audit_head"` // of the history, at the deletion
}

// DestroyedKey is a key that the tenant had at any time.
type DestroyedKey struct {
	KID        string                  `json:"kid"`
	Alg        jose.SignatureAlgorithm `json:"alg"`
	Algs       []string                `json:"algs,omitempty"` // all, if the key had several
	Origin     keys.Origin             `json:"origin"`
	Thumbprint string                  `json:"jkt,omitempty"` // RFC 7638, SHA-256
	// PrivateDestroyedAt is when the sealed private key was erased; nil for a
	// key that was only ever a public one.
	PrivateDestroyedAt *time.Time `json:"private_destroyed_at,omitempty"`
}

// DestroyedDataKey is a version of the data key that sealed private keys.
type DestroyedDataKey struct {
	Version     int32     `json:"version"`
	CreatedAt   time.Time `json:"created_at"`
	DestroyedAt time.Time `json:"destroyed_at"`
}

// DestructionHead names the event tenant.deleted.
type DestructionHead struct {
	Seq  int64  `json:"seq"`
	Hash string `json:"hash"` // in hex
}

// Destruction reads the certificate's content for a deleted tenant. Errors:
// tenant.ErrNotFound, ErrNotDeleted, db.ErrUnavailable.
func (s *Signer) Destruction(ctx context.Context, tenantID uuid.UUID) (d Destruction, err error) {
	err = s.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) error {
		row, err := tx.GetTenant(ctx, tenantID)
		if errors.Is(err, db.ErrNoRows) {
			return tenant.ErrNotFound
		}
		if err != nil {
			return err
		}
		if row.DeletedAt == nil {
			return ErrNotDeleted
		}
		d = Destruction{TenantID: row.ID, Slug: row.Slug, DeletedAt: row.DeletedAt.UTC()}
		return d.readFrom(ctx, tx)
	})
	return d, err
}

// readFrom fills in the end of the history, the data keys and the keys.
func (d *Destruction) readFrom(ctx context.Context, tx *db.Tx) error {
	event, err := tx.DeletionEvent(ctx, d.TenantID)
	if err != nil {
		return fmt.Errorf("keys: the history of tenant %s has no deletion event: %w", d.TenantID, err)
	}
	d.Head = DestructionHead{Seq: event.Seq, Hash: hex.EncodeToString(event.Hash)}
	dataKeys, err := tx.ListDataKeys(ctx, d.TenantID)
	if err != nil {
		return err
	}
	for _, k := range dataKeys {
		if k.DestroyedAt == nil {
			return fmt.Errorf("keys: data key %d of the deleted tenant %s is not destroyed", k.Version, d.TenantID)
		}
		d.DataKeys = append(d.DataKeys, DestroyedDataKey{Version: k.Version, CreatedAt: k.CreatedAt.UTC(), DestroyedAt: k.DestroyedAt.UTC()})
	}
	rows, err := tx.ListKeysEver(ctx, d.TenantID)
	for _, row := range rows {
		if row.Sealed {
			return fmt.Errorf("keys: private key %s of the deleted tenant %s is not destroyed", row.KID, d.TenantID)
		}
		d.Keys = append(d.Keys, destroyedKey(row))
	}
	return err
}

// destroyedKey returns the certificate's entry for a key.
func destroyedKey(row db.ListKeysEverRow) DestroyedKey {
	k := DestroyedKey{KID: row.KID, Alg: jose.SignatureAlgorithm(row.Alg), Algs: row.Algs, Origin: keys.Origin(row.Origin)}
	if public, err := keys.ParsePublicJWK(k.Alg, row.PublicJWK); err == nil {
		k.Thumbprint, _ = keys.Thumbprint(public)
	} else if k.Origin == keys.Generated {
		k.Thumbprint = k.KID // purged, but the kid of a generated key is its thumbprint
	}
	switch {
	case k.Origin == keys.Imported && row.ActivatedAt == nil && row.DeprecatedAt != nil: // imported without a private key
	case row.DeprecatedAt != nil:
		k.PrivateDestroyedAt = db.UTC(row.DeprecatedAt)
	default:
		k.PrivateDestroyedAt = db.UTC(row.RevokedAt)
	}
	return k
}

// CertifyDestruction signs a Destruction with the platform's active key, as a JWT of
// type [DestructionType] with iss, sub (the tenant's id) and iat; it never expires.
// Errors: those of SignToken.
func (s *Signer) CertifyDestruction(ctx context.Context, d Destruction) (SignedPayload, error) {
	platform, err := s.openSession(ctx, tenant.PlatformSlug)
	if err != nil {
		return SignedPayload{}, err
	}
	payload, err := json.Marshal(struct {
		Issuer      string      `json:"iss"`
		Subject     uuid.UUID   `json:"sub"`
		IssuedAt    int64       `json:"iat"`
		Destruction Destruction `json:"destruction"`
	}{platform.Issuer, d.TenantID, platform.now.Unix(), d})
	if err != nil {
		return SignedPayload{}, err
	}
	return s.Attest(ctx, PayloadOrder{Payload: payload, Typ: DestructionType})
}

// StrayKeys returns the kids of keys that were written by hand: their state is not the
// last one in the tenant's history, or their public key does not match a generated kid.
// No operation of Keyward leaves such keys. Errors: db.ErrUnavailable.
func (s *Signer) StrayKeys(ctx context.Context, tenantID uuid.UUID) (kids []string, err error) {
	err = s.cfg.DB.InTenant(ctx, tenantID, func(tx *db.Tx) error {
		if kids, err = tx.ListStrayKeys(ctx, tenantID); err != nil {
			return err
		}
		rows, err := tx.ListKeysEver(ctx, tenantID)
		for _, row := range rows {
			if k := destroyedKey(row); k.Origin == keys.Generated && k.Thumbprint != k.KID && !slices.Contains(kids, k.KID) {
				kids = append(kids, k.KID)
			}
		}
		return err
	})
	return kids, err
}
