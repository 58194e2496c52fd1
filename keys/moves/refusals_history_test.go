package moves

import (
	"crypto/sha256"
	"errors"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/keys"
)

// forged records an event that is not as it should be.
func forged(spoil func(*audit.Event)) func(*act, uuid.UUID) error {
	return func(a *act, id uuid.UUID) error {
		e, err := a.next(id, audit.Event{})
		if err != nil {
			return err
		}
		spoil(&e)
		return errors.Join(a.reach(e, ""), a.insert(e))
	}
}

func TestDatabaseRefusesForgedHistory(t *testing.T) {
	p := newPSQL(t)
	other := sha256.Sum256([]byte("other"))
	p.against(t, []refusal{
		{"as it should be", "", keys.Born, forged(func(*audit.Event) {})},
		{"a gap", "audit_events_chain", keys.Born, forged(func(e *audit.Event) { e.Seq++ })},
		{"a wrong prev_hash", "audit_events_chain", keys.Born, forged(func(e *audit.Event) { e.PrevHash = other[:] })},
		{"a hash of 31 bytes", "tenants_audit_head", keys.Born, forged(func(e *audit.Event) { e.Hash = e.Hash[:31] })},
		{"an action that is none", "audit_events_action", keys.Born, forged(func(e *audit.Event) { e.Action = "Deleted everything" })},
		{"an actor that is none", "audit_events_actor_type", keys.Born, forged(func(e *audit.Event) { e.Actor.Type = "ghost" })},
		{"details that are no object", "audit_events_details", keys.Born, forged(func(e *audit.Event) { e.Details = []byte("[]") })},
		{"beyond the head", "audit_events_reach_head", keys.Born, func(a *act, id uuid.UUID) error {
			e, err := a.next(id, audit.Event{})
			return errors.Join(err, a.insert(e))
		}},
		{"a move that the public is not told of", "audit_events_seen", keys.Born, func(a *act, id uuid.UUID) error {
			e, err := a.next(id, audit.Event{Action: audit.KeyActivated})
			return errors.Join(err, a.reach(e, ", feed_xid = feed_xid"), a.insert(e))
		}},
		{"another than the head says", "audit_events_reach_head", keys.Born, func(a *act, id uuid.UUID) error {
			e, err := a.next(id, audit.Event{})
			moved := a.reach(e, "")
			e.Hash = other[:]
			return errors.Join(err, moved, a.insert(e))
		}},
		{"short of the head", "tenants_audit_head_exists", keys.Born, func(a *act, id uuid.UUID) error {
			e, err := a.next(id, audit.Event{})
			ahead := e
			ahead.Seq++
			return errors.Join(err, a.reach(ahead, ""), a.insert(e))
		}},
		{"the head without an event", "tenants_audit_head_exists", keys.Born, func(a *act, id uuid.UUID) error {
			e, err := a.next(id, audit.Event{})
			return errors.Join(err, a.reach(e, ""))
		}},
		{"the head back", "tenants_audit_head_moves_on", keys.Born, sql("UPDATE tenants SET audit_seq = audit_seq - 1 WHERE id = {id}")},
		{"the head's hash replaced", "tenants_audit_head_moves_on", keys.Born, sql("UPDATE tenants SET audit_hash = sha256('x') WHERE id = {id}")},
		{"an event twice", "audit_events_pkey", keys.Born, sql("INSERT INTO audit_events SELECT tenant_id, seq, at, action, actor_type, actor_id, actor_name, kid, from_state, to_state, reason, request_id, details, prev_hash, hash FROM audit_events WHERE tenant_id = {id} AND seq = 1")},
		{"an event of another transaction", "audit_events_xid", keys.Born, sql("INSERT INTO audit_events SELECT * FROM audit_events WHERE tenant_id = {id}")},
		{"an event changed", "audit_events_append_only", keys.Born, sql("UPDATE audit_events SET reason = 'x' WHERE tenant_id = {id}")},
		{"an event changed in passing", "audit_events_append_only", keys.Born, sql(`INSERT INTO audit_events SELECT * FROM audit_events WHERE tenant_id = {id}
			ON CONFLICT (tenant_id, seq) DO UPDATE SET reason = 'x'`)},
	})
}

