// Package moves commits all transitions ("moves") of keys: creation of tenants and
// their keys, rotations, revocations, imports, policies, scheduled work, and
// previews of all these. Internal to Keyward: no compatibility promise.
//
// Every exported method of [Store] that changes something is one transaction. It
// locks the tenant's row, reads its policies and keys into a ledger, decides, and
// writes moves, audit events, the JWK Set and the notification in one round trip.
// It guarantees that no move is written without its event, and that a crash leaves
// either nothing or everything. Keys that take long to generate are generated
// before the lock.
//
// keys.Plan decides the scheduled moves; this package trusts the database to reject
// every move that must never happen.
package moves
