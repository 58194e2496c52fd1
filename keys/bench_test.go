package keys

import (
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// BenchmarkAlgorithms measures the work per key and per token by algorithm, and
// reports the sizes that travel: of a JWK in the set and of a signature, in bytes.
func BenchmarkAlgorithms(b *testing.B) {
	input := make([]byte, 300)
	for _, alg := range []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA, jose.RS256, jose.MLDSA44, jose.MLDSA65, jose.MLDSA87} {
		p := keyFor(b, alg)
		signature, err := p.Sign(input)
		if err != nil {
			b.Fatal(err)
		}
		jwk, err := PublicJWK(p.Public(), alg, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs")
		if err != nil {
			b.Fatal(err)
		}
		for what, do := range map[string]func() bool{
			"generate": func() bool { _, err := Generate(alg, 0); return err == nil },
			"sign":     func() bool { _, err := p.Sign(input); return err == nil },
			"verify":   func() bool { return VerifySignature(p.Public(), alg, input, signature) },
		} {
			b.Run(string(alg)+"/"+what, func(b *testing.B) {
				for b.Loop() {
					if !do() {
						b.Fatal(alg, what)
					}
				}
				b.ReportMetric(float64(len(jwk)), "jwk-B")
				b.ReportMetric(float64(len(signature)), "signature-B")
			})
		}
	}
}
