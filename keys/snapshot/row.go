package snapshot

import (
	"github.com/go-jose/go-jose/v4"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys"
)

// KeyRow is a key as every query of the store selects it.
type KeyRow db.GetKeyRow

func (r KeyRow) Key() keys.Key {
	return keys.Key{
		TenantID: r.TenantID, KID: r.KID, Alg: jose.SignatureAlgorithm(r.Alg), State: keys.State(r.State), Origin: keys.Origin(r.Origin),
		PublicJWK: r.PublicJWK, CreatedAt: r.CreatedAt.UTC(), PublishedAt: r.PublishedAt.UTC(), ActivatedAt: db.UTC(r.ActivatedAt),
		Activation: keys.Activation(db.Text(r.Activation)), DeprecatedAt: db.UTC(r.DeprecatedAt), TokenHorizon: db.UTC(r.TokenHorizon),
		ExpiresAt: db.UTC(r.ExpiresAt), ExpiredAt: db.UTC(r.ExpiredAt), RevokedAt: db.UTC(r.RevokedAt),
		RevocationReason: keys.Reason(db.Text(r.RevocationReason)), PurgedAt: db.UTC(r.PurgedAt),
		LastSignedAt: db.UTC(r.LastSignedAt), LastTokenExpiresAt: db.UTC(r.LastTokenExpiresAt),
	}
}
