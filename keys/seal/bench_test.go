package seal_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"testing"
)

func benchmarkKey(b *testing.B) []byte {
	b.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		b.Fatal(err)
	}
	return pkcs8
}

func BenchmarkSeal(b *testing.B) {
	k, pkcs8 := newDataKey(b), benchmarkKey(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.Seal(tenantA, 1, "kid", pkcs8); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	k := newDataKey(b)
	sealed, err := k.Seal(tenantA, 1, "kid", benchmarkKey(b))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.Open(tenantA, 1, "kid", sealed); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUnwrapDataKey(b *testing.B) {
	m := newest(b, newRing(b))
	wrapped, err := m.WrapDataKey(b.Context(), tenantA, 1, newDataKey(b))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.UnwrapDataKey(b.Context(), tenantA, 1, wrapped); err != nil {
			b.Fatal(err)
		}
	}
}