const (
	destroy = "UPDATE data_keys SET destroyed_at = now(), wrapped = NULL, master_key_id = NULL, is_current = false WHERE tenant_id = {id};"
	second  = `INSERT INTO data_keys (tenant_id, version, is_current, wrapped, master_key_id, created_at)
		SELECT tenant_id, 2, false, wrapped, master_key_id, created_at FROM data_keys WHERE tenant_id = {id};`
	master = "INSERT INTO master_keys (id, uri, version, is_current, key_check, endorsed_by, endorsement, authority, created_at, retired_at) "
)

func TestDatabaseRefusesCustody(t *testing.T) {
	p := newPSQL(t)
	p.against(t, []refusal{
		{"a second data key", "", keys.Born, sql(second)},
		{"a second current data key", "data_keys_one_current", keys.Born, sql(second + "UPDATE data_keys SET is_current = true WHERE tenant_id = {id}")},
		{"version 0", "data_keys_version", keys.Born, bare(sql("UPDATE data_keys SET version = 0 WHERE tenant_id = {id}"))},
		{"destroyed comes back", "data_keys_destroyed_stays", keys.Born, sql(destroy +
			"UPDATE data_keys SET destroyed_at = NULL, wrapped = 'w', master_key_id = (SELECT id FROM master_keys WHERE is_current) WHERE tenant_id = {id}")},
		{"destroyed in name only", "data_keys_wrapped", keys.Born, sql("UPDATE data_keys SET destroyed_at = now(), master_key_id = NULL, is_current = false WHERE tenant_id = {id}")},
		{"destroyed and current", "data_keys_current_is_live", keys.Born, sql("UPDATE data_keys SET destroyed_at = now(), wrapped = NULL, master_key_id = NULL WHERE tenant_id = {id}")},
		{"destroyed and wrapped by something", "data_keys_master_key", keys.Born, sql("UPDATE data_keys SET destroyed_at = now(), wrapped = NULL, is_current = false WHERE tenant_id = {id}")},
		{"destroyed while it seals a standby", "data_keys_still_seals", keys.Standby, sql(destroy)},
		{"destroyed while it seals an active key", "data_keys_still_seals", keys.Active, sql(destroy)},
		{"destroyed when it seals nothing", "", keys.Deprecated, sql(destroy)},
		{"a data key out of nowhere", "data_keys_master_key_is_live", keys.Born, sql("UPDATE data_keys SET master_key_id = gen_random_uuid() WHERE tenant_id = {id}")},
		{"two current master keys", "master_keys_one_current", keys.Born, sql(master + "SELECT gen_random_uuid(), uri, '2', true, key_check, id, 'e', authority, now(), NULL FROM master_keys")},
		{"a master key nobody vouches for", "master_keys_one_first", keys.Born, sql(master + "SELECT gen_random_uuid(), uri, '2', false, key_check, NULL, NULL, authority, now(), NULL FROM master_keys")},
		{"a voucher without a word", "master_keys_endorsement", keys.Born, sql(master + "SELECT gen_random_uuid(), uri, '2', false, key_check, id, NULL, authority, now(), NULL FROM master_keys")},
		{"a master key twice", "master_keys_version_once", keys.Born, sql(master + "SELECT gen_random_uuid(), uri, version, false, key_check, id, 'e', authority, now(), NULL FROM master_keys")},
		{"retired while it wraps", "master_keys_still_wraps", keys.Born, sql("UPDATE master_keys SET retired_at = now(), is_current = false")},
		{"retired while current", "master_keys_retired_is_not_current", keys.Born, bare(sql("UPDATE master_keys SET retired_at = now()"))},
		{"retired wraps again", "data_keys_master_key_is_live", keys.Born, sql(master + `SELECT gen_random_uuid(), uri, 'old', false, key_check, id, 'e', authority, now(), now() FROM master_keys;
			UPDATE data_keys SET master_key_id = (SELECT id FROM master_keys WHERE version = 'old') WHERE tenant_id = {id}`)},
		{"retired comes back", "master_keys_retired_stays", keys.Born, sql(master + `SELECT gen_random_uuid(), uri, 'old', false, key_check, id, 'e', authority, now(), now() FROM master_keys;
			UPDATE master_keys SET retired_at = NULL WHERE version = 'old'`)},
		{"another key check", "master_keys_identity", keys.Born, sql("UPDATE master_keys SET key_check = 'forged'")},
	})
}

