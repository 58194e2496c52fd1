package audit

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Action names an event, as "<thing>.<past participle>".
type Action string

// The actions of docs/contract.md.
const (
	TenantCreated       Action = "tenant.created"
	TenantUpdated       Action = "tenant.updated"
	TenantSuspended     Action = "tenant.suspended"
	TenantResumed       Action = "tenant.resumed"
	TenantDeleted       Action = "tenant.deleted"
	TenantRecovered     Action = "tenant.recovered"
	DomainClaimed       Action = "domain.claimed"
	DomainVerified      Action = "domain.verified"
	DomainRemoved       Action = "domain.removed"
	PolicyCreated       Action = "policy.created"
	PolicyUpdated       Action = "policy.updated"
	PolicyRetired       Action = "policy.retired"
	PolicyWaiting       Action = "policy.waiting" // a rotation waits for verifiers to fetch the standby key
	KeyCreated          Action = "key.created"
	KeyImported         Action = "key.imported"
	KeyActivated        Action = "key.activated"
	KeyDeprecated       Action = "key.deprecated"
	KeyExpired          Action = "key.expired"
	KeyRevoked          Action = "key.revoked"
	KeyPurged           Action = "key.purged"
	KeyExported         Action = "key.exported"
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
	SessionCreated      Action = "session.created"
	SessionEnded        Action = "session.ended"

	WorkloadIdentityCreated Action = "workload_identity.created"
	WorkloadIdentityDeleted Action = "workload_identity.deleted"
)

// ActorType is the kind of an actor.
type ActorType string

// The kinds of actors.
const (
	ActorAPIKey   ActorType = "api_key"  // a credential, ID is its id
	ActorOIDC     ActorType = "oidc"     // a user of the operator's identity provider, ID is iss, "#" and sub
	ActorWorkload ActorType = "workload" // a workload with a token of its platform, ID is the id of its workload identity, "#" and sub
	ActorWorker   ActorType = "worker"   // the worker's schedule, ID is the process
	ActorOperator ActorType = "operator" // a person at a shell with the database's password
)

// Actor is the credential, person or process that caused an event.
type Actor struct {
	Type ActorType `json:"type"`
	ID   string    `json:"id"`
	Name string    `json:"name"`
}

// By identifies the actor of a change for the audit event. Every method that
// changes something takes one.
type By struct {
	Actor     Actor
	RequestID string    // empty outside a request
	Approval  *Approval // nil if the change needed no approval
}

// Approval identifies the second person's approval of a change.
type Approval struct {
	ID      uuid.UUID
	By      Actor
	Effects []string // what By was told that the request does
	Changes []string // the values that By was told that it sets, as package tenant writes them
}

// Details returns details with the member "approval" added if b has an Approval.
func (b By) Details(details map[string]any) map[string]any {
	if b.Approval == nil {
		return details
	}
	all := map[string]any{"approval": map[string]any{"id": b.Approval.ID, "approved_by": b.Approval.By}}
	maps.Copy(all, details)
	return all
}

// Event returns a new event with b's actor and request id.
func (b By) Event(at time.Time, action Action) Event {
	return Event{At: at, Action: action, Actor: b.Actor, RequestID: b.RequestID}
}

// Event is one entry of a tenant's history. [Chain] sets TenantID, Seq, PrevHash
// and Hash.
type Event struct {
	TenantID  uuid.UUID
	Tenant    string // the tenant's slug, set on reading; not part of the hash
	Seq       int64  // 1, 2, 3 … without a gap per tenant
	At        time.Time
	Action    Action
	Actor     Actor
	KID       string // empty if the event is about no key
	FromState string
	ToState   string
	Reason    string
	RequestID string
	Details   json.RawMessage // a JSON object; nil means {}
	PrevHash  []byte          // 32 bytes; 32 zero bytes for Seq 1
	Hash      []byte          // 32 bytes
}

// visibleToVerifiers reports whether the event's change shows in the JWK Set or
// the discovery document.
func (e Event) visibleToVerifiers() bool {
	return strings.HasPrefix(string(e.Action), "key.") || strings.HasPrefix(string(e.Action), "policy.")
}

// Details returns v, a map or struct of plain values, as the details of an event.
// It panics if v has no JSON form, which is a programming error.
func Details(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("audit: details: %v", err))
	}
	return b
}
