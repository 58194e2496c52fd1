package db

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ProcessInfo is a running process as it registers itself in the database.
type ProcessInfo struct {
	ID         uuid.UUID // of one start
	Name       string
	Kind       string // serve or worker
	Version    string
	Address    string   // where it serves; may be empty
	MasterKeys []string // versions of the master key that it can open; "*": the KMS has them
}

// confirmChannel is the channel on which processes ask for and give confirmations. They
// arrive in the order of commits with the changes on changesChannel.
const confirmChannel = "keyward_confirm"

// presence is what a Listener knows of the processes.
type presence struct {
	mu       sync.Mutex
	live     []Process     // at the last heartbeat
	changed  chan struct{} // closed when somebody says that it has confirmed
	asked    int64         // the latest time that somebody asked for
	answered int64         // the latest that this process has answered
	refused  bool          // the row could not be written, which was logged
}

// register writes this process's row and reads those of the live processes. A database
// that refuses the row, because it is read-only for example, is no lost connection: while
// it accepts no row it accepts no change either.
func (l *Listener) register(ctx context.Context, conn *pgx.Conn, confirmed int64) error {
	if l.Self == nil {
		return nil
	}
	self := l.Self()
	var offset int64
	if l.Clock != nil {
		if o, known := l.Clock.ClockOffset(); known {
			offset = o.Microseconds()
		}
	}
	var live []Process
	b := &pgx.Batch{}
	b.Queue("select set_config('role', 'keyward_platform', true), " + transactionSettings)
	b.Queue(upsertProcess, self.ID, self.Name, self.Kind, self.Version, self.Address, self.MasterKeys, offset, time.UnixMicro(confirmed))
	if confirmed > 0 {
		b.Queue(answerConfirmation, fmt.Sprintf("done %s %d", self.ID, confirmed))
	}
	queueRows(b, &live, liveProcesses)
	err := conn.SendBatch(ctx, b).Close()
	var refused *pgconn.PgError
	if err != nil && (!errors.As(err, &refused) || refused.SeverityUnlocalized == "FATAL") {
		return err
	}
	p := &l.presence
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		if !p.refused {
			l.Log.Warn("this process is not registered: the database refuses its row", "error", err)
		}
		p.refused = true
		return nil
	}
	p.live, p.refused = live, false
	return nil
}

// unregister deletes this process's row when it stops.
func (l *Listener) unregister(ctx context.Context) {
	if l.Self == nil || l.Clock == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	err := l.Clock.AsPlatform(ctx, func(tx *Tx) error { return tx.DeleteProcess(ctx, l.Self().ID) })
	if err != nil {
		l.Log.Warn("the row of this process was not deleted; it counts as live for 10 s", "error", err)
	}
}

// maxAhead bounds how far in the future a question may be. Every login may notify: one
// that forged a time which never comes would end the answers to all others.
const maxAhead = 10 * time.Second

// hearConfirmation reads a payload of confirmChannel: "ask <µs>" or "done <id> <µs>". Every
// login may send one, so it says only that it is worth while to look: what a process has
// confirmed is in its row.
func (l *Listener) hearConfirmation(payload string) {
	p := &l.presence
	p.mu.Lock()
	defer p.mu.Unlock()
	words := strings.Split(payload, " ")
	micros, err := strconv.ParseInt(words[len(words)-1], 10, 64)
	switch {
	case err != nil:
	case len(words) == 2 && words[0] == "ask" && micros <= time.Now().Add(maxAhead).UnixMicro():
		p.asked = max(p.asked, micros)
	case len(words) == 3 && words[0] == "done":
		if p.changed != nil {
			close(p.changed)
			p.changed = nil
		}
	}
}

// answerConfirmations answers the questions of other processes. Every change before the question has been
// passed to Changed by then.
func (l *Listener) answerConfirmations(ctx context.Context, conn *pgx.Conn) error {
	p := &l.presence
	p.mu.Lock()
	asked, done := p.asked, p.answered >= p.asked
	p.mu.Unlock()
	if done || l.Self == nil {
		return nil
	}
	ask, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if err := l.register(ask, conn, asked); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answered = max(p.answered, asked)
	return nil
}

// Live returns the number of live processes at the last heartbeat, and the names of all
// but this one, of which it is not known whether they serve what this one has just
// changed.
func (l *Listener) Live() (live int, others []string) {
	p := &l.presence
	p.mu.Lock()
	defer p.mu.Unlock()
	others = l.namesBut(p.live, func(Process) bool { return true })
	return len(others) + 1, others
}

