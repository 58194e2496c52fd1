package tenant

import (
	"bytes"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
)

// Operation names what a second person may have to agree to.
type Operation string

// The operations. Relax is to take another one off the list, which is guarded
// wherever there is a list: else one person could switch it off.
const (
	RevokeAll Operation = "revoke_all"
	Import    Operation = "import"
	Purge     Operation = "purge"
	Delete    Operation = "delete"
	Relax     Operation = "relax"
)

var guardable = []Operation{RevokeAll, Import, Purge, Delete}

// ApprovalLifetime is how long after it was asked for an approval can be given
// and used.
const ApprovalLifetime = 24 * time.Hour

// ApprovalStatus says how far an approval is.
type ApprovalStatus string

// The states of an approval; Rejected, Used and Expired are final.
const (
	Pending  ApprovalStatus = "pending"
	Approved ApprovalStatus = "approved"
	Rejected ApprovalStatus = "rejected"
	Used     ApprovalStatus = "used"
	Expired  ApprovalStatus = "expired" // never stored: it follows from the time
)

// ApprovalStatusError means that an approval is not in the state in which it
// could be decided or used.
type ApprovalStatusError struct{ Status ApprovalStatus }

func (e *ApprovalStatusError) Error() string { return "tenant: the approval is " + string(e.Status) }

// Approval is a request that waits for, or has, a second person's agreement.
// Nothing of the request's body is in it: that may hold a private key.
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

// Guards says whether a second person has to agree to an operation.
func (t Tenant) Guards(op Operation) bool { return slices.Contains(t.ApprovalRequired, op) }

// relaxes says whether a list takes operations off that of t.
func relaxes(t Tenant, list []Operation) bool {
	return slices.ContainsFunc(t.ApprovalRequired, func(op Operation) bool { return !slices.Contains(list, op) })
}

// usableBy says whether it lets its requester do this very request.
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

// sameActor leaves the name out, which may change.
func sameActor(a, b audit.Actor) bool { return a.Type == b.Type && a.ID == b.ID }

func approvalOf(row db.Approval, now time.Time) Approval {
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
		if !slices.Contains(guardable, op) || slices.Contains(list[:i], op) {
			broken.add("approval_required", "must be some of revoke_all, import, purge and delete, each at most once")
			return
		}
	}
}

// normalGuarded is the list in one order, nil for none.
func normalGuarded(list []Operation) (out []Operation) {
	for _, op := range guardable {
		if slices.Contains(list, op) {
			out = append(out, op)
		}
	}
	return out
}

func guardedOf(column []string) (list []Operation) {
	for _, op := range column {
		list = append(list, Operation(op))
	}
	return list
}

// guardedColumn is the reverse; none is an empty array, since NULL stands for
// what is stored already.
func guardedColumn(list []Operation) []string {
	column := []string{}
	for _, op := range list {
		column = append(column, string(op))
	}
	return column
}

// event tells what becomes of it, with the names of both where there are two.
func (a Approval) event(by audit.By, action audit.Action, at time.Time) audit.Event {
	d := map[string]any{"id": a.ID, "operation": a.Operation, "requested_by": a.RequestedBy, "expires_at": a.ExpiresAt.Format(time.RFC3339Nano)}
	if a.DecidedBy != nil {
		d["decided_by"] = *a.DecidedBy
	}
	e := by.Event(at, action)
	e.Details = audit.Details(d)
	return e
}
