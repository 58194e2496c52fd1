package tenant

import (
	"strings"

	"github.com/google/uuid"
)

// DomainRef stands for a custom domain where a slug could stand. No slug has a
// colon.
func DomainRef(domain string) string { return domainRef + domain }

const domainRef = "host:"

// RefDomain is the domain that ref stands for, "" if it is a slug or an id.
func RefDomain(ref string) string {
	domain, is := strings.CutPrefix(ref, domainRef)
	if !is {
		return ""
	}
	return domain
}

// Told is what other processes are told when a tenant changes: its slug, and
// each domain that became or ceased to be its own, since somebody may remember
// whose that was, or that it was nobody's.
func Told(id uuid.UUID, slug string, domains ...string) []string {
	told := []string{id.String() + " " + slug}
	for _, domain := range domains {
		if domain != "" {
			told = append(told, id.String()+" "+DomainRef(domain))
		}
	}
	return told
}
