package webhook

import (
	"time"

	"github.com/google/uuid"
)

// Status is the state of a webhook.
type Status string

// The statuses of a webhook.
const (
	Active   Status = "active"
	Disabled Status = "disabled"
)

// Format is the form of a webhook's requests.
type Format string

// The formats.
const (
	Keyward Format = "keyward" // an audit event as JSON, with a detached signature
	SET     Format = "set"     // a Security Event Token (RFC 8417), pushed as RFC 8935 has it
)

// setActions are the actions of which a SET can tell, those that verifiers need.
var setActions = []string{"key.*", "tenant.*"}

// Reason is the reason why a webhook is disabled.
type Reason string

// The reasons.
const (
	Requested Reason = "requested" // by a request
	Gone      Reason = "gone"      // the receiver answered 410
	Failing   Reason = "failing"   // no delivery was accepted for days
)

// Webhook is a URL to which events are posted.
type Webhook struct {
	ID             uuid.UUID
	TenantID       *uuid.UUID // nil: the platform's, which gets every tenant's events
	URL            string     // may hold a secret of the receiver's
	Actions        []string   // "key.revoked" or "key.*"; none: all
	Description    string
	Format         Format
	Status         Status
	DisabledReason Reason // empty unless Disabled
	CreatedAt      time.Time
	UpdatedAt      time.Time
	LastDeliveryAt *time.Time // last accepted delivery
}

// New is a request to create a webhook.
type New struct {
	TenantID    *uuid.UUID // nil: the platform's
	URL         string
	Actions     []string
	Description string
	Format      Format // empty: Keyward
}

// Change is a request for new settings of a webhook; nil fields stay as they are. A
// webhook that is enabled again gets events from then on.
type Change struct {
	URL         *string
	Actions     *[]string
	Description *string
	Status      *Status
}

// DeliveryStatus is the state of a delivery.
type DeliveryStatus string

// The statuses of a delivery.
const (
	Pending   DeliveryStatus = "pending"
	Delivered DeliveryStatus = "delivered"
	Failed    DeliveryStatus = "failed"
)

// Delivery is one event for one webhook.
type Delivery struct {
	ID            uuid.UUID
	WebhookID     uuid.UUID
	Tenant        string // the slug of the event's tenant
	TenantID      uuid.UUID
	Seq           int64
	Action        string
	Status        DeliveryStatus
	Attempts      int // since the event or the last Redeliver
	NextAttemptAt *time.Time
	LastAttemptAt *time.Time
	LastStatus    int    // of HTTP; 0: no response, or not tried
	LastError     string // a class of error; empty: none
	DeliveredAt   *time.Time
	CreatedAt     time.Time
}
