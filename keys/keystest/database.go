package keystest

import (
	"context"
	"crypto/x509"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/keyward/keyward/keys/seal"
)

// Database reads every row of a test's database when t ends, and learns the
// private keys in it that master, the master key's URI at that time, opens.
// Call it in the line after the database is created, because clean-ups run in
// reverse order.
//
// By then the rows of keys that stopped signing have lost their private keys; a
// test that cares calls Learn in time. Without a usable master key nothing is
// learnt.
func (s *Shown) Database(t testing.TB, url string, master func() string) {
	t.Cleanup(func() {
		ctx := context.Background()
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			t.Errorf("keystest: the database cannot be read: %v", err)
			return
		}
		defer conn.Close(ctx)
		if err := s.dumpRows(ctx, conn, "the database of "+t.Name()); err != nil {
			t.Errorf("keystest: the database cannot be read: %v", err)
		}
		if err := s.learnSealedKeys(ctx, conn, master()); err != nil {
			t.Logf("keystest: no keys are learnt from the database: %v", err)
		}
	})
}

// dumpRows keeps all rows as text.
func (s *Shown) dumpRows(ctx context.Context, conn *pgx.Conn, name string) error {
	var selects *string
	err := conn.QueryRow(ctx, `SELECT string_agg(format('SELECT x::text FROM %I.%I x', schemaname, tablename), ' UNION ALL ')
		FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')`).Scan(&selects)
	if err != nil || selects == nil {
		return err
	}
	rows, err := conn.Query(ctx, *selects)
	if err != nil {
		return err
	}
	var row string
	_, err = pgx.ForEachRow(rows, []any{&row}, func() error {
		s.appendShown(name, []byte(row))
		return nil
	})
	return err
}

// sealed is a private key at rest.
type sealed struct {
	TenantID       uuid.UUID
	KID            string
	DataKeyVersion int32
	SealedPrivate  []byte
	Wrapped        []byte
	MasterVersion  string
}

// learnSealedKeys learns the private keys in a migrated database.
func (s *Shown) learnSealedKeys(ctx context.Context, conn *pgx.Conn, uri string) error {
	rows, err := conn.Query(ctx, `SELECT k.tenant_id, k.kid, k.data_key_version, k.sealed_private, d.wrapped, m.version
		FROM keys k JOIN data_keys d ON d.tenant_id = k.tenant_id AND d.version = k.data_key_version
		JOIN master_keys m ON m.id = d.master_key_id WHERE k.sealed_private IS NOT NULL`)
	if err != nil {
		return err
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[sealed])
	if err != nil || len(all) == 0 {
		return err
	}
	ring, err := seal.Open(ctx, uri)
	if err != nil {
		return err
	}
	for _, row := range all {
		if err := s.learnRow(ctx, ring, row); err != nil {
			return err
		}
	}
	return nil
}

func (s *Shown) learnRow(ctx context.Context, ring *seal.Ring, row sealed) error {
	master, err := ring.Key(ctx, row.MasterVersion)
	if err != nil {
		return err
	}
	data, err := master.UnwrapDataKey(ctx, row.TenantID, row.DataKeyVersion, row.Wrapped)
	if err != nil {
		return err
	}
	der, err := data.Open(row.TenantID, row.DataKeyVersion, row.KID, row.SealedPrivate)
	if err != nil {
		return err
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return err
	}
	s.Learn(key)
	return nil
}
