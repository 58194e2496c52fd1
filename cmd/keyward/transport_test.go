package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// files are the TLS files of one test.
type files struct {
	t   *testing.T
	dir string
}

func (f files) path(name string) string { return filepath.Join(f.dir, name) }

func (f files) write(name string, text []byte) {
	f.t.Helper()
	if err := os.WriteFile(f.path(name), text, 0o600); err != nil {
		f.t.Fatal(err)
	}
}

// client returns a client with a certificate of the files, or with none.
func (f files) client(name string) *tls.Config {
	f.t.Helper()
	if name == "" {
		return &tls.Config{}
	}
	pair, err := tls.LoadX509KeyPair(f.path(name+".pem"), f.path(name+"-key.pem"))
	if err != nil {
		f.t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}}
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// gauges returns the expiry times in /metrics.
func gauges(t *testing.T, metrics string) map[string]int64 {
	t.Helper()
	all := map[string]int64{}
	for _, m := range regexp.MustCompile(`(?m)^keyward_tls_(\S+)_expires_timestamp_seconds(?:\{address="(\w+)"\})? (\S+)$`).FindAllStringSubmatch(metrics, -1) {
		v, err := strconv.ParseFloat(m[3], 64)
		if err != nil {
			t.Fatal(err)
		}
		all[m[1]+" "+m[2]] = int64(v)
	}
	return all
}

// The admin address has its own certificate and authority, renewed
// independently; the metrics distinguish them.
func TestAdminCertificate(t *testing.T) {
	f := files{t, t.TempDir()}
	public, inside, staff := newAuthority(t), newAuthority(t), newAuthority(t)
	first := public.pair(f.path("cert.pem"), f.path("key.pem"))
	inside.life = 2 * time.Hour
	mine := inside.pair(f.path("admin.pem"), f.path("admin-key.pem"))
	staff.pair(f.path("client.pem"), f.path("client-key.pem"))
	f.write("ca.pem", staff.pem())
	r := launch(t, deployed(t), "serve", "--no-worker", "--admin-addr=127.0.0.1:0", "--log-format=text", "--tls-cert="+f.path("cert.pem"),
		"--tls-key="+f.path("key.pem"), "--admin-tls-cert="+f.path("admin.pem"), "--admin-tls-key="+f.path("admin-key.pem"),
		"--admin-client-ca="+f.path("ca.pem"))
	m := r.until(t, `msg=serving url=https://(\S+) .*admin_url=https://(\S+)`)

	ends := func() map[string]int64 {
		t.Helper()
		resp, metrics, err := inside.get("https://"+m[2]+"/metrics", f.client("client"))
		if err != nil || resp.ProtoMajor != 2 {
			t.Fatalf("%v %v", resp, err)
		}
		return gauges(t, metrics)
	}
	want := func(got map[string]int64) {
		t.Helper()
		for name, file := range map[string]string{"certificate main": "cert", "certificate admin": "admin", "client_ca ": "ca"} {
			text, _ := os.ReadFile(f.path(file + ".pem"))
			block, _ := pem.Decode(text)
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != 3 || got[name] != cert.NotAfter.Unix() {
				t.Errorf("%s is %d in %v, want %d", name, got[name], got, cert.NotAfter.Unix())
			}
		}
	}
	before := ends()
	want(before)
	if got, err := inside.served(m[2], f.client("client")); err != nil || got.Cmp(mine) != 0 {
		t.Errorf("admin: %v %v", got, err)
	}
	if got, err := public.served(m[1], f.client("")); err != nil || got.Cmp(first) != 0 {
		t.Errorf("main: %v %v", got, err)
	}

	inside.life = 3 * time.Hour
	renewed := inside.pair(f.path("admin.pem"), f.path("admin-key.pem"))
	r.until(t, `msg="certificate reloaded" variable=KEYWARD_ADMIN_TLS_CERT `)
	if got, err := inside.served(m[2], f.client("client")); err != nil || got.Cmp(renewed) != 0 {
		t.Errorf("admin, renewed: %v %v", got, err)
	}
	if got, err := public.served(m[1], f.client("")); err != nil || got.Cmp(first) != 0 {
		t.Errorf("main, after the other was: %v %v", got, err)
	}
	if after := ends(); after["certificate admin"] <= before["certificate admin"] {
		t.Errorf("%v after %v", after, before)
	} else {
		want(after)
	}
}

