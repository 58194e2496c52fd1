// Package webhook posts audit events to the URLs that tenants, and the platform,
// have registered. It is internal to Keyward: no compatibility promise.
//
// It guarantees that every event that matches a webhook becomes exactly one
// delivery, also after a crash, and that a delivery is posted until the receiver
// accepts it or it was retried for a day. Receivers get it at least once and
// recognize repetitions by the id of the delivery. Every request is signed by a key
// of the platform; the signed body names the webhook, the delivery and the time.
//
// The outbox is audit_events itself: an event is committed with its change. A
// webhook stores its place in that feed. The turn loop turns events after the place
// into deliveries and moves the place in one transaction. The deliver loop leases a
// webhook with deliveries due, posts them one after the other outside any
// transaction, and stores each result if the lease is still its own.
//
// It does not trust URLs: the resolved address is checked when a connection is
// made, so that no name leads into the operator's network. Of a receiver's response
// only the status is stored.
package webhook
