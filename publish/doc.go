// Package publish copies the public documents of every tenant into a store, a directory
// or an S3-compatible bucket, from which verifiers can be served without this service.
// Internal to Keyward: no compatibility promise.
//
// It guarantees that an older state of a tenant never replaces a newer one in the store,
// whatever processes publish at once and wherever one of them is ended; that a change is
// published however often the store or the database fails, without end; that a tenant
// whose documents cannot be published holds up no other; that a change which was notified
// is not behind a long feed; and that memory does not grow with the number of tenants or
// failures.
//
// The order of states is an [Order]: writes are conditional on what is in the store. It
// trusts the store to keep its word about that, which [Store.Check] tests.
//
// An [Archive] keeps other documents, checkpoints, in the same kinds of places: one that is
// there is never replaced.
package publish
