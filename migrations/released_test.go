package migrations_test

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/keyward/keyward/migrations"
)

// released.sha256 has a line for each migration, in their order, as sha256sum
// writes it. A migration that is there is never edited: databases have it. A new
// one is appended with its change:
//
//	cd migrations && sha256sum 00011_what.sql >> released.sha256
func TestReleasedMigrationsStay(t *testing.T) {
	list, err := os.ReadFile("released.sha256")
	if err != nil {
		t.Fatal(err)
	}
	names, err := fs.Glob(migrations.FS, "*.sql")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(list)), "\n")
	if len(lines) < 10 {
		t.Fatalf("released.sha256 has %d lines; migrations are never taken off the list", len(lines))
	}
	for i, line := range lines {
		sum, name, ok := strings.Cut(line, "  ")
		if !ok || i >= len(names) || names[i] != name {
			t.Fatalf("line %d of released.sha256 is %q, and no such migration is there in this place", i+1, line)
		}
		text, err := fs.ReadFile(migrations.FS, name)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%x", sha256.Sum256(text)); got != sum {
			t.Errorf("%s was edited (%s, released as %s): restore it, and make the change in a new migration", name, got, sum)
		}
	}
	for i, name := range names {
		if want := fmt.Sprintf("%05d_", i+1); !strings.HasPrefix(name, want) {
			t.Errorf("%s: its number is not the next one, %s", name, want)
		}
		if i >= len(lines) {
			t.Errorf("%s is not in released.sha256: append it with sha256sum %s >> released.sha256", name, name)
		}
	}
}
