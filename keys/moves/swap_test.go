package moves

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/keys/signing"
	"github.com/keyward/keyward/tenant"
)

// intruder is a superuser of the database, whom no trigger stops.
type intruder struct {
	*process
	t    *testing.T
	conn *pgx.Conn
	log  *record
}

// record is a log that many write.
type record struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

// take returns what was written since the last time.
func (r *record) take() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.text.Reset()
	return r.text.String()
}

func newIntruder(t *testing.T) *intruder {
	t.Helper()
	log := &record{}
	p := newProcess(t, func(c *configs) { c.signer.Log = slog.New(slog.NewTextHandler(log, nil)) })
	conn, err := pgx.Connect(t.Context(), p.dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	i := &intruder{process: p, t: t, conn: conn, log: log}
	i.exec("SET session_replication_role = replica")
	return i
}

func (i *intruder) exec(sql string, args ...any) {
	i.t.Helper()
	if _, err := i.conn.Exec(i.t.Context(), sql, args...); err != nil {
		i.t.Fatalf("%s: %v", sql, err)
	}
}

// rows counts a tenant's keys in every state, and its events.
func (i *intruder) rows(id uuid.UUID) (counted string) {
	i.t.Helper()
	const query = `SELECT (SELECT string_agg(kid || state, ' ' ORDER BY kid) FROM keys WHERE tenant_id = $1)
		|| (SELECT ' ' || max(seq) FROM audit_events WHERE tenant_id = $1)`
	if err := i.conn.QueryRow(i.t.Context(), query, id).Scan(&counted); err != nil {
		i.t.Fatal(err)
	}
	return counted
}

// forget makes a process read everything again.
func (p *process) forget() {
	p.cold()
	p.snapshots.Missed()
}

// wantClosed demands that the tenant does not sign, that the log names the
// row, and that nothing was done about it.
func (i *intruder) wantClosed(how string, made tenant.Tenant) {
	i.t.Helper()
	kid := i.only(i.t, made.ID, keys.Active)
	before := i.rows(made.ID)
	i.forget()
	i.log.take()
	token, err := i.signer.SignToken(i.t.Context(), made.Slug, signing.Order{})
	if err == nil || token.Token != "" || errors.Is(err, ErrUnavailable) {
		i.t.Errorf("%s: %v", how, err)
	}
	i.tick(i.t)
	if after := i.rows(made.ID); after != before {
		i.t.Errorf("%s: it was\n%s and is\n%s", how, before, after)
	}
	line := i.log.take()
	for _, want := range []string{"level=ERROR", "tenant_id=" + made.ID.String(), "kid=" + kid} {
		if strings.Count(line, want) != 1 {
			i.t.Errorf("%s: %q not once in the log: %q", how, want, line)
		}
	}
}

// What was sealed opens only in its own row: wherever a superuser moves it,
// signing fails closed, the log names the row, no key is made in its place and
// other tenants go on.
func TestSealedKeysDoNotMove(t *testing.T) {
	i := newIntruder(t)
	i.tenant(t, "bystander")
	donor := i.tenant(t, "donor")
	for n, attack := range []struct{ how, sql string }{
		{"the blob of another tenant", `UPDATE keys v SET sealed_private = d.sealed_private
			FROM keys d WHERE v.tenant_id = $1 AND v.state = 'active' AND d.tenant_id = $2 AND d.state = 'active'`},
		{"the blob of another kid", `UPDATE keys v SET sealed_private = d.sealed_private
			FROM keys d WHERE v.tenant_id = $1 AND v.state = 'active' AND d.tenant_id = $1 AND d.state = 'standby' AND $2::uuid IS NOT NULL`},
		{"the data key of another tenant", `UPDATE data_keys v SET wrapped = d.wrapped
			FROM data_keys d WHERE v.tenant_id = $1 AND d.tenant_id = $2`},
		{"blob and data key of another tenant", `WITH one AS (UPDATE data_keys v SET wrapped = d.wrapped
			FROM data_keys d WHERE v.tenant_id = $1 AND d.tenant_id = $2)
			UPDATE keys v SET sealed_private = d.sealed_private, public_jwk = d.public_jwk
			FROM keys d WHERE v.tenant_id = $1 AND v.state = 'active' AND d.tenant_id = $2 AND d.state = 'active'`},
		{"another version of the data key", `WITH one AS (UPDATE data_keys SET version = 7 WHERE tenant_id = $1 AND $2::uuid IS NOT NULL)
			UPDATE keys SET data_key_version = 7 WHERE tenant_id = $1 AND state = 'active'`},
		{"a version that does not exist", "UPDATE keys SET data_key_version = 9 WHERE tenant_id = $1 AND state = 'active' AND $2::uuid IS NOT NULL"},
		{"the data key in the column of the private key", `UPDATE keys v SET sealed_private = d.wrapped
			FROM data_keys d WHERE v.tenant_id = $1 AND v.state = 'active' AND d.tenant_id = $1 AND $2::uuid IS NOT NULL`},
		{"the private key in the column of the data key", `UPDATE data_keys v SET wrapped = d.sealed_private
			FROM keys d WHERE v.tenant_id = $1 AND d.state = 'active' AND d.tenant_id = $1 AND $2::uuid IS NOT NULL`},
		{"the key check in the column of the data key", `UPDATE data_keys v SET wrapped = m.key_check
			FROM master_keys m WHERE v.tenant_id = $1 AND $2::uuid IS NOT NULL`},
		{"the public key of another kid", `UPDATE keys v SET public_jwk = d.public_jwk
			FROM keys d WHERE v.tenant_id = $1 AND v.state = 'active' AND d.tenant_id = $2 AND d.state = 'active'`},
	} {
		victim := i.tenant(t, fmt.Sprintf("victim-%d", n))
		i.sign(t, victim.Slug)
		i.exec(attack.sql, victim.ID, donor.ID)
		i.wantClosed(attack.how, victim)
		i.sign(t, "bystander")
		i.sign(t, "donor")
	}
}

// Every byte of what is stored counts.
func TestEveryByteOfASealedKeyCounts(t *testing.T) {
	i := newIntruder(t)
	i.tenant(t, "bystander")
	victim := i.tenant(t, "victim")
	for _, column := range []struct{ name, of string }{
		{"sealed_private", "keys WHERE tenant_id = $1 AND state = 'active'"},
		{"wrapped", "data_keys WHERE tenant_id = $1"},
	} {
		var whole []byte
		if err := i.conn.QueryRow(t.Context(), "SELECT "+column.name+" FROM "+column.of, victim.ID).Scan(&whole); err != nil {
			t.Fatal(err)
		}
		table, where, _ := strings.Cut(column.of, " ")
		put := func(b []byte) { i.exec("UPDATE "+table+" SET "+column.name+" = $2 "+where, victim.ID, b) }
		for at := range whole {
			flipped := bytes.Clone(whole)
			flipped[at] ^= 1 << (at % 8)
			put(flipped)
			i.wantClosed(fmt.Sprintf("%s: byte %d flipped", column.name, at), victim)
			put(whole[:at])
			i.wantClosed(fmt.Sprintf("%s: cut to %d bytes", column.name, at), victim)
		}
		put(append(bytes.Clone(whole), 0))
		i.wantClosed(column.name+": one byte more", victim)
		put(whole)
		i.forget()
		i.sign(t, "victim")
	}
	i.sign(t, "bystander")
}

// Yesterday's rows do not sign: neither a sealed key from before a rotation of
// the data key, nor a key that has stopped signing since.
func TestYesterdaysRowsDoNotSign(t *testing.T) {
	i := newIntruder(t)
	i.tenant(t, "bystander")
	for n, c := range []struct {
		how   string
		since func(made tenant.Tenant) error
	}{
		{"before a rotation of the data key", func(made tenant.Tenant) error {
			_, err := i.store.RotateDataKey(t.Context(), tester, made.ID)
			return err
		}},
		{"before a rotation", func(made tenant.Tenant) error {
			_, err := i.store.Rotate(t.Context(), tester, made.ID, RotateRequest{})
			return err
		}},
		{"before a revocation", func(made tenant.Tenant) error {
			_, err := i.store.Revoke(t.Context(), tester, made.ID, i.only(t, made.ID, keys.Active), RevokeRequest{Reason: keys.Compromised})
			return err
		}},
	} {
		victim := i.tenant(t, fmt.Sprintf("victim-%d", n))
		warm := i.another(t)
		warm.sign(t, victim.Slug)
		i.exec("CREATE TEMP TABLE yesterday AS SELECT * FROM keys WHERE tenant_id = '" + victim.ID.String() + "'")
		i.exec("CREATE TEMP TABLE served AS SELECT * FROM tenants WHERE id = '" + victim.ID.String() + "'")
		if err := c.since(victim); err != nil {
			t.Fatal(err)
		}
		warm.await(t, victim.Slug)
		i.exec("DELETE FROM keys WHERE tenant_id = $1", victim.ID)
		i.exec("INSERT INTO keys SELECT * FROM yesterday")
		i.exec("DROP TABLE yesterday")
		i.forget()
		if _, err := i.signer.SignToken(t.Context(), victim.Slug, signing.Order{}); err == nil {
			t.Errorf("%s: it signs with what the JWK Set of today names", c.how)
		}
		i.exec("UPDATE tenants t SET jwks = y.jwks, jwks_outline = y.jwks_outline FROM served y WHERE t.id = y.id")
		i.exec("DROP TABLE served")
		i.wantClosed(c.how, victim)
		if stray, err := i.signer.StrayKeys(t.Context(), victim.ID); err != nil || (len(stray) == 0) != (n == 0) {
			t.Errorf("%s: stray are %v, %v", c.how, stray, err)
		}
		// Neither in a process that has the data key of yesterday open still.
		warm.snapshots.Missed()
		warm.signer.Missed()
		if _, err := warm.signer.SignToken(t.Context(), victim.Slug, signing.Order{}); err == nil {
			t.Errorf("%s: a warm process signs", c.how)
		}
		i.sign(t, "bystander")
	}
}

// One sealed blob of yesterday in the row of today.
func TestYesterdaysBlobDoesNotOpen(t *testing.T) {
	i := newIntruder(t)
	victim := i.tenant(t, "victim")
	i.sign(t, "victim")
	var blob []byte
	const query = "SELECT sealed_private FROM keys WHERE tenant_id = $1 AND state = 'active'"
	if err := i.conn.QueryRow(t.Context(), query, victim.ID).Scan(&blob); err != nil {
		t.Fatal(err)
	}
	if _, err := i.store.RotateDataKey(t.Context(), tester, victim.ID); err != nil {
		t.Fatal(err)
	}
	i.await(t, "victim")
	i.exec("UPDATE keys SET sealed_private = $2 WHERE tenant_id = $1 AND state = 'active'", victim.ID, blob)
	i.wantClosed("today's version", victim)
	i.exec("UPDATE keys SET data_key_version = 1 WHERE tenant_id = $1 AND state = 'active'", victim.ID)
	i.wantClosed("yesterday's version", victim)
	if _, err := i.store.RotateDataKey(t.Context(), tester, victim.ID); !errors.Is(err, custody.ErrDataKey) {
		t.Errorf("sealing it anew: %v", err)
	}
}

// Who can write the database can publish a key of their own, or a revoked one
// again; that this was done is found.
func TestKeysWrittenByHandAreFound(t *testing.T) {
	i := newIntruder(t)
	donor := i.tenant(t, "donor")
	for n, sql := range []string{
		`INSERT INTO keys (tenant_id, kid, alg, state, origin, public_jwk, created_at, published_at, deprecated_at, expires_at, token_horizon, state_event)
			SELECT $1, 'planted', alg, 'deprecated', 'imported', public_jwk, now(), now(), now(), now() + interval '9 days', now() + interval '8 days', 1
			FROM keys WHERE tenant_id = $2 AND state = 'active'`,
		`UPDATE keys v SET public_jwk = d.public_jwk FROM keys d
			WHERE v.tenant_id = $1 AND v.state = 'active' AND d.tenant_id = $2 AND d.state = 'active'`,
	} {
		victim := i.tenant(t, fmt.Sprintf("victim-%d", n))
		if stray, err := i.signer.StrayKeys(t.Context(), victim.ID); err != nil || len(stray) != 0 {
			t.Errorf("untouched: %v, %v", stray, err)
		}
		i.exec(sql, victim.ID, donor.ID)
		if stray, err := i.signer.StrayKeys(t.Context(), victim.ID); err != nil || len(stray) != 1 {
			t.Errorf("%d: %v, %v", n, stray, err)
		}
	}
}
