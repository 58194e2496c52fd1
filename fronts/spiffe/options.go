package main

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/keyward/keyward/internal/loopback"
	"github.com/keyward/keyward/jwks"
)

// options say which bundles are served, and from where.
type options struct {
	url               string              // of Keyward
	domains           map[string]string   // tenants by trust domain
	pins              map[string][]string // thumbprints by trust domain
	state             string              // directory; "": none
	certFile, keyFile string
}

// addDomain reads a flag name=tenant. A trust domain has one tenant: bundles of different
// ones must not be merged (SPIFFE Federation, section 4.2).
func (o *options) addDomain(text string) error {
	domain, tenant, found := strings.Cut(text, "=")
	if err := checkDomain(domain); err != nil {
		return err
	}
	if !found || tenant == "" {
		return errors.New("give name=tenant")
	}
	if _, twice := o.domains[domain]; twice {
		return fmt.Errorf("the trust domain %s is given twice", domain)
	}
	o.domains[domain] = tenant
	return nil
}

// addPin reads a flag name=thumbprint.
func (o *options) addPin(text string) error {
	domain, thumbprint, found := strings.Cut(text, "=")
	if err := checkDomain(domain); err != nil {
		return err
	}
	if !found || thumbprint == "" {
		return errors.New("give name=thumbprint")
	}
	o.pins[domain] = append(o.pins[domain], thumbprint)
	return nil
}

// checkDomain returns an error for a name that is no trust domain's (SPIFFE-ID, sections 2.1
// and 2.3). Names are compared byte by byte, so one in another spelling would be another
// trust domain.
func checkDomain(name string) error {
	const maxLength = 255
	isWrong := func(c rune) bool { return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789.-_", c) }
	if name == "" || len(name) > maxLength || strings.ContainsFunc(name, isWrong) {
		return fmt.Errorf("%.300q is not the name of a trust domain, as example.org: 1 to %d lower case letters, digits, dots, dashes and underscores", name, maxLength)
	}
	return nil
}

// check returns an error for options that do not make a front.
func (o *options) check() error {
	u, err := url.Parse(o.url)
	switch {
	case o.url == "" || len(o.domains) == 0 || o.certFile == "" || o.keyFile == "":
		return errors.New("give --url, --trust-domain, --tls-cert and --tls-key")
	case err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return errors.New("--url must be an absolute URL without user, query and fragment")
	case u.Scheme != "https" && (u.Scheme != "http" || !loopback.IsHost(u.Hostname())):
		return errors.New("--url must be an https URL: whoever is on the way could replace the keys")
	}
	for domain := range o.pins {
		if _, known := o.domains[domain]; !known {
			return fmt.Errorf("--pin names the trust domain %s, which is not served", domain)
		}
	}
	return nil
}

// pin returns what the sets of a trust domain must be signed by; nil if nothing is pinned.
func (o *options) pin(domain string) *jwks.Pin {
	prints := o.pins[domain]
	if len(prints) == 0 {
		return nil
	}
	pin := &jwks.Pin{Thumbprints: prints, State: new(memory)}
	if o.state != "" {
		pin.State = jwks.PinFile(filepath.Join(o.state, domain+".jwt"))
	}
	return pin
}
