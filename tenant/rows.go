package tenant

import (
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
)

// TenantRow is a row of tenants. Every query selects its columns in this order, so
// that a generated row converts to it.
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
	AuditAt                         *time.Time // of the event at the head; nil: not known
	CreatedAt                       time.Time
	UpdatedAt                       time.Time
	DeletedAt                       *time.Time
	FeedXID                         uint64 // set by the statements only
	FreezeStarts                    []time.Time
	FreezeEnds                      []time.Time
	FreezeReasons                   []string
	ApprovalRequired                []string
	Metadata                        []byte
	JWKSPath                        *string
	JWKSHeaders                     []byte
	MAC                             []byte // see Authority
}

// Tenant converts the row.
func (r TenantRow) Tenant() Tenant {
	return Tenant{
		ID: r.ID, Slug: r.Slug, Name: r.Name, OwnIssuer: db.ZeroIfNull(r.Issuer), CustomDomain: db.ZeroIfNull(r.CustomDomain), Status: Status(r.Status),
		Caching: Caching{
			MaxAge:               secondsToDuration(r.JWKSMaxAgeSeconds),
			StaleWhileRevalidate: secondsToDuration(r.JWKSStaleWhileRevalidateSeconds),
			StaleIfError:         secondsToDuration(r.JWKSStaleIfErrorSeconds),
			ClockSkew:            secondsToDuration(r.ClockSkewSeconds),
		},
		NotBefore: db.UTC(r.NotBefore), CreatedAt: r.CreatedAt.UTC(), UpdatedAt: r.UpdatedAt.UTC(), DeletedAt: db.UTC(r.DeletedAt),
		CacheHorizon: db.UTC(r.CacheHorizon), Version: r.AuditSeq, Freezes: freezesFromColumns(r.FreezeStarts, r.FreezeEnds, r.FreezeReasons),
		ApprovalRequired: guardedFromColumn(r.ApprovalRequired), Metadata: r.Metadata,
		JWKSPath: db.ZeroIfNull(r.JWKSPath), JWKSHeaders: ParseHeaders(r.JWKSHeaders),
	}
}

// Head returns the head of the tenant's audit chain.
func (r TenantRow) Head() audit.Head {
	return audit.Head{TenantID: r.ID, Seq: r.AuditSeq, Hash: r.AuditHash, LastAt: db.ZeroIfNull(r.AuditAt)}
}

// TimeOfEffect returns the time of a change of the tenant, whose row must be locked; see
// [audit.Head.TimeOfEffect].
func (r TenantRow) TimeOfEffect(now time.Time) time.Time { return r.Head().TimeOfEffect(now) }

// RowOf converts a tenant to its row. The head of its chain, except the seq, and the code
// stay empty.
func RowOf(t Tenant) TenantRow {
	starts, ends, reasons := freezeColumns(t.Freezes)
	return TenantRow{
		ID: t.ID, Slug: t.Slug, Name: t.Name, Issuer: db.NullIfZero(t.OwnIssuer), CustomDomain: db.NullIfZero(t.CustomDomain), Status: string(t.Status),
		JWKSMaxAgeSeconds: seconds(t.Caching.MaxAge), JWKSStaleWhileRevalidateSeconds: seconds(t.Caching.StaleWhileRevalidate),
		JWKSStaleIfErrorSeconds: seconds(t.Caching.StaleIfError), ClockSkewSeconds: seconds(t.Caching.ClockSkew),
		CacheHorizon: t.CacheHorizon, NotBefore: t.NotBefore, AuditSeq: t.Version,
		CreatedAt: t.CreatedAt, UpdatedAt: t.UpdatedAt, DeletedAt: t.DeletedAt,
		FreezeStarts: starts, FreezeEnds: ends, FreezeReasons: reasons, ApprovalRequired: guardedColumn(t.ApprovalRequired), Metadata: t.Metadata,
		JWKSPath: db.NullIfZero(t.JWKSPath), JWKSHeaders: encodeHeaders(t.JWKSHeaders),
	}
}

// PolicyRow is a row of policies. Its fields are in the order of db.Policy.
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
	MinAdoption             float64
	MaxAdoptionWaitSeconds  int32
	DueAt                   *time.Time
	CreatedAt               time.Time
	UpdatedAt               time.Time
	RetiredAt               *time.Time
	MAC                     []byte // see Authority
}

// Policy converts the row.
func (r PolicyRow) Policy() Policy {
	return Policy{
		Alg: jose.SignatureAlgorithm(r.Alg), Default: r.IsDefault, RSABits: int(db.ZeroIfNull(r.RSABits)),
		RotationInterval: secondsToDuration(r.RotationIntervalSeconds), PublishLead: secondsToDuration(r.PublishLeadSeconds),
		GracePeriod: secondsToDuration(r.GracePeriodSeconds), PurgeAfter: secondsToDuration(r.PurgeAfterSeconds),
		DefaultTokenTTL: secondsToDuration(r.DefaultTokenTTLSeconds), MaxTokenTTL: secondsToDuration(r.MaxTokenTTLSeconds),
		MaxPublishedKeys: int(r.MaxPublishedKeys), MinAdoption: r.MinAdoption, MaxAdoptionWait: secondsToDuration(r.MaxAdoptionWaitSeconds),
		CreatedAt: r.CreatedAt.UTC(), UpdatedAt: r.UpdatedAt.UTC(), RetiredAt: db.UTC(r.RetiredAt),
	}
}

// PolicyRowOf converts a policy to its row. DueAt and the code stay empty.
func PolicyRowOf(tenantID uuid.UUID, p Policy) PolicyRow {
	return PolicyRow{
		TenantID: tenantID, Alg: string(p.Alg), IsDefault: p.Default, RSABits: db.NullIfZero(int32(p.RSABits)),
		RotationIntervalSeconds: seconds(p.RotationInterval), PublishLeadSeconds: seconds(p.PublishLead),
		GracePeriodSeconds: seconds(p.GracePeriod), PurgeAfterSeconds: seconds(p.PurgeAfter),
		DefaultTokenTTLSeconds: seconds(p.DefaultTokenTTL), MaxTokenTTLSeconds: seconds(p.MaxTokenTTL),
		MaxPublishedKeys: int32(p.MaxPublishedKeys), MinAdoption: p.MinAdoption, MaxAdoptionWaitSeconds: seconds(p.MaxAdoptionWait), CreatedAt: p.CreatedAt, UpdatedAt: p.UpdatedAt, RetiredAt: p.RetiredAt,
	}
}

func secondsToDuration(seconds int32) time.Duration { return time.Duration(seconds) * time.Second }
