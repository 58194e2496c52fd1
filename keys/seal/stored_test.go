package seal_test

import (
	"bytes"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/keyward/keyward/keys/seal"
)

// What an earlier build of Keyward stored. These constants never change: as
// long as format is 1, this must open. The keys protect nothing.
const (
	storedMaster = `{"primaryKeyId":1059115135,"key":[{"keyData":{` +
		`"typeUrl":"type.googleapis.com/google.crypto.tink.AesGcmKey",` +
		`"value":"GiBfPVCpuVZNvsRxOmM5TtDaVvxQWTeJghIFXnnGfEg2Hw==","keyMaterialType":"SYMMETRIC"},` +
		`"status":"ENABLED","keyId":1059115135,"outputPrefixType":"TINK"}]}`
	storedDataKey = "013f20d07f9970fd55958b678e6a4270a50d418cdab36cb75c96ffe9f5f9361405" +
		"58f462a1ab5d78d83685a272a8421097a7c3ed20e6154a6dbc3734eabc35f850"
	storedPrivateKey = "0165b4b66b5a361ecc7da8f20cd43633a6e149214e2a8714d739035dd1925b1292" +
		"0717960ff9092cb2b2fe68502f11f03177b8398f04393b662860ccec52fc631423"
	storedKeyCheck = "013f20d07febbdc3ffa98fd6bbaca49fa69ee8366889d5f7eee13b0df8ddfee914" +
		"c1588b8c8746cf51773f2d799cb3e629dc"
	storedEndorsement = "013f20d07f2d69172c627e51cad49175fa0b0e92796d7fae84519dea133076a815" +
		"efeb29221dc90b9a4c2597d18135aa843f8bea"
)

func fromHex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestWhatIsStoredStillOpens(t *testing.T) {
	uri := uriIn(t)
	if err := os.WriteFile(strings.TrimPrefix(uri, "file:"), []byte(storedMaster), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := seal.Open(t.Context(), uri)
	if err != nil {
		t.Fatal(err)
	}
	m, err := r.Key(t.Context(), "1059115135")
	if err != nil {
		t.Fatal(err)
	}
	if err := m.VerifyKeyCheck(t.Context(), tenantB, fromHex(t, storedKeyCheck)); err != nil {
		t.Error("key check:", err)
	}
	next := seal.Successor{ID: tenantB, URI: "file:next", Version: "12"}
	if err := m.VerifyEndorsement(t.Context(), next, fromHex(t, storedEndorsement)); err != nil {
		t.Error("endorsement:", err)
	}
	k, err := m.UnwrapDataKey(t.Context(), tenantA, 7, fromHex(t, storedDataKey))
	if err != nil {
		t.Fatal("data key:", err)
	}
	plain, err := k.Open(tenantA, 7, "kid", fromHex(t, storedPrivateKey))
	if err != nil || !bytes.Equal(plain, private) {
		t.Errorf("private key: %q, %v", plain, err)
	}
}
