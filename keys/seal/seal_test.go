package seal_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"testing"

	"github.com/google/uuid"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"

	"github.com/keyward/keyward/keys/seal"
)

var (
	tenantA = uuid.MustParse("01890a5d-ac96-774b-bcce-b302099a8057")
	tenantB = uuid.MustParse("01890a5d-ac96-774b-bcce-b302099a8058")
	private = []byte("a private key in PKCS#8, or so we say")
)

func newDataKey(t testing.TB) *seal.DataKey {
	t.Helper()
	k, err := seal.NewDataKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func uriIn(t testing.TB) string {
	t.Helper()
	return "file:" + filepath.Join(t.TempDir(), "master.json")
}

func newRing(t testing.TB) *seal.Ring {
	t.Helper()
	r, err := seal.Init(context.Background(), uriIn(t))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func newest(t testing.TB, r *seal.Ring) *seal.MasterKey {
	t.Helper()
	m, err := r.Key(context.Background(), r.Newest())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func addVersion(t testing.TB, r *seal.Ring) string {
	t.Helper()
	v, err := r.AddVersion(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// damaged calls try with every truncation of b, b with every bit flipped on
// its own, and b with something before or behind it.
func damaged(b []byte, try func(what string, b []byte)) {
	for n := range b {
		try("truncated", bytes.Clone(b[:n]))
		try("beheaded", bytes.Clone(b[n+1:]))
		for bit := range 8 {
			c := bytes.Clone(b)
			c[n] ^= 1 << bit
			try("flipped", c)
		}
	}
	try("extended", append(bytes.Clone(b), 0))
	try("preceded", append([]byte{0}, b...))
	try("nil", nil)
}

func wantErr(t testing.TB, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: error %v, want %v", what, got, want)
	}
}

// tinkKeyset is a keyset as Tink's own tools write it.
func tinkKeyset(t testing.TB, template *tinkpb.KeyTemplate) string {
	t.Helper()
	h, err := keyset.NewHandle(template)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := insecurecleartextkeyset.Write(h, keyset.NewJSONWriter(&out)); err != nil {
		t.Fatal(err)
	}
	return compact(t, out.Bytes())
}

// compact takes out the white space that protojson puts in at random.
func compact(t testing.TB, content []byte) string {
	t.Helper()
	var out bytes.Buffer
	if err := json.Compact(&out, content); err != nil {
		t.Fatal(err)
	}
	return out.String()
}
