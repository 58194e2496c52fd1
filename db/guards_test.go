package db_test

import (
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/db/dbtest"
)

// guards.json has exactly the guards of a migrated database. With KEYWARD_DRAW set
// it is written.
func TestGuards(t *testing.T) {
	conn, err := pgx.Connect(t.Context(), dbtest.New(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	there, err := db.ReadGuards(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("KEYWARD_DRAW") != "" {
		text, err := json.MarshalIndent(there, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("guards.json", append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	faults, err := db.CompareGuards(there)
	if err != nil {
		t.Fatal(err)
	}
	if len(faults.Missing)+len(faults.Extra) > 0 {
		t.Errorf("db/guards.json is out of date: run make guards\nmissing here: %v\nnot in the file: %v", faults.Missing, faults.Extra)
	}
	var wanted []db.Guard
	text, _ := os.ReadFile("guards.json")
	if err := json.Unmarshal(text, &wanted); err != nil || len(wanted) < 100 {
		t.Fatalf("%d guards, %v", len(wanted), err)
	}
	for _, g := range there {
		if !slices.ContainsFunc(wanted, func(w db.Guard) bool { return w.ID == g.ID }) {
			t.Errorf("db/guards.json is out of date: run make guards; it lacks %s", g.ID)
		}
	}
}

// Each guard that is taken away is found missing, and its SQL brings it back;
// each that opens something is found, and taken back.
func TestGuardsAreMissed(t *testing.T) {
	url := dbtest.New(t)
	d, err := db.Open(t.Context(), db.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, harm := range []string{
		"REVOKE SELECT ON public.keys FROM keyward_platform",
		"REVOKE SELECT (jwks) ON public.tenants FROM keyward_public",
		"REVOKE USAGE ON SCHEMA public FROM keyward_app",
		"ALTER TABLE public.keys NO FORCE ROW LEVEL SECURITY",
		"ALTER TABLE public.keys DISABLE ROW LEVEL SECURITY",
		"ALTER TABLE public.audit_events DISABLE TRIGGER USER",
		"DROP TRIGGER webhooks_guard ON public.webhooks",
		"DROP POLICY one_tenant ON public.api_keys",
		"ALTER POLICY one_tenant ON public.keys USING (true)",
		"CREATE POLICY open ON public.data_keys TO keyward_public USING (true)",
		"GRANT SELECT ON public.data_keys TO keyward_public",
		"GRANT SELECT (sealed_private) ON public.keys TO keyward_public",
		"ALTER TABLE public.leases OWNER TO CURRENT_USER",
		"CREATE OR REPLACE FUNCTION public.keyward_guard_never_deleted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'",
		// A body that is SQL is not in the source that the catalogs have as text.
		"CREATE OR REPLACE FUNCTION public.keyward_tenant() RETURNS uuid LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp RETURN '01980000-0000-7000-8000-000000000000'::uuid",
		"ALTER FUNCTION public.keyward_tenant() RESET search_path",
		"ALTER FUNCTION public.keyward_guard_never_deleted() SECURITY DEFINER",
		"ALTER FUNCTION public.keyward_tenant() IMMUTABLE",
		"DROP TRIGGER webhooks_guard ON public.webhooks; CREATE TRIGGER webhooks_guard BEFORE TRUNCATE ON public.webhooks EXECUTE FUNCTION public.keyward_guard_never_deleted()",
	} {
		dbtest.Exec(t, url, harm)
		faults, err := d.Guards(t.Context())
		if err != nil || len(faults.Missing)+len(faults.Extra) == 0 {
			t.Errorf("after %s nothing is missed (%v)", harm, err)
		}
		for _, g := range slices.Concat(faults.Extra, faults.Missing) {
			dbtest.Exec(t, url, g.SQL)
		}
		faults, err = d.Guards(t.Context())
		if err != nil || len(faults.Missing)+len(faults.Extra) > 0 {
			t.Errorf("after %s and the cure there remain %v (%v)", harm, faults, err)
		}
	}
}