// The client CA of the admin address is reloaded. Half a bundle changes
// nothing, and no session survives the removal of an authority.
func TestClientCAIsReadAgain(t *testing.T) {
	f := files{t, t.TempDir()}
	site, old, young, strange := newAuthority(t), newAuthority(t), newAuthority(t), newAuthority(t)
	site.pair(f.path("cert.pem"), f.path("key.pem"))
	for name, a := range map[string]*authority{"old": old, "young": young, "strange": strange} {
		a.pair(f.path(name+".pem"), f.path(name+"-key.pem"))
	}
	f.write("ca.pem", old.pem())
	r := launch(t, deployed(t), "serve", "--no-worker", "--admin-addr=127.0.0.1:0", "--log-format=text",
		"--admin-tls-cert="+f.path("cert.pem"), "--admin-tls-key="+f.path("key.pem"), "--admin-client-ca="+f.path("ca.pem"))
	m := r.until(t, `msg=serving url=http://(\S+) .*admin_url=https://(\S+)`) // TLS on one of two addresses
	if got := status(t, "http://"+m[1]+"/healthz"); got != 200 {
		t.Errorf("plain: %d", got)
	}
	returning := f.client("old")
	returning.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	may := func(when string, names ...string) {
		t.Helper()
		for _, name := range []string{"", "old", "young", "strange"} {
			_, err := site.served(m[2], f.client(name))
			if want := strings.Contains(" "+strings.Join(names, " ")+" ", " "+name+" ") && name != ""; (err == nil) != want {
				t.Errorf("%s: %q is let in: %v (%v)", when, name, err == nil, err)
			}
		}
		_, err := site.served(m[2], returning)
		if want := names[0] == "old"; (err == nil) != want {
			t.Errorf("%s: who was here before is let in: %v (%v)", when, err == nil, err)
		}
	}
	may("at first", "old")

	both := append(old.pem(), young.pem()...)
	f.write("ca.pem", both[:len(both)-40])
	line := r.until(t, `level=ERROR msg="reload of the client CA failed; keeping the previous one" variable=KEYWARD_ADMIN_CLIENT_CA error=(.*)`)
	if !strings.Contains(line[1], "1 of 2 PEM blocks") || strings.Contains(line[1], "BEGIN") {
		t.Errorf("logged: %s", line[1])
	}
	may("half a file", "old")
	f.write("ca.pem", both)
	r.until(t, `msg="client CA reloaded" variable=KEYWARD_ADMIN_CLIENT_CA `)
	may("two authorities", "old", "young")
	if err := os.Remove(f.path("ca.pem")); err != nil {
		t.Fatal(err)
	}
	r.until(t, `variable=KEYWARD_ADMIN_CLIENT_CA error=`)
	may("no file", "old", "young")
	f.write("ca.pem", young.pem())
	r.until(t, `msg="client CA reloaded"`)
	may("another", "young")
}

// SIGHUP reloads files that look unchanged.
func TestHangupReadsFiles(t *testing.T) {
	f := files{t, t.TempDir()}
	a, others := newAuthority(t), newAuthority(t)
	a.pair(f.path("client.pem"), f.path("client-key.pem"))
	then := time.Now().Add(-time.Hour)
	alike := func(name string, text []byte) {
		t.Helper()
		f.write(name, append(text, bytes.Repeat([]byte("\n"), 4096-len(text))...))
		if err := os.Chtimes(f.path(name), then, then); err != nil {
			t.Fatal(err)
		}
	}
	renew := func(ca []byte) string {
		t.Helper()
		serial := a.pair(f.path("new.pem"), f.path("new-key.pem"))
		for from, to := range map[string]string{"new.pem": "cert.pem", "new-key.pem": "key.pem"} {
			text, err := os.ReadFile(f.path(from))
			if err != nil {
				t.Fatal(err)
			}
			alike(to, text)
		}
		alike("ca.pem", ca)
		return serial.String()
	}
	first := renew(others.pem())
	hup := make(chan os.Signal, 1) // without a handler SIGHUP would end the test process
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	r := launch(t, deployed(t), "serve", "--no-worker", "--admin-addr=127.0.0.1:0", "--log-format=text", "--tls-cert="+f.path("cert.pem"),
		"--tls-key="+f.path("key.pem"), "--admin-client-ca="+f.path("ca.pem"))
	m := r.until(t, `msg=serving url=https://(\S+) .*admin_url=https://(\S+)`)
	if got, err := a.served(m[1], f.client("")); err != nil || got.String() != first {
		t.Fatalf("%v %v", got, err)
	}
	if _, err := a.served(m[2], f.client("client")); err == nil {
		t.Fatal("another authority's client is let in")
	}
	second := renew(a.pem())
	for deadline := time.Now().Add(5 * time.Minute); ; { // the handler may not be installed yet
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		if got, err := a.served(m[2], f.client("client")); err == nil && got.String() == second {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("admin address: %v %v", got, err)
		}
	}
	if got, err := a.served(m[1], f.client("")); err != nil || got.String() != second {
		t.Errorf("main address: %v %v", got, err)
	}
}

