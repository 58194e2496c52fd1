package seal_test

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/keyward/keyward/keys/seal"
)

// holder is what a careless caller might print: a key in a field whose methods
// package fmt may not call.
type holder struct {
	pointer *seal.DataKey
	value   any
	Public  *seal.DataKey
}

// spellings are the ways in which key bytes could show up in a text.
func spellings(key []byte) []string {
	list := strings.Trim(fmt.Sprint(key), "[]")
	return []string{
		string(key), hex.EncodeToString(key), strings.ToUpper(hex.EncodeToString(key)),
		base64.StdEncoding.EncodeToString(key)[:40], list, strings.ReplaceAll(list, " ", ","),
		fmt.Sprintf("%#v", key)[len("[]byte{"):20], fmt.Sprintf("%q", key)[1:20],
		fmt.Sprintf("% x", key), fmt.Sprintf("%o", key)[1:20],
	}
}

func wantNoKey(t *testing.T, what, text string, key []byte) {
	t.Helper()
	for _, s := range spellings(key) {
		if strings.Contains(text, s) {
			t.Errorf("%s shows the key: %s", what, text)
		}
	}
}

func TestDataKeyPrintsRedacted(t *testing.T) {
	k := newDataKey(t)
	for _, verb := range strings.Fields("%v %+v %#v %s %+s %x %X %#x %q %+q %d %o %b %c %U %t %T! %20v %-20s") {
		text := fmt.Sprintf(verb, k)
		if verb != "%T!" && text != "[redacted]" {
			t.Errorf("%s prints %s", verb, text)
		}
		for _, h := range []any{holder{k, k, k}, &holder{k, k, k}, []*seal.DataKey{k}, map[string]any{"k": k}} {
			wantNoKey(t, verb, fmt.Sprintf(verb, h), seal.Material(k))
		}
	}
	if k.String() != "[redacted]" || k.GoString() != "[redacted]" {
		t.Error("String or GoString")
	}
}

func TestKeysInLogs(t *testing.T) {
	var out bytes.Buffer
	k, r := newDataKey(t), newRing(t)
	m := newest(t, r)
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("data key", "key", k, "in", holder{k, k, k}, "group", slog.GroupValue(slog.Any("k", k)))
		slog.New(h).Info("master key", "key", m, "ring", r)
	}
	text := out.String()
	wantNoKey(t, "log", text, seal.Material(k))
	if strings.Count(text, "[redacted]") < 4 || !strings.Contains(text, m.String()) {
		t.Errorf("log: %s", text)
	}
}

func TestDataKeyRefusesToMarshal(t *testing.T) {
	k := newDataKey(t)
	var out bytes.Buffer
	gob.Register(k)
	for what, marshal := range map[string]func() error{
		"json":             func() error { return json.NewEncoder(&out).Encode(k) },
		"json in a struct": func() error { return json.NewEncoder(&out).Encode(struct{ K any }{k}) },
		"xml":              func() error { return xml.NewEncoder(&out).Encode(k) },
		"gob":              func() error { return gob.NewEncoder(&out).Encode(k) },
		"gob in a struct":  func() error { return gob.NewEncoder(&out).Encode(struct{ K *seal.DataKey }{k}) },
		"text":             func() error { _, err := k.MarshalText(); return err },
		"binary":           func() error { _, err := k.MarshalBinary(); return err },
	} {
		if err := marshal(); !errors.Is(err, seal.ErrSecret) {
			t.Errorf("%s: %v", what, err)
		}
	}
	wantNoKey(t, "what was marshalled", out.String(), seal.Material(k))
}

func TestMasterKeyPrintsItsName(t *testing.T) {
	r := newRing(t)
	m := newest(t, r)
	want := "master key " + r.URI() + " version " + r.Newest()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
		if got := fmt.Sprintf(verb, m); got != want {
			t.Errorf("%s prints %s", verb, got)
		}
	}
}
