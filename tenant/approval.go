package tenant

import (
	"bytes"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
)

// Operation is an operation that can require a second person's approval.
type Operation string

// The operations. Relax is the removal of an operation from a tenant's list. It
// requires approval as long as the list is not empty: otherwise one person could
// switch approvals off.
const (
	RevokeAll Operation = "revoke_all"
	Import    Operation = "import"
	Purge     Operation = "purge"
	Delete    Operation = "delete"
	Relax     Operation = "relax"
)

var guardableOperations = []Operation{RevokeAll, Import, Purge, Delete}

// ApprovalLifetime is the time from the request of an approval in which it can be
// given and used.
const ApprovalLifetime = 24 * time.Hour

// ApprovalStatus is the state of an approval.
type ApprovalStatus string

// The states of an approval; Rejected, Used and Expired are final.
const (
	Pending  ApprovalStatus = "pending"
	Approved ApprovalStatus = "approved"
	Rejected ApprovalStatus = "rejected"
	Used     ApprovalStatus = "used"
	Expired  ApprovalStatus = "expired" // never stored: derived from ExpiresAt
)

// ApprovalStatusError means that an approval cannot be decided or used in its
// current state.
type ApprovalStatusError struct{ Status ApprovalStatus }

func (e *ApprovalStatusError) Error() string { return "tenant: the approval is " + string(e.Status) }

// Approval is a request that waits for, or has, a second person's approval. It
// holds only a hash of the request's body, which may contain a private key.
type Approval struct {
	ID          uuid.UUID
	Operation   Operation
	Status      ApprovalStatus
	RequestedBy audit.Actor
	DecidedBy   *audit.Actor
	CreatedAt   time.Time
	ExpiresAt   time.Time
	DecidedAt   *time.Time
	UsedAt      *time.Time

	requestHash []byte
}

// Guards reports whether an operation requires a second person's approval.
func (t Tenant) Guards(op Operation) bool { return slices.Contains(t.ApprovalRequired, op) }

// removesGuard reports whether list lacks an operation of t's list.
func removesGuard(t Tenant, list []Operation) bool {
	return slices.ContainsFunc(t.ApprovalRequired, func(op Operation) bool { return !slices.Contains(list, op) })
}

// usableBy returns nil if actor may use the approval for this request.
func (a Approval) usableBy(actor audit.Actor, op Operation, requestHash []byte) error {
	switch {
	case !sameActor(a.RequestedBy, actor):
		return ErrOtherRequester
	case a.Operation != op || !bytes.Equal(a.requestHash, requestHash):
		return ErrOtherRequest
	case a.Status != Approved:
		return &ApprovalStatusError{a.Status}
	}
	return nil
}

// sameActor compares type and id; names may change.
func sameActor(a, b audit.Actor) bool { return a.Type == b.Type && a.ID == b.ID }

// approvalFromRow converts a row. now decides whether the approval has expired.
func approvalFromRow(row db.Approval, now time.Time) Approval {
	a := Approval{
		ID: row.ID, Operation: Operation(row.Operation), Status: ApprovalStatus(row.Status),
		RequestedBy: audit.Actor{Type: audit.ActorType(row.RequesterType), ID: row.RequesterID, Name: row.RequesterName},
		CreatedAt:   row.CreatedAt.UTC(), ExpiresAt: row.ExpiresAt.UTC(), DecidedAt: db.UTC(row.DecidedAt), UsedAt: db.UTC(row.UsedAt),
		requestHash: row.RequestHash,
	}
	if row.DeciderType != nil {
		a.DecidedBy = &audit.Actor{Type: audit.ActorType(*row.DeciderType), ID: db.ZeroIfNull(row.DeciderID), Name: db.ZeroIfNull(row.DeciderName)}
	}
	if (a.Status == Pending || a.Status == Approved) && !a.ExpiresAt.After(now) {
		a.Status = Expired
	}
	return a
}

func validateGuarded(broken *fields, list []Operation) {
	for i, op := range list {
		if !slices.Contains(guardableOperations, op) || slices.Contains(list[:i], op) {
			broken.add("approval_required", "must be some of revoke_all, import, purge and delete, each at most once")
			return
		}
	}
}

// sortGuarded returns the list in a fixed order, nil if it is empty.
func sortGuarded(list []Operation) (out []Operation) {
	for _, op := range guardableOperations {
		if slices.Contains(list, op) {
			out = append(out, op)
		}
	}
	return out
}

func guardedFromColumn(column []string) (list []Operation) {
	for _, op := range column {
		list = append(list, Operation(op))
	}
	return list
}

// guardedColumn is the inverse of guardedFromColumn. It returns an empty array for
// an empty list, because NULL leaves the stored list in place.
func guardedColumn(list []Operation) []string {
	column := []string{}
	for _, op := range list {
		column = append(column, string(op))
	}
	return column
}

// event returns the audit event of a step of the approval, with requester and
// decider.
func (a Approval) event(by audit.By, action audit.Action, at time.Time) audit.Event {
	d := map[string]any{"id": a.ID, "operation": a.Operation, "requested_by": a.RequestedBy, "expires_at": a.ExpiresAt.Format(time.RFC3339Nano)}
	if a.DecidedBy != nil {
		d["decided_by"] = *a.DecidedBy
	}
	e := by.Event(at, action)
	e.Details = audit.Details(d)
	return e
}
