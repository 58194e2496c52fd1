package main

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/keys/signing"
)

// A value of a setting is accepted, or refused in one line that names the variable and
// repeats no password.
func FuzzSettings(f *testing.F) {
	var defaults settings
	var texts []int // the fields of settings that are texts
	for i, typ := 0, reflect.TypeFor[settings](); i < typ.NumField(); i++ {
		if field := typ.Field(i); field.Type.Kind() == reflect.String && field.Tag.Get("var") != "" {
			texts = append(texts, i)
			reflect.ValueOf(&defaults).Elem().Field(i).SetString(field.Tag.Get("default"))
		}
	}
	if _, err := defaults.parse(f.Context()); err != nil || len(texts) < 30 {
		f.Fatalf("%d settings: %v", len(texts), err)
	}
	for i := range texts {
		for _, value := range []string{
			"x", "-1", "99999999999999999999", "1e9", "postgres://u:hunter2@h/d?sslmode=verify-full", "postgres://u:hunter2@[::1/d", "https://keys.example.com", "https://u:hunter2@x.example/", "127.0.0.1:0", ":99999",
			"10.0.0.0/8,x", "5m", "-5s", "true", "groups=a:platform_admin", "file:/x", "\x00", "\xff", "https://[::1%25x]/", "host=h password=hunter2",
		} {
			f.Add(uint8(i), value)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, value string) {
		s, i := defaults, texts[int(which)%len(texts)]
		reflect.ValueOf(&s).Elem().Field(i).SetString(value)
		_, err := s.parse(t.Context())
		if err == nil {
			return
		}
		usage := (*usageError)(nil)
		if !errors.As(err, &usage) || !strings.Contains(err.Error(), "KEYWARD_") || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s=%q: %v", reflect.TypeFor[settings]().Field(i).Tag.Get("var"), value, err)
		}
	})
}

// A file that is taken for a checkpoint has one, and every line of an export that is taken for
// an event is written by the server as it is.
func FuzzAuditFiles(f *testing.F) {
	for _, seed := range []string{
		"", "eyJ.e30.x", `{"checkpoint":"a.b.c"}`, `{"tenant_id":"0195a0b0-1111-7222-8333-444455556666","seq":1,"hash":"00"}` + "\n" + `{"checkpoint":"a.b.c"}`, `{"checkpoint":"a"}{"checkpoint":"b"}`, `{"checkpoint":"a","inclusion":{"leaf":1e9}}`,
		"seq,at\n", strings.Repeat("{", 10_000), `{"tenant_id":"x"}`, `{"seq":-1}`, "\n\n", `{"seq":1,"seq":2}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		leaves := 0
		c, err := readCheckpointContent(strings.NewReader(text), func(signing.CheckpointLeaf) error { leaves++; return nil })
		if err == nil && strings.HasPrefix(text, "{") && (c.jws == "" || c.tree.Size() != int64(leaves)) {
			t.Errorf("%q: %q, %d leaves", text, c.jws, leaves)
		}
		var chain chainCheck
		if chain.readLines("file", strings.NewReader(text)) != nil {
			return
		}
		for line := range strings.Lines(text) {
			if e, err := audit.ParseLine([]byte(strings.TrimRight(line, "\r\n"))); err != nil || e.Seq < 1 {
				t.Errorf("%q is taken for an export: %v", text, err)
			}
		}
	})
}
