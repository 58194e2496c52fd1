package tenant_test

import (
	"net/url"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"

	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/tenant"
)

// localeC returns a migrated database in the locale C, in which PostgreSQL changes the
// case of ASCII letters only.
func localeC(t *testing.T) string {
	t.Helper()
	u, err := url.Parse(dbtest.Empty(t))
	if err != nil {
		t.Fatal(err)
	}
	beside, name := u.String(), u.Path[1:]+"_c"
	dbtest.Exec(t, beside, "CREATE DATABASE "+name+" TEMPLATE template0 LOCALE 'C' ENCODING 'UTF8'")
	t.Cleanup(func() { dbtest.Exec(t, beside, "DROP DATABASE "+name+" WITH (FORCE)") })
	u.Path = "/" + name
	if err := db.Migrate(t.Context(), u.String()); err != nil {
		t.Fatal(err)
	}
	return u.String()
}

// A search finds names whatever the case of their letters, in every script and in every
// locale of the database, among the newest tenants and by the index.
func TestSearchIgnoresCaseInEveryScript(t *testing.T) {
	names := map[string][]string{ // texts that find it, by name
		"Straße":        {"STRASSE", "strasse", "STRAẞE", "straße", "ASS", "ß"},
		"ÉCLAIR":        {"éclair", "e\u0301clair", "Éc"},
		"Ömür":          {"ÖMÜR", "ömür"},
		"ΟΔΥΣΣΕΥΣ":      {"οδυσσευς", "υσ"},
		"Москва":        {"МОСКВА", "москва", "ква"},
		"ՀԱՅԱՍՏԱՆ":      {"հայաստան"},
		"ქართული":       {"ᲥᲐᲠᲗᲣᲚᲘ"},
		"Ꭰꮃꭹ":           {"ꭰꮃꭹ", "ᎠᎳᎩ"},
		"𐐔𐐯𐑅𐐨𐑉𐐯𐐻":       {"𐐼𐐯𐑅𐐨𐑉𐐯𐐻", "𐐔𐐇𐐝𐐀𐐡𐐇𐐓"},
		"İzmir":         {"izmir", "İZMİR", "IZMIR"},
		"Iğdır":         {"ığdır", "IĞDIR", "iğdir"},
		"ﬁnance":        {"FINANCE", "finance"},
		"ＦＵＬＬ":          {"full", "ｆｕｌｌ"},
		"日本語":           {"日本", "語"},
		"100% _\\ 'x'":  {"100% _\\ 'X'", "%", "\\"},
		"two  spaces\t": {"TWO  spaces\t"},
	}
	for locale, at := range map[string]string{"default": dbtest.New(t), "C": localeC(t)} {
		w := worldAt(t, at)
		w.tenant(t, "blank")
		n := 0
		for name := range names {
			id := w.tenant(t, "t"+strconv.Itoa(n))
			if _, err := w.Update(t.Context(), somebody, id, tenant.Change{Name: tenant.Some(name)}); err != nil {
				t.Fatal(err)
			}
			n++
		}
		for name, texts := range names {
			for _, text := range append(texts, name) {
				page, _, err := w.List(t.Context(), tenant.ListFilter{Q: text})
				if err != nil || len(page) != 1 || page[0].Name != name {
					t.Errorf("locale %s: %q finds %v, %v, want %q", locale, text, page, err, name)
				}
				err = w.db.AsPlatform(t.Context(), func(tx *db.Tx) error {
					rows, err := tx.FindTenants(t.Context(), db.FindTenantsParams{
						Q: tenant.FoldCase(text), BeforeCreatedAt: noon.AddDate(1, 0, 0), PageSize: 10,
					})
					if len(rows) != 1 || rows[0].Name != name {
						t.Errorf("locale %s, by the index: %q finds %v, want %q", locale, text, rows, name)
					}
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// Every character and its other cases, also those of more than one character, are folded
// to the same text, and folding that changes nothing.
func TestFoldCaseOfEveryCharacter(t *testing.T) {
	upper, lower := cases.Upper(language.Und), cases.Lower(language.Und)
	for r := rune(0); r <= unicode.MaxRune; r++ {
		text := string(r)
		folded := tenant.FoldCase(text)
		others := []string{folded, upper.String(text), lower.String(text), strings.ToUpper(text), strings.ToLower(text)}
		for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
			others = append(others, string(other))
		}
		for _, other := range others {
			if got := tenant.FoldCase(other); got != folded {
				t.Errorf("%q (%U) is folded to %q, %q to %q", text, r, folded, other, got)
			}
		}
	}
}
