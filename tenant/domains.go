package tenant

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/net/idna"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
)

// Domain is a host that a tenant claims, and proves to own by a DNS TXT record.
type Domain struct {
	Domain     string // in its canonical form
	TXTName    string // the name of the record
	TXTValue   string // what one record of that name must say
	CreatedAt  time.Time
	VerifiedAt *time.Time // the last time that the record was found; nil: never
}

const (
	maxDomains    = 100             // of a tenant
	maxLookups    = 8               // in progress in this process
	lookupTimeout = 5 * time.Second // of the TXT record, with all retries
)

// AddDomain claims a host for a tenant, or returns the claim that is already there;
// added tells which. Domain may have labels in Unicode (RFC 5891). Nothing is said
// about other tenants: each may claim any host. Errors: *FieldErrors,
// ErrTooManyDomains, ErrNotFound, ErrUnavailable.
func (s *Store) AddDomain(ctx context.Context, by audit.By, tenantID uuid.UUID, domain string) (d Domain, added bool, err error) {
	var broken fields
	name, _ := canonicalDomain(domain)
	if !s.names.isProvable(name) {
		broken.add("domain", "must be a fully qualified host name without port, which public DNS can have, and not that of this service")
		return Domain{}, false, broken.fieldErrors()
	}
	err = s.changeHome(ctx, &tenantID, func(tx *db.Tx, home TenantRow) error {
		row, err := tx.GetDomain(ctx, tenantID, name)
		if err == nil {
			d = s.domainFromRow(row)
		}
		if !errors.Is(err, db.ErrNoRows) {
			return err
		}
		n, err := tx.CountDomains(ctx, tenantID)
		if err == nil && n >= maxDomains {
			err = ErrTooManyDomains
		}
		if err != nil {
			return err
		}
		row = db.Domain{TenantID: tenantID, Domain: name, Token: rand.Text(), CreatedAt: home.TimeOfEffect(s.now())}
		d, added = s.domainFromRow(row), true
		w := tx.Later()
		if err := w.InsertDomain(ctx, db.InsertDomainParams{TenantID: tenantID, Domain: row.Domain, Token: row.Token, CreatedAt: row.CreatedAt}); err != nil {
			return err
		}
		return sendWithEvent(ctx, w, home, d.event(by, audit.DomainClaimed, row.CreatedAt))
	})
	return d, added, wrapDomainError("add domain", err)
}

// VerifyDomain looks for the TXT record of a claimed host. If it is there, the host
// is the tenant's: no other tenant can verify it until it is removed. Repeating it
// moves VerifiedAt; a record that is gone by then takes nothing away. Errors:
// ErrNoDomain; ErrDomainNotVerified, also if the host is another tenant's;
// ErrNoNameServer; ErrNotFound, ErrUnavailable.
func (s *Store) VerifyDomain(ctx context.Context, by audit.By, tenantID uuid.UUID, domain string) (Domain, error) {
	d, err := s.Domain(ctx, tenantID, domain)
	if err != nil {
		return Domain{}, err
	}
	if err := s.findTXT(ctx, d); err != nil {
		return Domain{}, err
	}
	err = s.db.AsPlatform(ctx, func(tx *db.Tx) error {
		if err := tx.LockNames(ctx); err != nil {
			return err
		}
		return s.withLock(ctx, tx, tenantID, func(tx *db.Tx, home TenantRow) error {
			taken, err := tx.HostsTaken(ctx, []string{d.Domain}, tenantID, d.Domain)
			if err == nil && taken {
				err = ErrDomainNotVerified
			}
			if err == nil {
				err = home.Tenant().CheckApproval(by, ChangeSettings)
			}
			if err != nil {
				return err
			}
			d.VerifiedAt = new(home.TimeOfEffect(s.now()))
			w := tx.Later()
			mac := s.authority.mac(domainRecord(db.Domain{TenantID: tenantID, Domain: d.Domain, Token: d.token(), VerifiedAt: d.VerifiedAt}))
			if _, err := w.VerifyDomain(ctx, db.VerifyDomainParams{VerifiedAt: *d.VerifiedAt, MAC: mac, TenantID: tenantID, Domain: d.Domain}); err != nil {
				return err
			}
			w.Expect(1)
			return sendWithEvent(ctx, w, home, d.event(by, audit.DomainVerified, *d.VerifiedAt))
		})
	})
	if errors.Is(err, db.ErrGuard) {
		return Domain{}, ErrNoDomain // removed meanwhile
	}
	return d, wrapDomainError("verify domain", err)
}

