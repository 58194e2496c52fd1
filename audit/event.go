package audit

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Action names what happened, as "<thing>.<past participle>".
type Action string

// The actions of CONTRACT section 4, and denied attempts.
const (
	TenantCreated       Action = "tenant.created"
	TenantUpdated       Action = "tenant.updated"
	TenantSuspended     Action = "tenant.suspended"
	TenantResumed       Action = "tenant.resumed"
	TenantDeleted       Action = "tenant.deleted"
	PolicyCreated       Action = "policy.created"
	PolicyUpdated       Action = "policy.updated"
	PolicyRetired       Action = "policy.retired"
	KeyCreated          Action = "key.created"
	KeyImported         Action = "key.imported"
	KeyActivated        Action = "key.activated"
	KeyDeprecated       Action = "key.deprecated"
	KeyExpired          Action = "key.expired"
	KeyRevoked          Action = "key.revoked"
	KeyPurged           Action = "key.purged"
	DataKeyCreated      Action = "data_key.created"
	DataKeyRotated      Action = "data_key.rotated"
	DataKeyRewrapped    Action = "data_key.rewrapped"
	DataKeyDestroyed    Action = "data_key.destroyed"
	APIKeyCreated       Action = "api_key.created"
	APIKeyRevoked       Action = "api_key.revoked"
	WebhookCreated      Action = "webhook.created"
	WebhookUpdated      Action = "webhook.updated"
	WebhookDisabled     Action = "webhook.disabled"
	WebhookDeleted      Action = "webhook.deleted"
	ApprovalRequested   Action = "approval.requested"
	ApprovalApproved    Action = "approval.approved"
	ApprovalRejected    Action = "approval.rejected"
	ApprovalUsed        Action = "approval.used"
	AuthorizationDenied Action = "authorization.denied"
)

// ActorType says what kind of thing acted.
type ActorType string

// The kinds of actors.
const (
	ActorAPIKey   ActorType = "api_key"  // a credential, ID is its id
	ActorOIDC     ActorType = "oidc"     // somebody of the operator's identity provider, ID is iss, "#" and sub
	ActorWorker   ActorType = "worker"   // the schedule, ID is the process
	ActorOperator ActorType = "operator" // somebody at a shell with the database's password
)

// Actor is who did something.
type Actor struct {
	Type ActorType `json:"type"`
	ID   string    `json:"id"`
	Name string    `json:"name"`
}

// By is on whose behalf a change is made. Every method that changes something
// takes one.
type By struct {
	Actor     Actor
	RequestID string    // empty outside a request
	Approval  *Approval // nil where nobody else had to agree
}

// Approval is who agreed to a change beside the one who makes it.
type Approval struct {
	ID uuid.UUID
	By Actor
}

// Details are details of an event that tell also who agreed to what b does.
func (b By) Details(details map[string]any) map[string]any {
	if b.Approval == nil {
		return details
	}
	all := map[string]any{"approval": map[string]any{"id": b.Approval.ID, "approved_by": b.Approval.By}}
	maps.Copy(all, details)
	return all
}

// Event begins the event of something done by b at a time.
func (b By) Event(at time.Time, action Action) Event {
	return Event{At: at, Action: action, Actor: b.Actor, RequestID: b.RequestID}
}

// Event is one thing that happened to a tenant. TenantID, Seq, PrevHash and
// Hash are set by [Chain].
type Event struct {
	TenantID  uuid.UUID
	Tenant    string // the tenant's slug, set on reading; not part of the hash
	Seq       int64  // 1, 2, 3 … without a gap per tenant
	At        time.Time
	Action    Action
	Actor     Actor
	KID       string // empty where the event is about no key
	FromState string
	ToState   string
	Reason    string
	RequestID string
	Details   json.RawMessage // a JSON object; nil means {}
	PrevHash  []byte          // 32 bytes; 32 zero bytes for Seq 1
	Hash      []byte          // 32 bytes
}

// visibleToVerifiers reports whether the event's change shows in what verifiers
// are served.
func (e Event) visibleToVerifiers() bool {
	return strings.HasPrefix(string(e.Action), "key.") || strings.HasPrefix(string(e.Action), "policy.")
}

// Details makes the details of an event of a map or struct of plain values.
// Anything that has no JSON form is a mistake in the program and panics.
func Details(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("audit: details: %v", err))
	}
	return b
}
