package db

import (
	"strings"

	"github.com/google/uuid"
)

// changesChannel is the channel on which transactions announce the tenants that
// they changed (queries/changes.sql).
const changesChannel = "keyward"

// ChangePayload returns the NOTIFY payload "<tenant id> <ref>". ref is the
// tenant's slug, or tenant.DomainRef of a custom domain that became its own or
// ceased to be.
func ChangePayload(tenantID uuid.UUID, ref string) string { return tenantID.String() + " " + ref }

// parseChangePayload is the inverse of ChangePayload. ok is false for anything
// that does not begin with a tenant id.
func parseChangePayload(payload string) (tenantID uuid.UUID, ref string, ok bool) {
	id, ref, _ := strings.Cut(payload, " ")
	tenantID, err := uuid.Parse(id)
	return tenantID, ref, err == nil
}
