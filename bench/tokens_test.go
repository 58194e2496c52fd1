package bench

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/base64"
	"io"
	"math/big"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/keyward/keyward/tenant"
)

const claims = `{"sub":"0f9b6c52-6c0b-4a0e-9d2c-3d1f8f1f6a11","aud":"orders","scope":"orders:read orders:write"}`

// bareSigner answers as POST …/tokens does, with nothing of what Keyward is
// for: one key in memory, no credential, no validation, no evidence.
func bareSigner(alg string, key crypto.Signer) http.Handler {
	head := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"` + alg + `","kid":"1","typ":"JWT"}`))
	e := echo.New()
	e.POST("/v1/tenants/:tenant/tokens", func(c echo.Context) error {
		body, err := io.ReadAll(c.Request().Body)
		if err != nil {
			return err
		}
		now := time.Now().Unix()
		id, _ := uuid.NewV7()
		own := body[len(`{"claims":{`) : len(body)-2]
		payload := append([]byte(`{"iss":"https://keys.example.com/t/t0","iat":`), strconv.FormatInt(now, 10)...)
		payload = append(append(payload, `,"exp":`...), strconv.FormatInt(now+900, 10)...)
		payload = append(append(append(payload, `,"jti":"`...), id.String()...), `",`...)
		payload = append(append(payload, own...), '}')
		return c.JSON(http.StatusOK, struct {
			Token     string    `json:"token"`
			KID       string    `json:"kid"`
			Alg       string    `json:"alg"`
			IssuedAt  time.Time `json:"issued_at"`
			ExpiresAt time.Time `json:"expires_at"`
		}{compact(alg, key, head, payload), "1", alg, time.Unix(now, 0).UTC(), time.Unix(now+900, 0).UTC()})
	})
	return e
}

// compact is a JWS put together by hand (RFC 7515 section 7.1).
func compact(alg string, key crypto.Signer, head string, payload []byte) string {
	jws := append([]byte(head), '.')
	jws = base64.RawURLEncoding.AppendEncode(jws, payload)
	var signature []byte
	switch digest := sha256.Sum256(jws); alg {
	case "ES256":
		der, _ := key.Sign(rand.Reader, digest[:], crypto.SHA256)
		var rs struct{ R, S *big.Int }
		_, _ = asn1.Unmarshal(der, &rs)
		signature = make([]byte, 64)
		rs.R.FillBytes(signature[:32])
		rs.S.FillBytes(signature[32:])
	case "RS256":
		signature, _ = key.Sign(rand.Reader, digest[:], crypto.SHA256)
	default:
		signature, _ = key.Sign(rand.Reader, jws, crypto.Hash(0))
	}
	return string(base64.RawURLEncoding.AppendEncode(append(jws, '.'), signature))
}

func bareKey(tb testing.TB, alg string) (key crypto.Signer) {
	var err error
	switch alg {
	case "EdDSA":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	case "RS256":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	default:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

// BenchmarkTokens compares signing over HTTP with bareSigner.
func BenchmarkTokens(b *testing.B) {
	for alg, round := range map[string]int{"ES256": 200, "EdDSA": 200, "RS256": 20} { // a load that waits for five seconds is hung up on
		b.Run(alg, func(b *testing.B) {
			p := newPlatform(b)
			spec := tenant.Spec{Slug: "t0", Caching: tenant.DefaultCaching, Policies: []tenant.Policy{tenant.DefaultPolicy(joseAlg(alg))}}
			if _, err := p.store.CreateTenant(b.Context(), operator, spec); err != nil {
				b.Fatal(err)
			}
			t := traffic{
				Addr: p.addr, Conns: 32, Method: "POST", Path: "/v1/tenants/t0/tokens", Body: `{"claims":` + claims + `}`, Want: 200,
				Header: "Authorization: Bearer " + p.key(b, tenant.PlatformAdmin) + "\r\n",
			}
			bare := t
			bare.Addr = serveOn(b, bareSigner(alg, bareKey(b, alg)))
			compare(b, newLoad(b, t), newLoad(b, bare), round)
		})
	}
}

// compare lets two loads take turns on one core and reports the share of the
// second one's throughput that the first has.
func compare(b *testing.B, ours, theirs *load, round int) {
	compareAfter(b, func() {}, ours, theirs, round)
}

// compareAfter does something before each turn of the first load. Beside the
// share of throughput it reports that of processor time spent by the servers,
// which who else is on the machine hardly changes.
func compareAfter(b *testing.B, before func(), ours, theirs *load, round int) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	ours.round(b, round)
	theirs.round(b, round)
	var ratios, tails, work []float64
	for i := 0; b.Loop(); i++ {
		var us, them turn
		if i%2 == 0 { // neither is always first
			before()
			us, them = ours.turn(b, round), theirs.turn(b, round)
		} else {
			them = theirs.turn(b, round)
			before()
			us = ours.turn(b, round)
		}
		ratios, tails = append(ratios, them.took.Seconds()/us.took.Seconds()), append(tails, us.p99.Seconds()/them.p99.Seconds())
		work = append(work, them.work.Seconds()/us.work.Seconds())
	}
	b.ReportMetric(median(ratios), "of-bare")
	b.ReportMetric(median(work), "cpu-of-bare")
	b.ReportMetric(median(tails), "p99-of-bare")
}

// turn is one round and what processor time the servers' process spent on it.
type turn struct{ took, p99, work time.Duration }

func (l *load) turn(tb testing.TB, n int) (t turn) {
	began := worked()
	t.took, t.p99 = l.round(tb, n)
	t.work = worked() - began
	return t
}

// worked is the processor time of this process.
func worked() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // fails for a bad argument alone
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func median(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}

func joseAlg(alg string) jose.SignatureAlgorithm { return jose.SignatureAlgorithm(alg) }
