// Package moves is the only place where moves of keys commit: creation of
// tenants and their keys, rotations, revocations, imports, policies, the work that
// is due by schedule, and previews of all these. Internal to Keyward: no
// compatibility promise.
//
// Every exported method of [Store] that changes something is one transaction. It
// locks the tenant's row, reads its policies and keys into a ledger, decides, and
// writes moves, audit events, the JWK Set and the notification in one round trip.
// It guarantees that there is no move without its event, and that a crash leaves
// either nothing or everything. Keys that take long to make are made before the
// lock.
//
// What should happen is decided by keys.Plan; what may never happen is refused by
// the database, which this package trusts to do so.
package moves