func TestDatabaseRefusesWorkloadIdentities(t *testing.T) {
	p := newPSQL(t)
	// An identity has the id of the refusal's own tenant.
	insert := func(role, rules string) string {
		return `INSERT INTO workload_identities (tenant_id, id, name, issuer, audience, rules, role, max_token_lifetime_seconds, created_at, creator_type, creator_id, creator_name)
			VALUES ({id}, {id}, 'ci', 'https://ci.example', 'keyward', '` + rules + `', '` + role + `', 3600, now(), 'operator', '', '');`
	}
	told := func(action audit.Action, role, text string) func(*act, uuid.UUID) error {
		return func(a *act, id uuid.UUID) error {
			_, err := a.happen(id, audit.Event{Action: action, Details: audit.Details(columns{"id": id, "role": role})})
			return errors.Join(err, sql(text)(a, id))
		}
	}
	created := func(text string) func(*act, uuid.UUID) error {
		return told(audit.WorkloadIdentityCreated, "tenant_signer", text)
	}
	mine, end := insert("tenant_signer", "[]"), "UPDATE workload_identities SET deleted_at = now() WHERE tenant_id = {id};"
	change := func(set string) func(*act, uuid.UUID) error {
		return created(mine + "UPDATE workload_identities SET " + set + " WHERE tenant_id = {id}")
	}
	all := []refusal{
		{"as it should be", "", keys.Born, func(a *act, id uuid.UUID) error {
			return errors.Join(created(mine)(a, id), told(audit.WorkloadIdentityDeleted, "tenant_signer", end)(a, id))
		}},
		{"rules that are no list", "workload_identities_rules", keys.Born, created(insert("tenant_signer", "{}"))},
		{"created without event", "workload_identities_change_is_audited", keys.Born, sql(mine)},
		{"created with the event of another role", "workload_identities_change_is_audited", keys.Born, created(insert("tenant_admin", "[]"))},
		{"created with the event of its end", "workload_identities_change_is_audited", keys.Born, told(audit.WorkloadIdentityDeleted, "tenant_signer", mine)},
		{"deleted without event", "workload_identities_change_is_audited", keys.Born, created(mine + end)},
		{"deleted comes back", "workload_identities_deleted_stays", keys.Born, created(mine + end + "UPDATE workload_identities SET deleted_at = NULL WHERE tenant_id = {id}")},
		{"a token of a year", "workload_identities_lifetime", keys.Born, created(strings.Replace(mine, "3600", "31536000", 1))},
		{"made by a workload", "workload_identities_maker", keys.Born, created(strings.Replace(mine, "'operator'", "'workload'", 1))},
	}
	for _, role := range []string{"platform_admin", "platform_auditor", "tenant_god"} {
		all = append(all, refusal{"the role " + role, "workload_identities_role", keys.Born, told(audit.WorkloadIdentityCreated, role, insert(role, "[]"))})
	}
	for _, set := range []string{
		"id = gen_random_uuid()", "name = 'x'", "issuer = 'https://x.example'", "audience = 'x'", "jwks_uri = 'https://x.example'", "rules = '[1]'", "role = 'tenant_admin'",
		"max_token_lifetime_seconds = 7200", "created_at = now() - interval '1 s'", "expires_at = now()", "creator_id = 'x'", "maker_mac = 'x'",
	} {
		all = append(all, refusal{set, "workload_identities_identity", keys.Born, change(set)})
	}
	p.against(t, all)
}

