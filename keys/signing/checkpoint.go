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

// PlatformCheckpointType is the typ of a checkpoint of all tenants.
const PlatformCheckpointType = "keyward-platform-checkpoint+jwt"

// PlatformCheckpoint attests the ends of all tenants' audit chains at some time, by the
// root of a Merkle tree over them ([audit.Tree]).
type PlatformCheckpoint struct {
	Issuer   string    `json:"iss"` // of the platform
	IssuedAt int64     `json:"iat"` // seconds since 1970-01-01 UTC
	At       time.Time `json:"at"`  // no end is of an earlier moment
	Tenants  int64     `json:"tenants"`
	Root     string    `json:"root"` // in hexadecimal
}

// CheckpointLeaf is the end of one tenant's chain in a [PlatformCheckpoint].
type CheckpointLeaf struct {
	TenantID uuid.UUID `json:"tenant_id"`
	Tenant   string    `json:"tenant"` // the slug at that time; the leaf's hash does not cover it
	Seq      int64     `json:"seq"`
	Hash     string    `json:"hash"` // of the event at Seq, in hexadecimal
}

// Head returns the leaf as [audit.LeafHash] takes it. Errors wrap [ErrCheckpoint].
func (l CheckpointLeaf) Head() (audit.Head, error) {
	hash, err := hex.DecodeString(l.Hash)
	if err != nil || len(hash) != 32 || l.Seq < 1 || l.TenantID == uuid.Nil {
		return audit.Head{}, fmt.Errorf("%w: the seq, hash or tenant_id of a leaf is invalid", ErrCheckpoint)
	}
	return audit.Head{TenantID: l.TenantID, Seq: l.Seq, Hash: hash}, nil
}

// Inclusion proves that a leaf is part of a [PlatformCheckpoint].
type Inclusion struct {
	CheckpointLeaf
	Index int64    `json:"index"` // of the leaf, from 0
	Path  []string `json:"path"`  // RFC 9162 section 2.1.3.1, in hexadecimal
}

// SignedCheckpoint is a signed [PlatformCheckpoint].
type SignedCheckpoint struct {
	JWS       string
	Inclusion *Inclusion // of the tenant that was asked for; nil if none was
}

// CheckpointPlatform reads the end of every chain and signs a checkpoint of all of them.
// each, if not nil, gets the leaves in their order; tenantID selects the tenant whose
// inclusion is proved, uuid.Nil none. Its cost grows with the number of tenants, its
// memory does not. Errors: tenant.ErrNotFound if there is no such tenant, those of each
// and of SignToken.
func (s *Signer) CheckpointPlatform(ctx context.Context, heads *audit.Store, tenantID uuid.UUID, each func(CheckpointLeaf) error) (SignedCheckpoint, error) {
	var (
		tree  audit.Tree
		found CheckpointLeaf
	)
	at := s.cfg.Now().UTC()
	err := heads.Heads(ctx, func(h audit.TenantHead) error {
		leaf := CheckpointLeaf{TenantID: h.TenantID, Tenant: h.Tenant, Seq: h.Seq, Hash: hex.EncodeToString(h.Hash)}
		if h.TenantID == tenantID {
			found = leaf
			tree.AddFollowed(h.Head)
		} else {
			tree.Add(h.Head)
		}
		if each == nil {
			return nil
		}
		return each(leaf)
	})
	if err != nil {
		return SignedCheckpoint{}, err
	}
	index, path, ok := tree.Inclusion()
	if tenantID != uuid.Nil && !ok {
		return SignedCheckpoint{}, tenant.ErrNotFound
	}
	platform, err := s.openSession(ctx, tenant.PlatformSlug)
	if err != nil {
		return SignedCheckpoint{}, err
	}
	payload, err := json.Marshal(PlatformCheckpoint{
		Issuer: platform.Issuer, IssuedAt: platform.now.Unix(), At: at, Tenants: tree.Size(), Root: hex.EncodeToString(tree.Root()),
	})
	if err != nil {
		return SignedCheckpoint{}, err
	}
	signed, err := s.Attest(ctx, PayloadOrder{Payload: payload, Typ: PlatformCheckpointType})
	out := SignedCheckpoint{JWS: signed.JWS}
	if ok {
		out.Inclusion = &Inclusion{CheckpointLeaf: found, Index: index, Path: hexAll(path)}
	}
	return out, err
}

func hexAll(hashes [][]byte) []string {
	texts := make([]string, len(hashes))
	for i, h := range hashes {
		texts[i] = hex.EncodeToString(h)
	}
	return texts
}

// VerifyPlatformCheckpoint is [VerifyCheckpoint] for a checkpoint of all tenants.
func VerifyPlatformCheckpoint(jws string, platform []byte) (c PlatformCheckpoint, err error) {
	payload, err := tokens.VerifyAttestation(jws, PlatformCheckpointType, platform)
	if err == nil {
		err = json.Unmarshal(payload, &c)
	}
	if root, bad := hex.DecodeString(c.Root); err == nil && (bad != nil || len(root) != 32 || c.Tenants < 1) {
		err = errors.New("its root or number of tenants is invalid")
	}
	if err != nil {
		return PlatformCheckpoint{}, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	return c, nil
}

// Covers verifies a proof of inclusion. Errors wrap [ErrCheckpoint].
func (c PlatformCheckpoint) Covers(i Inclusion) error {
	head, err := i.Head()
	if err != nil {
		return err
	}
	path := make([][]byte, len(i.Path))
	for n, text := range i.Path {
		if path[n], err = hex.DecodeString(text); err != nil {
			return fmt.Errorf("%w: the inclusion path is not hexadecimal", ErrCheckpoint)
		}
	}
	root, _ := hex.DecodeString(c.Root) // checked when the checkpoint was verified
	if !audit.VerifyInclusion(head, i.Index, c.Tenants, path, root) {
		return fmt.Errorf("%w: the end of tenant %s is not part of it", ErrCheckpoint, i.TenantID)
	}
	return nil
}
