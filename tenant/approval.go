package tenant

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
)

// Operation is an effect that can require a second person's approval, whichever
// request has it.
type Operation string

// The effects. Relax is the removal of an effect from a tenant's list, a case of
// ChangeSettings. It requires approval as long as the list is not empty: otherwise one
// person could switch approvals off.
const (
	Revoke         Operation = "revoke"     // a key leaves the JWK Set by a decision
	RevokeAll      Operation = "revoke_all" // none is left that verifiers know, see keys/moves
	Import         Operation = "import"     // a key of another system enters
	Purge          Operation = "purge"      // a public key is erased, now or earlier than it would have been
	Delete         Operation = "delete"     // the tenant ends
	ChangePolicy   Operation = "policy"
	ChangeAPIKeys  Operation = "api_keys"
	ChangeSettings Operation = "settings" // of the tenant, its data key, domains and webhooks
	Relax          Operation = "relax"
)

var guardableOperations = []Operation{Revoke, RevokeAll, Import, Purge, Delete, ChangePolicy, ChangeAPIKeys, ChangeSettings}

// byGravity orders the effects of a request: an approval is named by the first one that
// the tenant guards.
var byGravity = []Operation{Delete, RevokeAll, Purge, Import, Revoke, ChangePolicy, ChangeAPIKeys, ChangeSettings}

// ApprovalLifetime is the time from the request of an approval in which it can be
// terms and used.
const ApprovalLifetime = 24 * time.Hour

// maxPendingApprovals bounds the requests of a tenant that wait at one time: they are
// never deleted.
const maxPendingApprovals = 1000

// maxRequestedApprovals bounds the requests of a tenant within [ApprovalLifetime], decided
// ones included: their rows are kept.
const maxRequestedApprovals = 10_000

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

// NeedsApprovalError means that a change was not made: the tenant requires a second
// person's approval of one of its effects. It is an ErrNeedsApproval.
type NeedsApprovalError struct {
	TenantID  uuid.UUID
	Slug      string
	Operation Operation   // the gravest of the effects that the tenant guards, or Relax
	Effects   []Operation // all of the change, guarded or not
	Changes   []ApprovalChange
}

func (e *NeedsApprovalError) Error() string {
	return ErrNeedsApproval.Error() + ": " + string(e.Operation)
}

// Unwrap returns ErrNeedsApproval.
func (e *NeedsApprovalError) Unwrap() error { return ErrNeedsApproval }

// CheckApproval returns a *NeedsApprovalError if a change with these effects must not
// be made by this actor alone. Call it under the tenant's lock, before the change is
// written. An approval counts for the effects that its approver was told. The worker
// carries out what was decided before, and operators have the database.
func (t Tenant) CheckApproval(by audit.By, effects ...Operation) error {
	if len(t.ApprovalRequired) == 0 || by.Actor.Type == audit.ActorWorker || by.Actor.Type == audit.ActorOperator {
		return nil
	}
	for _, op := range byGravity {
		if slices.Contains(effects, op) && t.Guards(op) && !approves(by, op) {
			return t.needsApproval(op, effects)
		}
	}
	return nil
}

func (t Tenant) needsApproval(op Operation, effects []Operation) error {
	return &NeedsApprovalError{TenantID: t.ID, Slug: t.Slug, Operation: op, Effects: sortGuarded(effects)}
}

func approves(by audit.By, op Operation) bool {
	return by.Approval != nil && slices.Contains(by.Approval.Effects, string(op))
}