func TestDatabaseRefusesCredentials(t *testing.T) {
	p := newPSQL(t)
	platform := p.tenant("platform")
	// A credential has the id of the refusal's own tenant, whoever it belongs to.
	insert := func(tenant, role string) string {
		return "INSERT INTO api_keys (id, tenant_id, role, name, secret_hash, created_at) VALUES ({id}, " + tenant + ", '" + role + "', '', sha256('s'), now());"
	}
	told := func(home *uuid.UUID, action audit.Action, role, text string) func(*act, uuid.UUID) error {
		return func(a *act, id uuid.UUID) error {
			at := id
			if home != nil {
				at = *home
			}
			_, err := a.happen(at, audit.Event{Action: action, Details: audit.Details(columns{"id": id, "role": role})})
			return errors.Join(err, sql(text)(a, id))
		}
	}
	created := func(text string) func(*act, uuid.UUID) error {
		return told(nil, audit.APIKeyCreated, "tenant_admin", text)
	}
	ofPlatform := func(text string) func(*act, uuid.UUID) error {
		return told(&platform, audit.APIKeyCreated, "platform_admin", text)
	}
	mine, revoke := insert("{id}", "tenant_admin"), "UPDATE api_keys SET revoked_at = now() WHERE tenant_id = {id};"
	all := []refusal{
		{"as it should be", "", keys.Born, func(a *act, id uuid.UUID) error {
			return errors.Join(created(mine)(a, id), told(nil, audit.APIKeyRevoked, "tenant_admin", revoke)(a, id))
		}},
		{"the platform's", "", keys.Born, ofPlatform(insert("NULL", "platform_admin"))},
		{"the platform's without event", "api_keys_change_is_audited", keys.Born, told(nil, audit.APIKeyCreated, "platform_admin", insert("NULL", "platform_admin"))},
		{"unknown role", "api_keys_role", keys.Born, created(insert("{id}", "tenant_god"))},
		{"a hash of another length", "api_keys_secret_hash", keys.Born, created(strings.ReplaceAll(mine, "sha256('s')", "'short'"))},
		{"created without event", "api_keys_change_is_audited", keys.Born, sql(mine)},
		{"created with the event of another", "api_keys_change_is_audited", keys.Born, created(strings.Replace(mine, "({id},", "(gen_random_uuid(),", 1))},
		{"two created with one event", "api_keys_change_is_audited", keys.Born, created(mine + strings.Replace(mine, "({id},", "(gen_random_uuid(),", 1))},
		{"created with the event of another role", "api_keys_change_is_audited", keys.Born, created(insert("{id}", "tenant_signer"))},
		{"created with an event that it was revoked", "api_keys_change_is_audited", keys.Born, told(nil, audit.APIKeyRevoked, "tenant_admin", mine)},
		{"revoked without event", "api_keys_change_is_audited", keys.Born, created(mine + revoke)},
		{"renamed without event", "api_keys_change_is_audited", keys.Born, created(mine + "UPDATE api_keys SET name = 'x' WHERE tenant_id = {id}")},
		{"prolonged without event", "api_keys_change_is_audited", keys.Born, created(mine + "UPDATE api_keys SET expires_at = now() WHERE tenant_id = {id}")},
		{"revoked comes back", "api_keys_revoked_stays", keys.Born, created(mine + revoke + "UPDATE api_keys SET revoked_at = NULL WHERE tenant_id = {id}")},
		{"another role", "api_keys_identity", keys.Born, created(mine + "UPDATE api_keys SET role = 'tenant_signer' WHERE tenant_id = {id}")},
		{"another secret", "api_keys_identity", keys.Born, created(mine + "UPDATE api_keys SET secret_hash = sha256('mine') WHERE tenant_id = {id}")},
	}
	for _, role := range []string{"tenant_admin", "tenant_signer", "tenant_auditor"} {
		all = append(all, refusal{role + " of no tenant", "api_keys_role_has_its_tenant", keys.Born, ofPlatform(insert("NULL", role))})
	}
	for _, role := range []string{"platform_admin", "platform_auditor"} {
		all = append(all, refusal{role + " of a tenant", "api_keys_role_has_its_tenant", keys.Born, created(insert("{id}", role))})
	}
	p.against(t, all)
}
