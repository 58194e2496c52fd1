package httpapi

import (
	"slices"

	"github.com/keyward/keyward/tenant"
)

// permission is the entry of an operation in permissions.
type permission struct {
	roles   []tenant.Role
	changes bool // the tenant's cache entries are invalidated afterwards

	guarded bool // its effects may need a second person's approval

	operation string
	writes    bool // the method is one that takes an Idempotency-Key
	ofTenant  bool // the path has a tenant
}

func (a permission) allows(r tenant.Role) bool { return slices.Contains(a.roles, r) }

// The groups of roles in docs/contract.md. A tenant's role is valid for that tenant only.
var (
	anyone    = []tenant.Role{tenant.PlatformAdmin, tenant.PlatformAuditor, tenant.TenantAdmin, tenant.TenantSigner, tenant.TenantAuditor}
	admins    = []tenant.Role{tenant.PlatformAdmin, tenant.TenantAdmin}
	signers   = []tenant.Role{tenant.PlatformAdmin, tenant.TenantAdmin, tenant.TenantSigner}
	auditors  = []tenant.Role{tenant.PlatformAdmin, tenant.PlatformAuditor, tenant.TenantAdmin, tenant.TenantAuditor}
	verifiers = append(slices.Clone(auditors), tenant.TenantVerifier)
	platform  = []tenant.Role{tenant.PlatformAdmin}
	platforms = []tenant.Role{tenant.PlatformAdmin, tenant.PlatformAuditor}
)

// permissions lists, by operationId, the roles that may call an operation. It
// is the only such table.
var permissions = map[string]permission{
	"createTenant": {roles: platform},
	"listTenants":  {roles: platforms},
	"getTenant":    {roles: anyone},
	"updateTenant": {roles: admins, changes: true, guarded: true},
	"deleteTenant": {roles: platform, changes: true, guarded: true},

	"getDestructionCertificate": {roles: platforms},

	"listApprovals":   {roles: admins},
	"getApproval":     {roles: admins},
	"approveApproval": {roles: admins}, // and, checked by mayDo, the roles of the operation itself
	"rejectApproval":  {roles: admins},

	"listPolicies": {roles: anyone},
	"putPolicy":    {roles: admins, changes: true, guarded: true},
	"retirePolicy": {roles: admins, changes: true, guarded: true},

	"listKeys":        {roles: auditors},
	"getKey":          {roles: auditors},
	"getKeyAdoption":  {roles: auditors},
	"importKey":       {roles: admins, changes: true, guarded: true},
	"rotateKeys":      {roles: admins, changes: true},
	"revokeKey":       {roles: admins, changes: true, guarded: true},
	"revokeActiveKey": {roles: admins, changes: true, guarded: true},
	"revokeAllKeys":   {roles: admins, changes: true, guarded: true},
	"purgeKeys":       {roles: admins, changes: true, guarded: true},
	"rotateDataKey":   {roles: admins, changes: true, guarded: true},

	"signToken":   {roles: signers},
	"signTokens":  {roles: signers},
	"signPayload": {roles: signers},
	"verifyToken": {roles: anyone},

	"listAuditEvents":         {roles: auditors},
	"verifyAudit":             {roles: auditors},
	"getAuditCheckpoint":      {roles: auditors},
	"getPlatformCheckpoint":   {roles: platforms},
	"getJWKSFeed":             {roles: platforms},
	"listPlatformAuditEvents": {roles: platforms},
	"streamTenantEvents":      {roles: auditors},
	"streamKeyEvents":         {roles: verifiers},
	"streamPlatformEvents":    {roles: platforms},

	"createTenantAPIKey":   {roles: admins, guarded: true},
	"listTenantAPIKeys":    {roles: admins},
	"revokeTenantAPIKey":   {roles: admins, guarded: true},
	"createPlatformAPIKey": {roles: platform, guarded: true},
	"listPlatformAPIKeys":  {roles: platform},
	"revokePlatformAPIKey": {roles: platform, guarded: true},

	"createWorkloadIdentity": {roles: admins, guarded: true},
	"listWorkloadIdentities": {roles: admins},
	"getWorkloadIdentity":    {roles: admins},
	"deleteWorkloadIdentity": {roles: admins, guarded: true},

	"addDomain":    {roles: admins},
	"listDomains":  {roles: admins},
	"verifyDomain": {roles: admins, guarded: true},
	"removeDomain": {roles: admins, guarded: true},

	"createTenantWebhook":           {roles: admins, guarded: true},
	"listTenantWebhooks":            {roles: admins},
	"getTenantWebhook":              {roles: admins},
	"updateTenantWebhook":           {roles: admins, guarded: true},
	"deleteTenantWebhook":           {roles: admins, guarded: true},
	"listTenantWebhookDeliveries":   {roles: admins},
	"redeliverTenantWebhook":        {roles: admins},
	"createPlatformWebhook":         {roles: platform, guarded: true},
	"listPlatformWebhooks":          {roles: platform},
	"getPlatformWebhook":            {roles: platform},
	"updatePlatformWebhook":         {roles: platform, guarded: true},
	"deletePlatformWebhook":         {roles: platform, guarded: true},
	"listPlatformWebhookDeliveries": {roles: platform},
	"redeliverPlatformWebhook":      {roles: platform},
}
