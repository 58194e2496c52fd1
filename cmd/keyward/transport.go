package main

import (
	"crypto/tls"
	"net/http"
)

// transport holds the TLS files of both addresses.
type transport struct {
	main     *certificate // nil: plain HTTP
	admin    *certificate // of the admin address, may equal main; nil: plain HTTP
	clientCA *clientCA    // of the admin address's clients; nil: no client certificates
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

// watchedFiles returns the files to check for changes.
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

// secureMain enables TLS if there is a certificate.
func (t transport) secureMain(s *http.Server) { s.TLSConfig = serverTLS(t.main) }

// secureAdmin enables TLS on the admin address, with client certificates if
// configured.
func (t transport) secureAdmin(s *http.Server) {
	s.TLSConfig = serverTLS(t.admin)
	if t.clientCA != nil {
		s.TLSConfig = requireClientCerts(t.clientCA, s.TLSConfig)
	}
}

// serverTLS returns a configuration for TLS 1.2 or later that always uses the
// current certificate; nil without one.
func serverTLS(c *certificate) *tls.Config {
	if c == nil {
		return nil
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current.Load(), nil },
	}
}

// requireClientCerts extends cfg to require a certificate issued by one of the
// current authorities. It disables session tickets, which would outlive the
// removal of an authority.
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
