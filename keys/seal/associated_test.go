package seal

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"
)

// split reads associated data back. That it can, for all fields, is what makes
// bind injective.
func split(ad []byte) (fields [][]byte, ok bool) {
	for len(ad) > 0 {
		if len(ad) < 4 {
			return nil, false
		}
		n := int(binary.BigEndian.Uint32(ad))
		ad = ad[4:]
		if n > len(ad) {
			return nil, false
		}
		fields, ad = append(fields, ad[:n]), ad[n:]
	}
	return fields, true
}

func TestBindCanBeReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := purpose(rapid.String().Draw(t, "purpose"))
		fields := rapid.SliceOf(rapid.SliceOf(rapid.Byte())).Draw(t, "fields")
		got, ok := split(p.bindFields(fields...))
		want := append([][]byte{[]byte(p), {format}}, fields...)
		if !ok || !slices.EqualFunc(got, want, bytes.Equal) {
			t.Fatalf("bind(%q, %q) reads back as %q", p, fields, got)
		}
	})
}

func TestBindIsInjective(t *testing.T) {
	// Few and short fields over two letters, so that collisions would be found.
	drawn := rapid.SliceOfN(rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1}), 0, 5), 0, 4)
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawn.Draw(t, "a"), drawn.Draw(t, "b")
		same := slices.EqualFunc(a, b, bytes.Equal)
		if bytes.Equal(forDataKey.bindFields(a...), forDataKey.bindFields(b...)) != same {
			t.Fatalf("%q and %q: same=%t, but the associated data say otherwise", a, b, same)
		}
	})
}

func TestAssociatedDataOfDifferentRowsDiffer(t *testing.T) {
	id := func(b byte) uuid.UUID { return uuid.UUID{15: b} }
	type row struct {
		tenant, id   byte
		version      int32
		kid, uri, mv string
	}
	rows := rapid.Custom(func(t *rapid.T) row {
		short := rapid.StringOfN(rapid.SampledFrom([]rune("a1")), 0, 3, -1)
		return row{
			rapid.ByteRange(0, 1).Draw(t, "tenant"), rapid.ByteRange(0, 1).Draw(t, "id"),
			rapid.Int32Range(-1, 1).Draw(t, "version"),
			short.Draw(t, "kid"), short.Draw(t, "uri"), short.Draw(t, "master version"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := rows.Draw(t, "a"), rows.Draw(t, "b")
		all := func(r row) [4][]byte {
			return [4][]byte{
				dataKeyAD(id(r.tenant), r.version), privateKeyAD(id(r.tenant), r.version, r.kid),
				keyCheckAD(id(r.id)), endorsementAD(Successor{id(r.id), r.uri, r.mv}),
			}
		}
		dataKey := a.tenant == b.tenant && a.version == b.version
		same := [4]bool{dataKey, dataKey && a.kid == b.kid, a.id == b.id, a.id == b.id && a.uri == b.uri && a.mv == b.mv}
		for i, x := range all(a) {
			for j, y := range all(b) {
				if bytes.Equal(x, y) != (i == j && same[i]) {
					t.Fatalf("purposes %d of %+v and %d of %+v collide or differ wrongly", i, a, j, b)
				}
			}
		}
	})
}

// The bytes are stored for years: a change of layout must not go unnoticed.
func TestAssociatedDataIsWhatTheCommentDraws(t *testing.T) {
	tenant := uuid.MustParse("01890a5d-ac96-774b-bcce-b302099a8057")
	want := "\x00\x00\x00\x13keyward private key\x00\x00\x00\x01\x01" +
		"\x00\x00\x00\x10\x01\x89\x0a\x5d\xac\x96\x77\x4b\xbc\xce\xb3\x02\x09\x9a\x80\x57" +
		"\x00\x00\x00\x04\x00\x00\x00\x07\x00\x00\x00\x03kid"
	if got := privateKeyAD(tenant, 7, "kid"); string(got) != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
