package tenant

import (
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
)

// TenantRow is a row of tenants as every query selects it, in that order, so that
// Go converts one into the other.
type TenantRow struct {
	ID                              uuid.UUID
	Slug                            string
	Name                            string
	Issuer                          *string
	CustomDomain                    *string
	Status                          string
	JWKSMaxAgeSeconds               int32
	JWKSStaleWhileRevalidateSeconds int32
	JWKSStaleIfErrorSeconds         int32
	ClockSkewSeconds                int32
	CacheHorizon                    *time.Time
	NotBefore                       *time.Time
	AuditSeq                        int64
	AuditHash                       []byte
	CreatedAt                       time.Time
	UpdatedAt                       time.Time
	DeletedAt                       *time.Time
	FeedXID                         uint64 // set by the statements, never from here
	FreezeStarts                    []time.Time
	FreezeEnds                      []time.Time
	FreezeReasons                   []string
	ApprovalRequired                []string
	Metadata                        []byte
}

// Tenant is the row as everybody else sees it.
func (r TenantRow) Tenant() Tenant {
	return Tenant{
		ID: r.ID, Slug: r.Slug, Name: r.Name, OwnIssuer: db.ZeroIfNull(r.Issuer), CustomDomain: db.ZeroIfNull(r.CustomDomain), Status: Status(r.Status),
		Caching: Caching{
			MaxAge:               duration(r.JWKSMaxAgeSeconds),
			StaleWhileRevalidate: duration(r.JWKSStaleWhileRevalidateSeconds),
			StaleIfError:         duration(r.JWKSStaleIfErrorSeconds),
			ClockSkew:            duration(r.ClockSkewSeconds),
		},
		NotBefore: db.UTC(r.NotBefore), CreatedAt: r.CreatedAt.UTC(), UpdatedAt: r.UpdatedAt.UTC(), DeletedAt: db.UTC(r.DeletedAt),
		CacheHorizon: db.UTC(r.CacheHorizon), Version: r.AuditSeq, Freezes: freezesOf(r.FreezeStarts, r.FreezeEnds, r.FreezeReasons),
		ApprovalRequired: guardedOf(r.ApprovalRequired), Metadata: r.Metadata,
	}
}

// Head is the head of the tenant's audit chain.
func (r TenantRow) Head() audit.Head {
	return audit.Head{TenantID: r.ID, Seq: r.AuditSeq, Hash: r.AuditHash}
}

// RowOf is the tenant as it is stored, but for the head of its audit chain.
func RowOf(t Tenant) TenantRow {
	starts, ends, reasons := freezeColumns(t.Freezes)
	return TenantRow{
		ID: t.ID, Slug: t.Slug, Name: t.Name, Issuer: db.NullIfZero(t.OwnIssuer), CustomDomain: db.NullIfZero(t.CustomDomain), Status: string(t.Status),
		JWKSMaxAgeSeconds: seconds(t.Caching.MaxAge), JWKSStaleWhileRevalidateSeconds: seconds(t.Caching.StaleWhileRevalidate),
		JWKSStaleIfErrorSeconds: seconds(t.Caching.StaleIfError), ClockSkewSeconds: seconds(t.Caching.ClockSkew),
		CacheHorizon: t.CacheHorizon, NotBefore: t.NotBefore, AuditSeq: t.Version,
		CreatedAt: t.CreatedAt, UpdatedAt: t.UpdatedAt, DeletedAt: t.DeletedAt,
		FreezeStarts: starts, FreezeEnds: ends, FreezeReasons: reasons, ApprovalRequired: guardedColumn(t.ApprovalRequired), Metadata: t.Metadata,
	}
}

// PolicyRow is a row of policies: the fields of db.Policy in their order.
type PolicyRow struct {
	TenantID                uuid.UUID
	Alg                     string
	IsDefault               bool
	RSABits                 *int32
	RotationIntervalSeconds int32
	PublishLeadSeconds      int32
	GracePeriodSeconds      int32
	PurgeAfterSeconds       int32
	DefaultTokenTTLSeconds  int32
	MaxTokenTTLSeconds      int32
	MaxPublishedKeys        int32
	DueAt                   *time.Time
	CreatedAt               time.Time
	UpdatedAt               time.Time
	RetiredAt               *time.Time
}

// Policy is the row as everybody else sees it.
func (r PolicyRow) Policy() Policy {
	return Policy{
		Alg: jose.SignatureAlgorithm(r.Alg), Default: r.IsDefault, RSABits: int(db.ZeroIfNull(r.RSABits)),
		RotationInterval: duration(r.RotationIntervalSeconds), PublishLead: duration(r.PublishLeadSeconds),
		GracePeriod: duration(r.GracePeriodSeconds), PurgeAfter: duration(r.PurgeAfterSeconds),
		DefaultTokenTTL: duration(r.DefaultTokenTTLSeconds), MaxTokenTTL: duration(r.MaxTokenTTLSeconds),
		MaxPublishedKeys: int(r.MaxPublishedKeys),
		CreatedAt:        r.CreatedAt.UTC(), UpdatedAt: r.UpdatedAt.UTC(), RetiredAt: db.UTC(r.RetiredAt),
	}
}

// PolicyRowOf is the policy as it is stored, but for when it is due.
func PolicyRowOf(tenantID uuid.UUID, p Policy) PolicyRow {
	return PolicyRow{
		TenantID: tenantID, Alg: string(p.Alg), IsDefault: p.Default, RSABits: db.NullIfZero(int32(p.RSABits)),
		RotationIntervalSeconds: seconds(p.RotationInterval), PublishLeadSeconds: seconds(p.PublishLead),
		GracePeriodSeconds: seconds(p.GracePeriod), PurgeAfterSeconds: seconds(p.PurgeAfter),
		DefaultTokenTTLSeconds: seconds(p.DefaultTokenTTL), MaxTokenTTLSeconds: seconds(p.MaxTokenTTL),
		MaxPublishedKeys: int32(p.MaxPublishedKeys), CreatedAt: p.CreatedAt, UpdatedAt: p.UpdatedAt, RetiredAt: p.RetiredAt,
	}
}

func duration(seconds int32) time.Duration { return time.Duration(seconds) * time.Second }
