// Package audit is the history of every tenant: what happened, who did it, and
// proof that nobody rewrote it.
//
// It guarantees that an event, once committed, is found changed, missing,
// reordered or cut off by [Store.Verify]: each event's hash covers the one
// before it, and the tenant's row holds the last. Anyone can recompute the
// chain from an export; [Chain] says how. It trusts the database to refuse
// changes (migrations/00005_audit.sql) and, against somebody who may rewrite
// events and head alike, that a checkpoint of the head was kept elsewhere.
//
// A [Feed] tells events as they are committed, each once, also where a
// transaction commits late; [Store.Watch] says when to look.
//
// Events are written in the transaction of what they tell of: the caller locks
// the tenant's row, which holds the [Head], builds the events with [Chain],
// moves the head and inserts the events ([ToColumns]).
package audit