// findTXT returns nil if a record of the domain has the expected value. Errors:
// ErrDomainNotVerified, ErrNoNameServer.
func (s *Store) findTXT(ctx context.Context, d Domain) error {
	if s.lookupTXT == nil {
		return ErrNoNameServer
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	select {
	case s.lookups <- struct{}{}:
		defer func() { <-s.lookups }()
	case <-ctx.Done():
		return ErrNoNameServer
	}
	records, err := s.lookupTXT(ctx, d.TXTName+".")
	var missing *net.DNSError
	switch {
	case errors.As(err, &missing) && missing.IsNotFound:
		return ErrDomainNotVerified
	case err != nil:
		return ErrNoNameServer
	case !slices.Contains(records, d.TXTValue):
		return ErrDomainNotVerified
	}
	return nil
}

// RemoveDomain removes a claim and, if the host was verified, frees it for others.
// Errors: ErrNoDomain; ErrDomainInUse while it is the tenant's custom domain or the
// host of its issuer; ErrNotFound, ErrUnavailable.
func (s *Store) RemoveDomain(ctx context.Context, by audit.By, tenantID uuid.UUID, domain string) error {
	name, ok := canonicalDomain(domain)
	if !ok {
		return ErrNoDomain
	}
	err := s.db.AsPlatform(ctx, func(tx *db.Tx) error {
		return s.withLock(ctx, tx, tenantID, func(tx *db.Tx, home TenantRow) error { return s.removeDomain(ctx, tx, by, home, name) })
	})
	return wrapDomainError("remove domain", err)
}

func (s *Store) removeDomain(ctx context.Context, tx *db.Tx, by audit.By, home TenantRow, name string) error {
	row, err := tx.GetDomain(ctx, home.ID, name)
	if errors.Is(err, db.ErrNoRows) {
		return ErrNoDomain
	}
	if err != nil {
		return err
	}
	names, _ := s.names.Names(home.Tenant())
	if names.Domain == name || names.IssuerHost == name {
		return ErrDomainInUse
	}
	w := tx.Later()
	if _, err := w.DeleteDomain(ctx, home.ID, name); err != nil {
		return err
	}
	w.Expect(1)
	if row.VerifiedAt != nil { // nobody relies on a mere claim
		if err := home.Tenant().CheckApproval(by, ChangeSettings); err != nil {
			return err
		}
	}
	return sendWithEvent(ctx, w, home, s.domainFromRow(row).event(by, audit.DomainRemoved, home.TimeOfEffect(s.now())))
}

// Domain returns a claim of a tenant. Errors: ErrNoDomain, ErrUnavailable.
func (s *Store) Domain(ctx context.Context, tenantID uuid.UUID, domain string) (d Domain, err error) {
	name, ok := canonicalDomain(domain)
	if !ok {
		return Domain{}, ErrNoDomain
	}
	err = s.db.InTenant(ctx, tenantID, func(tx *db.Tx) error {
		row, err := tx.GetDomain(ctx, tenantID, name)
		if errors.Is(err, db.ErrNoRows) {
			return ErrNoDomain
		}
		d = s.domainFromRow(row)
		return err
	})
	return d, wrapDomainError("domain", err)
}

// Domains returns a tenant's claims in the order of their names, and the cursor of
// the next page, "" on the last. Errors: ErrBadCursor, ErrUnavailable.
func (s *Store) Domains(ctx context.Context, tenantID uuid.UUID, limit int, cursor string) (list []Domain, next string, err error) {
	after, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || cursor != "" && !IsDomain(string(after)) {
		return nil, "", ErrBadCursor
	}
	limit = PageLimit(limit)
	err = s.db.InTenant(ctx, tenantID, func(tx *db.Tx) error {
		rows, err := tx.ListDomains(ctx, tenantID, string(after), int32(limit)+1)
		for _, row := range rows {
			list = append(list, s.domainFromRow(row))
		}
		return err
	})
	if len(list) > limit {
		list, next = list[:limit], base64.RawURLEncoding.EncodeToString([]byte(list[limit-1].Domain))
	}
	return list, next, wrapError("domains", err)
}

// CheckNames returns ErrPublicURLTaken if a tenant has an issuer at the host of the
// public URL, or that host as its custom domain, set under another public URL: the issuer
// could be what follows from the slug of another tenant, and verifiers of the platform
// would get the tenant's keys. Call it before a public URL comes into use. Errors also:
// ErrUnavailable.
func (s *Store) CheckNames(ctx context.Context) error {
	host := s.names.publicURL.host
	if host == "" || isThisMachine(host) {
		return nil
	}
	var slug string
	err := s.db.AsPlatform(ctx, func(tx *db.Tx) (err error) {
		slug, err = tx.IssuerAtHost(ctx, host)
		return err
	})
	switch {
	case errors.Is(err, db.ErrNoRows):
		return nil
	case err != nil:
		return wrapError("check names", err)
	}
	return fmt.Errorf("%w: tenant %s", ErrPublicURLTaken, slug)
}

// canonicalDomain returns the ASCII form of a host name in lower case.
func canonicalDomain(domain string) (string, bool) {
	name, err := idna.Lookup.ToASCII(LowerDomain(domain))
	return name, err == nil && IsDomain(name)
}

// domainFromRow converts a row. A verification without a valid code is none: the tenant
// can verify the domain itself.
func (s *Store) domainFromRow(row db.Domain) Domain {
	d := Domain{Domain: row.Domain, TXTName: "_keyward." + row.Domain, TXTValue: txtPrefix + row.Token, CreatedAt: row.CreatedAt.UTC()}
	if s.authority.checkDomain(row) == nil {
		d.VerifiedAt = db.UTC(row.VerifiedAt)
	}
	return d
}

// txtPrefix is the part of a TXT record before the token.
const txtPrefix = "keyward-verification="

func (d Domain) token() string { return strings.TrimPrefix(d.TXTValue, txtPrefix) }

func (d Domain) event(by audit.By, action audit.Action, at time.Time) audit.Event {
	e := by.Event(at, action)
	e.Details = audit.Details(by.Details(map[string]any{"domain": d.Domain}))
	return e
}

// wrapDomainError is wrapError, but returns the errors of domains unchanged.
func wrapDomainError(what string, err error) error {
	for _, known := range []error{ErrNoDomain, ErrDomainInUse, ErrTooManyDomains, ErrDomainNotVerified, ErrNoNameServer} {
		if errors.Is(err, known) {
			return err
		}
	}
	return wrapError(what, err)
}