// namesBut returns the names of the processes that lack something, this one left out.
func (l *Listener) namesBut(rows []Process, lacks func(Process) bool) (names []string) {
	var self uuid.UUID
	if l.Self != nil {
		self = l.Self().ID
	}
	for _, row := range rows {
		if row.ID != self && lacks(row) {
			names = append(names, row.Name)
		}
	}
	return names
}

// Confirm waits until every live process serves every change that was committed before the
// call, at most for wait. It returns how many are live, this one included, and the names
// of those that have not confirmed. If the database does not answer, that is all others.
func (l *Listener) Confirm(ctx context.Context, wait time.Duration) (live int, unconfirmed []string) {
	if l.Clock == nil || wait <= 0 {
		return l.Live()
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	asked, rows, err := l.Clock.askForConfirmation(ctx)
	if err != nil {
		return l.Live()
	}
	l.presence.mu.Lock()
	l.presence.live = rows
	l.presence.mu.Unlock()
	total := len(l.namesBut(rows, func(Process) bool { return true })) + 1
	confirmed := confirmedTimes(rows)
	for {
		changed := l.presence.nextConfirmation()
		missing := l.namesBut(rows, func(row Process) bool { return confirmed[row.ID] < asked })
		if len(missing) == 0 {
			return total, nil
		}
		if now, err := l.Clock.liveProcesses(ctx); err == nil {
			confirmed = confirmedTimes(now)
			if missing = l.namesBut(rows, func(row Process) bool { return confirmed[row.ID] < asked }); len(missing) == 0 {
				return total, nil
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return total, missing
		}
	}
}

// nextConfirmation returns a channel that is closed when the next process says that it
// has confirmed.
func (p *presence) nextConfirmation() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.changed == nil {
		p.changed = make(chan struct{})
	}
	return p.changed
}

func confirmedTimes(rows []Process) map[uuid.UUID]int64 {
	times := make(map[uuid.UUID]int64, len(rows))
	for _, row := range rows {
		times[row.ID] = row.ConfirmedUntil.UnixMicro()
	}
	return times
}

func (d *DB) liveProcesses(ctx context.Context) (live []Process, err error) {
	err = d.AsPlatform(ctx, func(tx *Tx) (err error) {
		live, err = tx.LiveProcesses(ctx)
		return err
	})
	return live, err
}

// askForConfirmation asks every process that listens, and reads which ones are live: each
// of these listened before the question was committed. It is one round trip.
func (d *DB) askForConfirmation(ctx context.Context) (asked int64, live []Process, err error) {
	err = d.retryOnce(ctx, func() error {
		b := &pgx.Batch{}
		b.Queue("select set_config('role', 'keyward_platform', true), " + transactionSettings)
		b.Queue(askForConfirmation).QueryRow(func(row pgx.Row) error { return row.Scan(&asked, nil) })
		queueRows(b, &live, liveProcesses)
		return d.pool.SendBatch(ctx, b).Close()
	})
	return asked, live, markUnavailable(err)
}

// LiveProcesses returns the live processes. With confirm above zero it asks each to
// register anew first, and waits that long for them. Errors: ErrUnavailable.
func (d *DB) LiveProcesses(ctx context.Context, confirm time.Duration) ([]Process, error) {
	live, _, err := d.AskProcesses(ctx, confirm)
	return live, err
}

// AskProcesses is LiveProcesses that returns also the time of the question: a process
// whose ConfirmedUntil is before it has not answered in time.
func (d *DB) AskProcesses(ctx context.Context, confirm time.Duration) ([]Process, time.Time, error) {
	deadline := time.Now().Add(confirm)
	asked, live, err := d.askForConfirmation(ctx)
	for err == nil && confirm > 0 && time.Now().Before(deadline) && hasUnconfirmed(live, asked) {
		if err = Pause(ctx, 50*time.Millisecond); err == nil {
			live, err = d.liveProcesses(ctx)
		}
	}
	return live, time.UnixMicro(asked), err
}

func hasUnconfirmed(live []Process, asked int64) bool {
	for _, row := range live {
		if row.ConfirmedUntil.UnixMicro() < asked {
			return true
		}
	}
	return false
}

// ForgetGoneProcesses deletes the rows of processes that ended without a word. Call it from
// time to time. Errors: ErrUnavailable.
func (d *DB) ForgetGoneProcesses(ctx context.Context) error {
	return d.AsPlatform(ctx, func(tx *Tx) error {
		_, err := tx.DeleteGoneProcesses(ctx)
		return err
	})
}
