package tenant

import "strings"

// Role is what a credential may do; callers decide by it.
type Role string

// The roles of docs/contract.md.
const (
	PlatformAdmin   Role = "platform_admin"
	PlatformAuditor Role = "platform_auditor"
	TenantAdmin     Role = "tenant_admin"
	TenantSigner    Role = "tenant_signer"
	TenantAuditor   Role = "tenant_auditor"
)

// Valid says whether there is such a role.
func (r Role) Valid() bool {
	switch r {
	case PlatformAdmin, PlatformAuditor, TenantAdmin, TenantSigner, TenantAuditor:
		return true
	}
	return false
}

// OfPlatform says whether the role reaches every tenant.
func (r Role) OfPlatform() bool { return strings.HasPrefix(string(r), "platform_") }
