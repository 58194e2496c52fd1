package seal_test

import (
	"encoding/base64"
	"os"
	"strings"
	"testing"

	"github.com/keyward/keyward/keys/seal"
)

// keysetOf returns what is in a master key file.
func keysetOf(t testing.TB, r *seal.Ring) []byte {
	t.Helper()
	data, err := os.ReadFile(strings.TrimPrefix(r.URI(), "file:"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestMasterKeyInAVariable(t *testing.T) {
	of := newRing(t)
	addVersion(t, of)
	data := keysetOf(t, of)
	standard := base64.StdEncoding.EncodeToString(data)
	for what, value := range map[string]string{
		"plain":            standard,
		"without padding":  base64.RawStdEncoding.EncodeToString(data),
		"with line breaks": " " + standard[:76] + "\r\n" + standard[76:] + "\n",
	} {
		t.Setenv("KEYWARD_TEST_MASTER", value)
		r, err := seal.Open(t.Context(), "ENV:KEYWARD_TEST_MASTER")
		if err != nil {
			t.Fatal(what, err)
		}
		if r.URI() != "env:KEYWARD_TEST_MASTER" || r.Newest() != of.Newest() || len(r.Versions()) != 2 {
			t.Errorf("%s: %s holds %v", what, r.URI(), r.Versions())
		}
		check, _ := newest(t, of).KeyCheck(t.Context(), tenantA)
		if err := newest(t, r).VerifyKeyCheck(t.Context(), tenantA, check); err != nil {
			t.Error(what, err)
		}
	}
}

// A variable is set by somebody else; what refuses says what to do instead.
func TestMasterKeyInAVariableIsOnlyRead(t *testing.T) {
	const uri = "env:KEYWARD_TEST_MASTER"
	_, err := seal.Open(t.Context(), uri)
	wantErr(t, "not set", err, seal.ErrNoMasterKey)
	_, err = seal.Init(t.Context(), uri)
	wantErr(t, "Init", err, seal.ErrReadOnly)
	if !strings.Contains(err.Error(), uri) || !strings.Contains(err.Error(), "base64") {
		t.Errorf("%v: want the URI and what to do", err)
	}
	t.Setenv("KEYWARD_TEST_MASTER", base64.StdEncoding.EncodeToString(keysetOf(t, newRing(t))))
	_, err = seal.Init(t.Context(), uri)
	wantErr(t, "Init of one that is set", err, seal.ErrExists)
	r, err := seal.Open(t.Context(), uri)
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.AddVersion(t.Context())
	wantErr(t, "AddVersion", err, seal.ErrReadOnly)
	if !strings.Contains(err.Error(), "rotate --to env:") {
		t.Errorf("%v: want what to do", err)
	}
	wantErr(t, "RemoveVersion", r.RemoveVersion(t.Context(), r.Newest()), seal.ErrReadOnly)
}

func TestVariablesThatHoldNoMasterKey(t *testing.T) {
	for _, value := range []string{
		"{}", "c2VjcmV0LXZhbHVl", "secret-value", base64.StdEncoding.EncodeToString([]byte(`{"primaryKeyId":1}`)),
	} {
		t.Setenv("KEYWARD_TEST_MASTER", value)
		_, err := seal.Open(t.Context(), "env:KEYWARD_TEST_MASTER")
		wantErr(t, value, err, seal.ErrNotMasterKey)
		if strings.Contains(err.Error(), value) {
			t.Errorf("the value is shown: %v", err)
		}
	}
}
