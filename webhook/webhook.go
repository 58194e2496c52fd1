package webhook

import (
	"time"

	"github.com/google/uuid"
)

// Status says whether a webhook is told of events.
type Status string

// The statuses of a webhook.
const (
	Active   Status = "active"
	Disabled Status = "disabled"
)

// Reason says why a webhook is disabled.
type Reason string

// The reasons.
const (
	Requested Reason = "requested" // somebody did it
	Gone      Reason = "gone"      // the receiver answered 410
	Failing   Reason = "failing"   // nothing was taken for days
)

// Webhook is where events are posted to.
type Webhook struct {
	ID             uuid.UUID
	TenantID       *uuid.UUID // nil: the platform's, which is told of every tenant's events
	URL            string     // may hold a secret of the receiver's
	Actions        []string   // "key.revoked" or "key.*"; none: all
	Description    string
	Status         Status
	DisabledReason Reason // empty unless Disabled
	CreatedAt      time.Time
	UpdatedAt      time.Time
	LastDeliveryAt *time.Time // when the receiver last took one
}

// New asks for a webhook.
type New struct {
	TenantID    *uuid.UUID // nil: the platform's
	URL         string
	Actions     []string
	Description string
}

// Change asks for new settings of a webhook; what is nil stays. One that is
// enabled again goes on with what happens then.
type Change struct {
	URL         *string
	Actions     *[]string
	Description *string
	Status      *Status
}

// DeliveryStatus says what became of a delivery.
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
	Attempts      int // since it was asked for, by the event or by somebody
	NextAttemptAt *time.Time
	LastAttemptAt *time.Time
	LastStatus    int    // of HTTP; 0: no answer, or not tried
	LastError     string // a class of error; empty: none
	DeliveredAt   *time.Time
	CreatedAt     time.Time
}