// Errors name the file, and a file with an invalid block is refused as a whole.
func TestFilesOfTheAddresses(t *testing.T) {
	f := files{t, t.TempDir()}
	a := newAuthority(t)
	a.pair(f.path("cert.pem"), f.path("key.pem"))
	cert, _ := os.ReadFile(f.path("cert.pem"))
	key, _ := os.ReadFile(f.path("key.pem"))
	f.write("chain.pem", append(bytes.Clone(cert), a.pem()...))
	for name, c := range map[string]struct {
		text []byte
		said string
	}{
		"empty":       {nil, "no PEM block"},
		"text":        {[]byte("CERTIFICATE"), "no PEM block"},
		"private key": {append(a.pem(), key...), "PEM block 2 is not a certificate"},
		"cut off":     {append(a.pem(), a.pem()[:99]...), "1 of 2 PEM blocks are not complete"},
		"no DER":      {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}), "PEM block 1 is not a certificate"},
	} {
		f.write("ca.pem", c.text)
		_, err := loadClientCA("KEYWARD_ADMIN_CLIENT_CA", f.path("ca.pem"))
		if err == nil || !strings.Contains(err.Error(), c.said) || !strings.Contains(err.Error(), "KEYWARD_ADMIN_CLIENT_CA") {
			t.Errorf("%s: %v, want %q", name, err, c.said)
		}
	}
	load := func(cert string) error {
		_, err := loadCertificate("KEYWARD_ADMIN_TLS_CERT", "KEYWARD_ADMIN_TLS_KEY", f.path(cert), f.path("key.pem"))
		return err
	}
	if err := load("chain.pem"); err != nil {
		t.Error(err)
	}
	f.write("half.pem", append(bytes.Clone(cert), a.pem()[:99]...))
	if err := load("half.pem"); err == nil || !strings.Contains(err.Error(), "1 of 2 PEM blocks") {
		t.Errorf("half a chain: %v", err)
	}
}

// doctor reads the files as serve does, and reports their expiry.
func TestDoctorOfCertificates(t *testing.T) {
	f := files{t, t.TempDir()}
	a := newAuthority(t)
	a.life = 90 * 24 * time.Hour
	a.pair(f.path("cert.pem"), f.path("key.pem"))
	a.life = 24 * time.Hour
	a.pair(f.path("admin.pem"), f.path("admin-key.pem"))
	a.life = -time.Minute
	a.pair(f.path("over.pem"), f.path("over-key.pem"))
	f.write("ca.pem", a.pem())
	env := environ{
		"KEYWARD_ADMIN_ADDR": "127.0.0.1:0", "KEYWARD_ADMIN_CLIENT_CA": f.path("ca.pem"),
		"KEYWARD_TLS_CERT": f.path("cert.pem"), "KEYWARD_TLS_KEY": f.path("key.pem"),
		"KEYWARD_ADMIN_TLS_CERT": f.path("admin.pem"), "KEYWARD_ADMIN_TLS_KEY": f.path("admin-key.pem"),
	}
	keyward(t, env, "doctor").want(t, exitFailed, "OK    TLS             the certificate of KEYWARD_TLS_CERT ends on",
		"WARN  TLS             the certificate of KEYWARD_ADMIN_TLS_CERT ends on", "the client CA of KEYWARD_ADMIN_CLIENT_CA ends on")
	env["KEYWARD_ADMIN_TLS_CERT"], env["KEYWARD_ADMIN_TLS_KEY"] = f.path("over.pem"), f.path("over-key.pem")
	keyward(t, env, "doctor").want(t, exitFailed, "FAIL  TLS             the certificate of KEYWARD_ADMIN_TLS_CERT ended on")
	env["KEYWARD_ADMIN_CLIENT_CA"] = f.path("key.pem")
	keyward(t, env, "doctor").want(t, exitFailed, "FAIL  TLS             KEYWARD_ADMIN_CLIENT_CA must be a file with certificates in PEM")
}
