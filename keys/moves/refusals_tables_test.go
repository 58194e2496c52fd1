package moves

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/keys"
)

func TestDatabaseNeverForgets(t *testing.T) {
	p := newPSQL(t)
	var all []refusal
	for _, table := range []string{"tenants", "policies", "keys", "data_keys", "master_keys", "api_keys", "audit_events"} {
		rule := table + "_never_deleted"
		if table == "audit_events" {
			rule = "audit_events_append_only"
		}
		all = append(all, refusal{"delete from " + table, rule, keys.Revoked, sql("DELETE FROM " + table)},
			refusal{"truncate " + table, rule, keys.Revoked, sql("TRUNCATE " + table + " CASCADE")})
	}
	p.against(t, all)
}

// put inserts a policy for ES384 that differs from the default one.
func put(differ map[string]any) func(*act, uuid.UUID) error {
	return func(a *act, id uuid.UUID) error {
		_, err := a.happen(id, audit.Event{Action: audit.PolicyCreated, Details: audit.Details(columns{"alg": "ES384"})})
		return errors.Join(err, a.policy(id, "ES384", differ))
	}
}

// bare is do with triggers off: a row against the CHECKs alone.
func bare(do func(*act, uuid.UUID) error) func(*act, uuid.UUID) error {
	return func(a *act, id uuid.UUID) error { return errors.Join(a.bare(), do(a, id)) }
}

func TestDatabaseRefusesPolicies(t *testing.T) {
	p := newPSQL(t)
	all := []refusal{
		{"lead shorter than caches", "policies_lead_covers_caches", keys.Born, put(columns{"publish_lead_seconds": 419})},
		{"lead as long as caches", "", keys.Born, put(columns{"publish_lead_seconds": 420})},
		{"grace shorter than tokens", "policies_grace_covers_tokens", keys.Born, put(columns{"grace_period_seconds": 86459})},
		{"grace as long as tokens", "", keys.Born, put(columns{"grace_period_seconds": 86460})},
		{"lead longer than the interval", "policies_lead_within_interval", keys.Born, put(columns{"rotation_interval_seconds": 86399})},
		{"any lead without an interval", "", keys.Born, put(columns{"rotation_interval_seconds": 0})},
		{"a second default", "policies_one_default", keys.Born, put(columns{"is_default": true})},
		{"lead shortened", "policies_lead_covers_caches", keys.Born, audited(audit.PolicyUpdated, "UPDATE policies SET publish_lead_seconds = 419 WHERE tenant_id = {id}")},
		{"tokens lengthened", "policies_grace_covers_tokens", keys.Born, audited(audit.PolicyUpdated, "UPDATE policies SET max_token_ttl_seconds = 604741 WHERE tenant_id = {id}")},
		{"no default left", "policies_has_default", keys.Born, audited(audit.PolicyUpdated, "UPDATE policies SET is_default = false WHERE tenant_id = {id}")},
		{"retired as the default", "policies_retired_is_not_default", keys.Born, audited(audit.PolicyRetired, "UPDATE policies SET retired_at = now() WHERE tenant_id = {id}")},
		{"changed without event", "policies_change_is_audited", keys.Born, sql("UPDATE policies SET max_published_keys = 9 WHERE tenant_id = {id}")},
		{"retired without event", "policies_change_is_audited", keys.Born, sql("UPDATE policies SET retired_at = now(), is_default = false WHERE tenant_id = {id}")},
		{"created without event", "policies_change_is_audited", keys.Born, func(a *act, id uuid.UUID) error { return a.policy(id, "ES384", nil) }},
		{"created with the event of another policy", "policies_change_is_audited", keys.Born, func(a *act, id uuid.UUID) error {
			return errors.Join(audited(audit.PolicyCreated, "")(a, id), a.policy(id, "ES384", nil))
		}},
		{"changed with the event of another policy", "policies_change_is_audited", keys.Born, auditedAs(audit.PolicyUpdated, columns{"alg": "ES384"}, "UPDATE policies SET max_published_keys = 9 WHERE tenant_id = {id}")},
		{"changed with its event", "", keys.Born, auditedAs(audit.PolicyUpdated, columns{"before": columns{"alg": "ES256"}, "after": columns{"alg": "ES256"}}, "UPDATE policies SET max_published_keys = 9 WHERE tenant_id = {id}")},
		{"retired with an event that it changed", "policies_change_is_audited", keys.Born, audited(audit.PolicyUpdated, "UPDATE policies SET retired_at = now(), is_default = false WHERE tenant_id = {id}")},
		{"changed with an event about something else", "policies_change_is_audited", keys.Born, audited(audit.TenantUpdated, "UPDATE policies SET max_published_keys = 9 WHERE tenant_id = {id}")},
		{
			"tokens shortened, older ones forgotten", "keys_horizon_covers_earlier_tokens", keys.Active,
			audited(audit.PolicyUpdated, "UPDATE policies SET max_token_ttl_seconds = 3600 WHERE tenant_id = {id}"),
		},
		{"tokens shortened, older ones remembered", "", keys.Active, audited(audit.PolicyUpdated, `
			UPDATE keys SET token_horizon = created_at + interval '86477 s' WHERE tenant_id = {id};
			UPDATE policies SET max_token_ttl_seconds = 3600 WHERE tenant_id = {id}`)},
		{"a bad policy comes back", "policies_lead_covers_caches", keys.Born, func(a *act, id uuid.UUID) error {
			return errors.Join(put(columns{"publish_lead_seconds": 1, "retired_at": p.at})(a, id),
				sql("UPDATE policies SET retired_at = NULL WHERE tenant_id = {id} AND alg = 'ES384'")(a, id))
		}},
		{"RSA without size", "policies_rsa_bits", keys.Born, func(a *act, id uuid.UUID) error { return a.policy(id, "RS256", columns{"rsa_bits": nil}) }},
		{"RSA too small", "policies_rsa_bits", keys.Born, func(a *act, id uuid.UUID) error { return a.policy(id, "PS512", columns{"rsa_bits": 1024}) }},
		{"size without RSA", "policies_rsa_bits", keys.Born, put(columns{"rsa_bits": 2048})},
		{"none", "policies_alg", keys.Born, func(a *act, id uuid.UUID) error { return a.policy(id, "none", nil) }},
		{"a shared secret", "policies_alg", keys.Born, func(a *act, id uuid.UUID) error { return a.policy(id, "HS256", nil) }},
		{"default lifetime above the longest", "policies_default_token_ttl", keys.Born, put(columns{"default_token_ttl_seconds": 86401})},
	}
	for column, bounds := range map[string][2]int{
		"rotation_interval": {-1, 315360001}, "publish_lead": {0, 315360001}, "grace_period": {0, 315360001}, "purge_after": {0, 315360001},
		"default_token_ttl": {0, 86401}, "max_token_ttl": {3599, 315360001}, "max_published_keys": {2, 65},
	} {
		for _, n := range bounds {
			rule, full := "policies_"+column, column+"_seconds"
			if column == "max_published_keys" {
				full = column
			}
			differ := columns{full: n}
			switch {
			case column == "publish_lead" && n > 0:
				differ["rotation_interval_seconds"] = 0
			case n == -1:
				rule = "policies_lead_within_interval"
			case n == 3599:
				rule = "policies_default_token_ttl"
			}
			all = append(all, refusal{fmt.Sprint(full, n), rule, keys.Born, bare(func(a *act, id uuid.UUID) error { return a.policy(id, "ES384", differ) })})
		}
	}
	p.against(t, all)
}

