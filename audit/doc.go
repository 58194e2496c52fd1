// Package audit keeps the history of every tenant and proves that it was not
// rewritten. It is internal to Keyward: no compatibility promise.
//
// It guarantees that [Store.Verify] detects a committed event that was changed,
// removed, reordered or cut off: each event's hash covers the previous event, and
// the tenant's row holds the last hash. Anyone can recompute the chain from an
// export; [Chain] describes the hash. The package trusts the database to refuse
// changes of events. Against an attacker who can rewrite events and head together
// it relies on a checkpoint of the head that was stored elsewhere.
//
// A [Feed] returns events as they are committed, each once, also if a transaction
// commits late; [Store.Watch] signals new events.
//
// Events are written in the transaction of the change they describe: the caller
// locks the tenant's row, which holds the [Head], collects the events in a
// [Write] and sends it with db.Writes.AppendAudit.
package audit
