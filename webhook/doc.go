// Package webhook posts audit events to where tenants, and the platform, want
// them.
//
// It guarantees that each event that a webhook asks for is made one delivery,
// whatever ends in the middle, and that a delivery is posted until a receiver
// has taken it or it was tried for a day: at least once, so receivers tell
// repetitions by the id of the delivery. Every request is signed by a key of the
// platform; what is signed names the webhook, the delivery and the time.
//
// The outbox is audit_events itself: an event is committed with what it tells
// of. A webhook keeps its place in that feed, and a look turns what lies behind
// the place into deliveries and moves the place in one transaction. A second
// step takes a webhook that has deliveries due for a while (a lease), posts them
// one after the other outside any transaction, and writes down what became of
// each, if the lease is still its own.
//
// It trusts nothing about a URL: the address that a name resolves to is checked
// when a connection is made, so that no name leads into the operator's network.
// What a receiver answers is never stored but for its status.
package webhook
