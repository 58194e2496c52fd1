package tenant

import (
	"strings"

	"github.com/google/uuid"

	"github.com/keyward/keyward/db"
)

// DomainRef returns the text that stands for a custom domain where a slug could
// stand. No slug has a colon.
func DomainRef(domain string) string { return domainRefPrefix + domain }

const domainRefPrefix = "host:"

// RefDomain returns the domain that ref stands for, or "" if ref is a slug or an
// id.
func RefDomain(ref string) string {
	domain, ok := strings.CutPrefix(ref, domainRefPrefix)
	if !ok {
		return ""
	}
	return domain
}

// ChangePayloads returns the NOTIFY payloads that announce a change of a tenant
// to other processes: one for its slug, and one for each domain that it gained or
// gave up, because caches may hold an owner, or "no owner", for that domain.
// Empty domains are left out.
func ChangePayloads(id uuid.UUID, slug string, domains ...string) []string {
	payloads := []string{db.ChangePayload(id, slug)}
	for _, domain := range domains {
		if domain != "" {
			payloads = append(payloads, db.ChangePayload(id, DomainRef(domain)))
		}
	}
	return payloads
}