// tenantWith inserts a tenant that differs from a good one.
func tenantWith(differ columns) func(*act, uuid.UUID) error {
	return func(a *act, _ uuid.UUID) error {
		id := uuid.New()
		r := columns{"id": id, "slug": "s-" + id.String(), "audit_seq": 1, "audit_hash": make([]byte, 32), "created_at": a.at, "updated_at": a.at}
		maps.Copy(r, differ)
		return a.insertRow("tenants", r)
	}
}

// changed changes a tenant's row with its event.
func changed(set string) func(*act, uuid.UUID) error {
	return func(a *act, id uuid.UUID) error {
		_, err := a.change(id, audit.Event{}, ", "+set)
		return err
	}
}

func TestDatabaseRefusesTenants(t *testing.T) {
	p := newPSQL(t)
	p.tenant("platform")
	taken := p.tenant("taken")
	p.must(func(a *act) error { return changed("custom_domain = 'keys.example'")(a, taken) })
	platform := func(set string) func(*act, uuid.UUID) error {
		return sql("UPDATE tenants SET " + set + " WHERE slug = 'platform'")
	}
	all := []refusal{
		{"slug of a live tenant", "tenants_live_slug", keys.Born, tenantWith(columns{"slug": "taken"})},
		{"domain of a live tenant", "tenants_live_custom_domain", keys.Born, changed("custom_domain = 'keys.example'")},
		{"domain in capitals", "tenants_custom_domain_form", keys.Born, changed("custom_domain = 'Keys.example'")},
		{"platform suspended", "tenants_platform_stays", keys.Born, bare(platform("status = 'suspended'"))},
		{"platform deleted", "tenants_platform_stays", keys.Born, bare(platform("status = 'deleted', deleted_at = now()"))},
		{"unknown status", "tenants_status", keys.Born, changed("status = 'asleep'")},
		{"deleted without time", "tenants_deleted_at", keys.Born, changed("status = 'deleted'")},
		{"time without deletion", "tenants_deleted_at", keys.Born, changed("deleted_at = now()")},
		{"deleted comes back", "tenants_deleted_stays", keys.Born, func(a *act, id uuid.UUID) error {
			return errors.Join(changed("status = 'deleted', deleted_at = now()")(a, id), changed("status = 'active', deleted_at = NULL")(a, id))
		}},
		{"created without event", "tenants_audit_head_exists", keys.Born, tenantWith(nil)},
		{"caches longer than the lead", "policies_lead_covers_caches", keys.Born, changed("jwks_max_age_seconds = 86281")},
		{"caches as long as the lead", "", keys.Born, changed("jwks_max_age_seconds = 86280")},
		{"stale longer than the lead", "policies_lead_covers_caches", keys.Born, changed("jwks_stale_while_revalidate_seconds = 86041")},
		{"skew longer than the grace", "policies_grace_covers_tokens", keys.Born, func(a *act, id uuid.UUID) error {
			return errors.Join(put(columns{"grace_period_seconds": 86460})(a, id), changed("clock_skew_seconds = 61")(a, id))
		}},
		{"skew longer than the lead", "policies_lead_covers_caches", keys.Born, func(a *act, id uuid.UUID) error {
			return errors.Join(put(columns{"publish_lead_seconds": 420})(a, id), changed("clock_skew_seconds = 61")(a, id))
		}},
		{"caches shortened, full ones forgotten", "tenants_cache_horizon_covers_caches", keys.Born, changed("jwks_max_age_seconds = 10")},
		{"caches shortened, full ones remembered", "", keys.Born, changed("jwks_max_age_seconds = 10, cache_horizon = updated_at + interval '420 s'")},
		{"full caches forgotten later", "tenants_cache_horizon_stays", keys.Born, func(a *act, id uuid.UUID) error {
			return errors.Join(changed("cache_horizon = updated_at + interval '420 s'")(a, id), changed("cache_horizon = NULL")(a, id))
		}},
		{"max-age out of bounds", "tenants_jwks_max_age", keys.Born, tenantWith(columns{"jwks_max_age_seconds": 604801})},
		{"skew out of bounds", "tenants_clock_skew", keys.Born, tenantWith(columns{"clock_skew_seconds": 601})},
		{"metadata that is no object", "tenants_metadata", keys.Born, changed("metadata = '[]'")},
		{"metadata with an issuer", "tenants_metadata", keys.Born, changed(`metadata = '{"issuer":null}'`)},
		{"metadata with keys", "tenants_metadata", keys.Born, tenantWith(columns{"metadata": `{"jwks_uri":"x"}`})},
		{"metadata with algorithms", "tenants_metadata", keys.Born, changed(`metadata = '{"id_token_signing_alg_values_supported":[]}'`)},
		{"metadata too long", "tenants_metadata", keys.Born, changed(`metadata = '{"a":"` + strings.Repeat("x", 16384-7) + `"}'`)},
		{"metadata as long as may be", "", keys.Born, changed(`metadata = '{"a":"` + strings.Repeat("x", 16384-8) + `"}'`)},
	}
	for _, slug := range []string{"", "A", "-a", "a-", "a_b", "a.b", "a\n", "é", strings.Repeat("a", 64)} {
		all = append(all, refusal{"slug " + slug, "tenants_slug_pattern", keys.Born, tenantWith(columns{"slug": slug})})
	}
	for _, slug := range []string{uuid.Nil.String(), strings.Repeat("a", 32), strings.Repeat("0-", 31) + "f"} {
		all = append(all, refusal{"slug " + slug, "tenants_slug_is_no_id", keys.Born, tenantWith(columns{"slug": slug})})
	}
	for _, set := range []string{"id = gen_random_uuid()", "slug = 'renamed'", "created_at = now() - interval '1 day'"} {
		all = append(all, refusal{set, "tenants_identity", keys.Born, changed(set)})
	}
	all = append(all,
		refusal{"suspended with an event that it changed", "tenants_change_is_audited", keys.Born, changed("status = 'suspended'")},
		refusal{"renamed with an event about something else", "tenants_change_is_audited", keys.Born, func(a *act, id uuid.UUID) error {
			_, err := a.change(id, audit.Event{Action: audit.AuthorizationDenied}, ", name = 'x'")
			return err
		}},
		refusal{"renamed beside the event of an earlier change", "tenants_change_is_audited", keys.Born, func(a *act, id uuid.UUID) error {
			return errors.Join(changed("name = 'x'")(a, id), sql("UPDATE tenants SET name = 'y' WHERE id = {id}")(a, id))
		}},
		refusal{"renamed with its event", "", keys.Born, changed("name = 'x'")},
	)
	for _, set := range []string{
		"name = 'x'", "issuer = 'https://x'", "custom_domain = 'x'", "status = 'suspended'", "jwks_max_age_seconds = 301",
		"jwks_stale_while_revalidate_seconds = 61", "jwks_stale_if_error_seconds = 1", "clock_skew_seconds = 61", "not_before = now()",
		"metadata = '{}'", "jwks = 'x'", "jwks_outline = 'x'", "jwks_xid = '1'",
	} {
		all = append(all, refusal{set + " without event", "tenants_change_is_audited", keys.Born, sql("UPDATE tenants SET " + set + " WHERE id = {id}")})
	}
	p.against(t, all)
}
