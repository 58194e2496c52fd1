package main

import (
	"crypto/tls"
	"net/http"
)

// transport is what the addresses need to speak TLS.
type transport struct {
	main     *certificate // nil: plain HTTP
	admin    *certificate // of the admin address, maybe main; nil: plain HTTP
	clientCA *clientCA    // of clients of the admin address; nil: anybody may connect
}

// loadTransport reads all files for the first time.
func (c config) loadTransport() (t transport, err error) {
	if t.main, err = loadCertificate("KEYWARD_TLS_CERT", "KEYWARD_TLS_KEY", c.tlsCert, c.tlsKey); err != nil {
		return t, err
	}
	if c.adminAddr == "" {
		return t, nil
	}
	t.admin, err = loadCertificate("KEYWARD_ADMIN_TLS_CERT", "KEYWARD_ADMIN_TLS_KEY", c.adminTLSCert, c.adminTLSKey)
	if err != nil {
		return t, err
	}
	if t.admin == nil {
		t.admin = t.main
	}
	t.clientCA, err = loadClientCA("KEYWARD_ADMIN_CLIENT_CA", c.adminClientCA)
	return t, err
}

// watchedFiles are those to look at now and then.
func (t transport) watchedFiles() (list []watchedFile) {
	if t.main != nil {
		list = append(list, t.main)
	}
	if t.admin != nil && t.admin != t.main {
		list = append(list, t.admin)
	}
	if t.clientCA != nil {
		list = append(list, t.clientCA)
	}
	return list
}

// secureMain serves by TLS, if there is a certificate.
func (t transport) secureMain(s *http.Server) { s.TLSConfig = serverTLS(t.main) }

// secureAdmin is secure for the admin address: it may demand a certificate of
// its clients too, before they can ask for anything.
func (t transport) secureAdmin(s *http.Server) {
	s.TLSConfig = serverTLS(t.admin)
	if t.clientCA != nil {
		s.TLSConfig = requireClientCerts(t.clientCA, s.TLSConfig)
	}
}

// serverTLS is with a certificate as it then is, by TLS 1.2 or later; nil without.
func serverTLS(c *certificate) *tls.Config {
	if c == nil {
		return nil
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current.Load(), nil },
	}
}

// requireClientCerts is cfg for clients with a certificate by one of the authorities as
// they then are. There are no session tickets: who was let in once is not let in
// by that when the authority is gone.
func requireClientCerts(ca *clientCA, cfg *tls.Config) *tls.Config {
	cfg.ClientAuth, cfg.SessionTicketsDisabled = tls.RequireAndVerifyClientCert, true
	outer := cfg.Clone()
	outer.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		now := cfg.Clone()
		now.ClientCAs = ca.current.Load().pool
		return now, nil
	}
	return outer
}
