package tenant

import "strings"

// Role defines the permissions of a credential. Callers enforce them.
type Role string

// The roles of docs/contract.md.
const (
	PlatformAdmin   Role = "platform_admin"
	PlatformAuditor Role = "platform_auditor"
	TenantAdmin     Role = "tenant_admin"
	TenantSigner    Role = "tenant_signer"
	TenantAuditor   Role = "tenant_auditor"
	TenantVerifier  Role = "tenant_verifier" // hears of changes of keys, and nothing else
)

// Valid reports whether the role exists.
func (r Role) Valid() bool {
	switch r {
	case PlatformAdmin, PlatformAuditor, TenantAdmin, TenantSigner, TenantAuditor, TenantVerifier:
		return true
	}
	return false
}

// OfPlatform reports whether the role is for all tenants.
func (r Role) OfPlatform() bool { return strings.HasPrefix(string(r), "platform_") }
