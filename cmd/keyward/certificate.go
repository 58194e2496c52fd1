package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

// lookAtFiles is how often it is seen that a certificate was renewed.
const lookAtFiles = 5 * time.Second

// certificate is a chain and its private key in files that are read again when
// they have changed, so that whoever renews it restarts nothing. Connections keep
// the one they began with. What cannot be read, or does not belong together,
// leaves the one before in place: files are seldom replaced both at once.
type certificate struct {
	cert, key string
	current   atomic.Pointer[tls.Certificate]
	seen      string // what the files looked like when they were read last
}

// loadCertificate reads the pair for the first time; nil if there is none.
func loadCertificate(cert, key string) (*certificate, error) {
	if cert == "" {
		return nil, nil
	}
	c := &certificate{cert: cert, key: key}
	if _, err := c.look(); err != nil {
		return nil, &usageError{"KEYWARD_TLS_CERT and KEYWARD_TLS_KEY must be files in PEM that belong together: " + err.Error()}
	}
	return c, nil
}

// look reads the files if they are others than before. It is called by one
// goroutine at a time.
func (c *certificate) look() (changed bool, err error) {
	state := appearance(c.cert) + appearance(c.key)
	if state == c.seen {
		return false, nil
	}
	c.seen = state // a broken pair is complained of once
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return false, err
	}
	c.current.Store(&pair)
	return true, nil
}

// appearance is what tells a file from the one before it.
func appearance(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return "missing;"
	}
	return fmt.Sprintf("%d %d;", info.ModTime().UnixNano(), info.Size())
}

// config serves with the pair as it then is, by TLS 1.2 or later.
func (c *certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current.Load(), nil },
	}
}

// ends is when the certificate does, in seconds since 1970.
func (c *certificate) ends() float64 { return float64(c.current.Load().Leaf.NotAfter.Unix()) }

// watchCertificate looks at the files now and then, and at once on SIGHUP.
func (a *app) watchCertificate(ctx context.Context) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	tick := time.NewTicker(lookAtFiles)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-hangup:
			a.certificate.seen = "" // read, whatever the files look like
		}
		switch changed, err := a.certificate.look(); {
		case err != nil:
			a.log.Warn("the new certificate cannot be used; the one before stays", "error", err)
		case changed:
			a.log.Info("certificate read again", "ends", a.certificate.current.Load().Leaf.NotAfter)
		}
	}
}
