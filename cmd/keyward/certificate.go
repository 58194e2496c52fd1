package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"time"
)

// certificate is a certificate chain with its private key. Open connections
// keep the previous one after a reload.
type certificate = reloadable[tls.Certificate]

// loadCertificate reads the pair of files that two variables name, nil if they
// name none.
func loadCertificate(variable, keyVariable, cert, key string) (*certificate, error) {
	if cert == "" {
		return nil, nil
	}
	c := &certificate{
		variable: variable, what: "certificate", files: []string{cert, key},
		read: func() (*tls.Certificate, error) { return readPair(cert, key) },
		ends: func(pair *tls.Certificate) time.Time { return pair.Leaf.NotAfter },
	}
	if err := c.loadFirst(); err != nil {
		return nil, &usageError{variable + " and " + keyVariable + " must be files in PEM that belong together: " + err.Error()}
	}
	return c, nil
}

// readPair is [tls.LoadX509KeyPair], but returns an error for a truncated block
// in the chain.
func readPair(cert, key string) (*tls.Certificate, error) {
	chain, err := os.ReadFile(cert)
	if err != nil {
		return nil, err
	}
	if _, err := pemBlocks(chain); err != nil {
		return nil, fmt.Errorf("%s: %w", cert, err)
	}
	private, err := os.ReadFile(key)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(chain, private)
	return &pair, err
}

// authorities are the issuers accepted for client certificates.
type authorities struct {
	pool *x509.CertPool
	ends time.Time // the earliest expiry of an authority
}

// clientCA is the reloadable bundle of authorities.
type clientCA = reloadable[authorities]

// loadClientCA reads the bundle, nil if there is none.
func loadClientCA(variable, path string) (*clientCA, error) {
	if path == "" {
		return nil, nil
	}
	ca := &clientCA{
		variable: variable, what: "client CA", files: []string{path},
		read: func() (*authorities, error) { return readAuthorities(path) },
		ends: func(a *authorities) time.Time { return a.ends },
	}
	if err := ca.loadFirst(); err != nil {
		return nil, &usageError{variable + " must be a file with certificates in PEM: " + err.Error()}
	}
	return ca, nil
}

// readAuthorities is stricter than [x509.CertPool.AppendCertsFromPEM], which
// skips invalid blocks: half a bundle would lock clients out.
func readAuthorities(path string) (*authorities, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	list, err := pemBlocks(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	a := &authorities{pool: x509.NewCertPool()}
	for i, block := range list {
		cert, err := x509.ParseCertificate(block.Bytes)
		if block.Type != "CERTIFICATE" || err != nil {
			return nil, fmt.Errorf("%s: PEM block %d is not a certificate", path, i+1)
		}
		a.pool.AddCert(cert)
		if i == 0 || cert.NotAfter.Before(a.ends) {
			a.ends = cert.NotAfter
		}
	}
	return a, nil
}

// pemBlocks returns all PEM blocks of a text. A truncated block is an error,
// and so is a text without blocks.
func pemBlocks(text []byte) (list []*pem.Block, err error) {
	begun := bytes.Count(text, []byte("-----BEGIN "))
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		list = append(list, block)
	}
	switch {
	case len(list) < begun:
		return nil, fmt.Errorf("%d of %d PEM blocks are not complete", begun-len(list), begun)
	case begun == 0:
		return nil, errors.New("no PEM block")
	}
	return list, nil
}
