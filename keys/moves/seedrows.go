package moves

import (
	"cmp"
	"context"
	"slices"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/snapshot"
	"github.com/keyward/keyward/tenant"
)

// seedRows are the rows of many pasts, table by table.
type seedRows struct {
	tenants, dataKeys, policies [][]any
	keys                        []seedKey
	events                      []audit.Event
}

type seedKey struct {
	keys.Key
	sealed     []byte
	version    *int32
	stateEvent int64
}

func (r *seedRows) add(p *past) error {
	set, err := snapshot.RenderSet(p.at, p.keys, p.live())
	if err != nil {
		return err
	}
	t := tenant.RowOf(p.tenant)
	r.tenants = append(r.tenants, []any{
		t.ID, t.Slug, t.Name, t.JWKSMaxAgeSeconds, t.JWKSStaleWhileRevalidateSeconds, t.JWKSStaleIfErrorSeconds,
		t.ClockSkewSeconds, p.head.Seq, p.head.Hash, t.CreatedAt, t.UpdatedAt, set.Body, set.Outline,
	})
	d := p.dataKey
	r.dataKeys = append(r.dataKeys, []any{d.TenantID, d.Version, true, d.Wrapped, d.MasterKeyID, d.CreatedAt})
	w, due := p.policyRow()
	r.policies = append(r.policies, []any{
		w.TenantID, w.Alg, w.IsDefault, w.RSABits, w.RotationIntervalSeconds, w.PublishLeadSeconds, w.GracePeriodSeconds, w.PurgeAfterSeconds,
		w.DefaultTokenTTLSeconds, w.MaxTokenTTLSeconds, w.MaxPublishedKeys, due, w.CreatedAt, w.UpdatedAt,
	})
	for _, k := range p.keys {
		row := seedKey{Key: k, stateEvent: p.events[k.KID]}
		if k.State == keys.Active || k.State == keys.Standby {
			row.sealed, row.version = p.sealed[k.KID], &d.Version
		}
		r.keys = append(r.keys, row)
	}
	r.events = append(r.events, p.chain...)
	return nil
}

// copy writes the rows in one transaction. Keys and events lie in the order of
// their times, a tenant's rows apart from each other, as they come to lie in
// life.
func (r *seedRows) copy(ctx context.Context, d *db.DB) error {
	slices.SortStableFunc(r.keys, func(a, b seedKey) int { return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.KID, b.KID)) })
	slices.SortStableFunc(r.events, func(a, b audit.Event) int { return a.At.Compare(b.At) })
	return d.Bulk(ctx, func(b *db.Bulk) error {
		for _, t := range []struct {
			table   string
			columns []string
			rows    [][]any
		}{
			{"tenants", seedTenantColumns, r.tenantRows(b.XID)},
			{"data_keys", seedDataKeyColumns, r.dataKeys},
			{"policies", seedPolicyColumns, r.policies},
			{"keys", seedKeyColumns, r.keyRows()},
			{"audit_events", seedEventColumns, r.eventRows(b.XID)},
		} {
			if err := b.Copy(ctx, t.table, t.columns, t.rows); err != nil {
				return err
			}
		}
		return nil
	})
}

var (
	seedTenantColumns = []string{
		"id", "slug", "name", "jwks_max_age_seconds", "jwks_stale_while_revalidate_seconds", "jwks_stale_if_error_seconds",
		"clock_skew_seconds", "audit_seq", "audit_hash", "created_at", "updated_at", "jwks", "jwks_outline", "jwks_xid", "feed_xid",
	}
	seedDataKeyColumns = []string{"tenant_id", "version", "is_current", "wrapped", "master_key_id", "created_at"}
	seedPolicyColumns  = []string{
		"tenant_id", "alg", "is_default", "rsa_bits", "rotation_interval_seconds", "publish_lead_seconds", "grace_period_seconds",
		"purge_after_seconds", "default_token_ttl_seconds", "max_token_ttl_seconds", "max_published_keys", "due_at", "created_at", "updated_at",
	}
	seedKeyColumns = []string{
		"tenant_id", "kid", "alg", "state", "origin", "public_jwk", "sealed_private", "data_key_version", "created_at", "published_at",
		"activated_at", "activation", "deprecated_at", "token_horizon", "expires_at", "state_event",
	}
	seedEventColumns = []string{
		"tenant_id", "seq", "at", "action", "actor_type", "actor_id", "actor_name", "kid", "from_state", "to_state", "request_id",
		"details", "prev_hash", "hash", "feed_xid",
	}
)

func (r *seedRows) tenantRows(xid uint64) [][]any {
	rows := make([][]any, len(r.tenants))
	for i, t := range r.tenants {
		rows[i] = append(t, xid, xid)
	}
	return rows
}

func (r *seedRows) keyRows() [][]any {
	rows := make([][]any, len(r.keys))
	for i, k := range r.keys {
		rows[i] = []any{
			k.TenantID, k.KID, string(k.Alg), string(k.State), string(k.Origin), k.PublicJWK, k.sealed, k.version, k.CreatedAt, k.PublishedAt,
			k.ActivatedAt, orNull(string(k.Activation)), k.DeprecatedAt, k.TokenHorizon, k.ExpiresAt, k.stateEvent,
		}
	}
	return rows
}

func (r *seedRows) eventRows(xid uint64) [][]any {
	rows := make([][]any, len(r.events))
	for i, e := range r.events {
		rows[i] = []any{
			e.TenantID, e.Seq, e.At, string(e.Action), string(e.Actor.Type), e.Actor.ID, e.Actor.Name, orNull(e.KID), orNull(e.FromState),
			orNull(e.ToState), orNull(e.RequestID), e.Details, e.PrevHash, e.Hash, xid,
		}
	}
	return rows
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}
