package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority signs certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	life time.Duration // lifetime of its certificates
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, life: time.Hour}
	a.key = a.newKey()
	a.cert = a.sign(&x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, a.key, nil)
	return a
}

func (a *authority) newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	return key
}

func (a *authority) sign(c *x509.Certificate, key *ecdsa.PrivateKey, parent *x509.Certificate) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	c.SerialNumber, c.Subject = serial, pkix.Name{CommonName: "test"}
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(a.life)
	if parent == nil {
		parent = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	signed, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return signed
}

// pair writes a certificate for this machine and its key. It returns the serial
// number.
func (a *authority) pair(certFile, keyFile string) *big.Int {
	key := a.newKey()
	cert := a.sign(&x509.Certificate{
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, key, a.cert)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(keyFile, "PRIVATE KEY", der)
	a.write(certFile, "CERTIFICATE", cert.Raw)
	return cert.SerialNumber
}

func (a *authority) write(path, kind string, der []byte) {
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// get sends a request over a new connection, trusting this authority.
func (a *authority) get(url string, cfg *tls.Config) (*http.Response, string, error) {
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	cfg.RootCAs = roots
	transport := &http.Transport{TLSClientConfig: cfg, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get(url)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, string(body), err
}

// served returns the serial number of the certificate that an address presents.
func (a *authority) served(addr string, cfg *tls.Config) (*big.Int, error) {
	resp, _, err := a.get("https://"+addr+"/healthz", cfg)
	if err != nil {
		return nil, err
	}
	return resp.TLS.PeerCertificates[0].SerialNumber, nil
}

// A renewed certificate is served without a restart, an invalid one is not; the
// admin address requires a client certificate of its own authority.
func TestCertificates(t *testing.T) {
	a, others, dir := newAuthority(t), newAuthority(t), t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	first := a.pair(file("cert.pem"), file("key.pem"))
	a.pair(file("client.pem"), file("client-key.pem"))
	others.pair(file("other.pem"), file("other-key.pem"))
	a.write(file("ca.pem"), "CERTIFICATE", a.cert.Raw)

	r := launch(t, deployed(t), "serve", "--no-worker", "--admin-addr=127.0.0.1:0", "--log-format=text", "--tls-cert="+file("cert.pem"),
		"--tls-key="+file("key.pem"), "--admin-client-ca="+file("ca.pem"))
	m := r.until(t, `msg=serving url=https://(\S+) .*admin_url=https://(\S+)`)
	public, admin := m[1], m[2]
	if got, err := a.served(public, &tls.Config{}); err != nil || got.Cmp(first) != 0 {
		t.Fatalf("%v %v", got, err)
	}
	if _, err := a.served(public, &tls.Config{MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
	load := func(name string) tls.Certificate {
		pair, err := tls.LoadX509KeyPair(file(name+".pem"), file(name+"-key.pem"))
		if err != nil {
			t.Fatal(err)
		}
		return pair
	}
	for name, c := range map[string]struct {
		certs []tls.Certificate
		may   bool
	}{"nobody": {nil, false}, "another's": {[]tls.Certificate{load("other")}, false}, "ours": {[]tls.Certificate{load("client")}, true}} {
		if _, err := a.served(admin, &tls.Config{Certificates: c.certs}); (err == nil) != c.may {
			t.Errorf("%s: %v", name, err)
		}
	}

	if err := os.WriteFile(file("cert.pem"), []byte(strings.Repeat("broken", 9)), 0o600); err != nil {
		t.Fatal(err)
	}
	r.until(t, `level=ERROR msg="reload of the certificate failed; keeping the previous one" variable=KEYWARD_TLS_CERT `)
	if got, err := a.served(public, &tls.Config{}); err != nil || got.Cmp(first) != 0 {
		t.Fatalf("a broken file: %v %v", got, err)
	}
	second := a.pair(file("cert.pem"), file("key.pem"))
	r.until(t, `certificate reloaded`)
	for _, addr := range []string{public, admin} {
		if got, err := a.served(addr, &tls.Config{Certificates: []tls.Certificate{load("client")}}); err != nil || got.Cmp(second) != 0 {
			t.Errorf("%s: %v %v", addr, got, err)
		}
	}
}
