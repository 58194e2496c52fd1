package console

import (
	"time"

	"github.com/keyward/keyward/tenant"
)

// PlatformState is what the processes of an installation have in common: what lies in
// their database, and what `keyward doctor` says of it.
type PlatformState struct {
	Processes  []Process
	Lease      *Lease // of the worker; nil: none has run yet
	Due        Backlog
	Events     Backlog // that have become no delivery yet
	Deliveries Backlog // that are pending
	MasterKeys []MasterKey
	Database   Database
	Findings   []DoctorFinding
	FoundAt    time.Time // when the findings were made
}

// Process is a running process.
type Process struct {
	Name, Kind, Version, Address string
	ClockOffset                  time.Duration // of its clock from the database's
	StartedAt                    time.Time
	HeardAt                      time.Time
	ConfirmedUntil               time.Time // it serves every change that was committed before
	Behind                       bool      // it did not answer the question just asked
	MasterKeys                   []string  // versions that it can open; "*": all of a KMS
}

// Lease is the worker's leadership.
type Lease struct {
	Holder    string
	Term      int64
	RenewedAt time.Time
	Expired   bool
}

// Backlog is work that waits. Most is the number at which counting stops.
type Backlog struct {
	Count  int64
	Most   int64
	Oldest time.Time // zero: nothing waits
}

// MasterKey is a version of a master key. URI has no secrets.
type MasterKey struct {
	URI, Version string
	State        string // current, superseded or retired
	CreatedAt    time.Time
	DataKeys     int64  // that it wraps
	Unusable     string // why this process cannot open it; empty: it can
}

// Database is the database that the processes share.
type Database struct {
	Version string // of PostgreSQL
	Login   string
	Name    string
	Bytes   int64
	Pending int // migrations; negative: the schema is newer than this program
}

// DoctorFinding is one line of `keyward doctor`.
type DoctorFinding struct {
	Level string // ok, warn or fail
	Check string
	Text  string
	Fix   []string // commands or SQL
}

// Wrapped returns how many data keys there are, and how many of them the current master
// key wraps: a re-wrap is complete when they are equal.
func (p PlatformState) Wrapped() (w struct{ Current, All, Percent int64 }) {
	for _, m := range p.MasterKeys {
		w.All += m.DataKeys
		if m.State == "current" {
			w.Current += m.DataKeys
		}
	}
	if w.Percent = 100; w.All > 0 {
		w.Percent = w.Current * 100 / w.All
	}
	return w
}

// Failing counts the findings that somebody has to act on.
func (p PlatformState) Failing() (n int) {
	for _, f := range p.Findings {
		if f.Level != "ok" {
			n++
		}
	}
	return n
}

// Late reports whether work has waited for longer than a worker that runs would let it.
func (b Backlog) Late(now time.Time) bool {
	return !b.Oldest.IsZero() && now.Sub(b.Oldest) > tenant.OverdueAfter
}

// Full reports whether there may be more than was counted.
func (b Backlog) Full() bool { return b.Count >= b.Most }