// CheckValues completes a check of the approval that a change needs with the values that it
// sets: refused is what the check has returned, and changes are asked for only if they
// matter. It returns refused, with them, or a *NeedsApprovalError if an approval for op covers
// a change whose approver was not told of all these values: since the request was made, others
// have been changed, and it would change them back.
func (t Tenant) CheckValues(by audit.By, op Operation, refused error, changes func() ([]ApprovalChange, error)) error {
	if refused == nil && by.Approval == nil {
		return nil
	}
	all, err := changes()
	if err != nil {
		return err
	}
	var needs *NeedsApprovalError
	if errors.As(refused, &needs) {
		needs.Changes = all
	}
	if refused != nil || !approves(by, op) {
		return refused
	}
	if !slices.ContainsFunc(all, func(c ApprovalChange) bool { return !slices.Contains(by.Approval.Changes, c.shownValue()) }) {
		return nil
	}
	effects := make([]Operation, len(by.Approval.Effects))
	for i, effect := range by.Approval.Effects {
		effects[i] = Operation(effect)
	}
	return &NeedsApprovalError{TenantID: t.ID, Slug: t.Slug, Operation: op, Effects: effects, Changes: all}
}

// Terms returns what of an approval a change must keep to.
func (a Approval) Terms() *audit.Approval {
	terms := &audit.Approval{ID: a.ID, By: *a.DecidedBy}
	for _, op := range a.Effects {
		terms.Effects = append(terms.Effects, string(op))
	}
	for _, c := range a.Changes {
		terms.Changes = append(terms.Changes, c.shownValue())
	}
	return terms
}

// Request is a request that needs approval, as its approver sees it.
type Request struct {
	OperationID string // of openapi.yaml
	Path        string // with the ids of what it changes; no secret is in a path
	Digest      []byte // SHA-256 of method, path, query and body
}

// Approval is a request that waits for, or has, a second person's approval. It
// holds only a hash of the request's body, which may contain a private key.
type Approval struct {
	ID          uuid.UUID
	Operation   Operation   // names the approval: the gravest guarded effect, or Relax
	Effects     []Operation // all that the request has
	OperationID string      // of openapi.yaml
	Path        string
	Changes     []ApprovalChange
	Status      ApprovalStatus
	RequestedBy audit.Actor
	DecidedBy   *audit.Actor
	CreatedAt   time.Time
	ExpiresAt   time.Time
	DecidedAt   *time.Time
	UsedAt      *time.Time

	requestHash []byte
	changes     json.RawMessage // Changes as stored
}

// Guards reports whether an operation requires a second person's approval.
func (t Tenant) Guards(op Operation) bool { return slices.Contains(t.ApprovalRequired, op) }

// removesGuard reports whether list lacks an operation of t's list.
func removesGuard(t Tenant, list []Operation) bool {
	return slices.ContainsFunc(t.ApprovalRequired, func(op Operation) bool { return !slices.Contains(list, op) })
}

// usableBy returns nil if actor may use the approval for this request.
func (a Approval) usableBy(actor audit.Actor, requestHash []byte) error {
	switch {
	case !sameActor(a.RequestedBy, actor):
		return ErrOtherRequester
	case !bytes.Equal(a.requestHash, requestHash):
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
		Effects: guardedFromColumn(row.Effects), OperationID: row.OperationID, Path: row.Path,
		RequestedBy: audit.Actor{Type: audit.ActorType(row.RequesterType), ID: row.RequesterID, Name: row.RequesterName},
		CreatedAt:   row.CreatedAt.UTC(), ExpiresAt: row.ExpiresAt.UTC(), DecidedAt: db.UTC(row.DecidedAt), UsedAt: db.UTC(row.UsedAt),
		requestHash: row.RequestHash, changes: row.Changes,
	}
	if err := json.Unmarshal(row.Changes, &a.Changes); err != nil {
		a.Changes = nil // there are none, or the row was not written by Keyward
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
			broken.add("approval_required", "must be some of revoke, revoke_all, import, purge, delete, policy, api_keys and settings, each at most once")
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
	d := map[string]any{"id": a.ID, "operation": a.Operation, "effects": a.Effects, "operation_id": a.OperationID, "path": a.Path, "requested_by": a.RequestedBy, "expires_at": a.ExpiresAt.Format(time.RFC3339Nano)}
	if a.DecidedBy != nil {
		d["decided_by"] = *a.DecidedBy
	}
	e := by.Event(at, action)
	e.Details = audit.Details(d)
	return e
}
