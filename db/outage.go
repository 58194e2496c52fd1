package db

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	suspicious   = time.Second             // a round trip that takes longer causes a question whether PostgreSQL answers
	askInterval  = time.Second             // between two such questions during an outage; the first ones come faster
	askTimeout   = time.Second             // of each
	outageWait   = 1500 * time.Millisecond // how long a caller waits for the end of an outage
	firstAskWait = 50 * time.Millisecond
)

// errOutage is returned without asking PostgreSQL.
var errOutage = fmt.Errorf("%w: it does not answer; one attempt a second asks for it", ErrUnavailable)

// outageWatch finds out whether PostgreSQL answers. Statements that fail or take long make it
// ask; if it gets no answer either, there is an outage, in which it alone asks, once a
// second, until PostgreSQL answers. Each question has a new connection: one that was open
// may lead nowhere.
type outageWatch struct {
	cfg     *pgx.ConnConfig
	ended   func() // called when an outage is over
	current atomic.Pointer[outage]

	ctx  context.Context
	stop context.CancelFunc
	mu   sync.Mutex
	asks bool // a goroutine asks
	wg   sync.WaitGroup
}

type outage struct{ over chan struct{} }

func newOutageWatch(cfg *pgx.ConnConfig, ended func()) *outageWatch {
	ctx, stop := context.WithCancel(context.Background())
	return &outageWatch{cfg: cfg, ended: ended, ctx: ctx, stop: stop}
}

// Outage returns nil while PostgreSQL answers as far as anybody knows, and otherwise a
// channel, which is closed once it answers again: until then a caller with an alternative
// need not ask.
func (d *DB) Outage() <-chan struct{} {
	if o := d.outages.current.Load(); o != nil {
		return o.over
	}
	return nil
}

// awaitOutageEnd returns at once unless there is an outage, and waits a little for its end.
// Errors: ErrUnavailable.
func (d *DB) awaitOutageEnd(ctx context.Context) error {
	over := d.Outage()
	if over == nil {
		return nil
	}
	wait := time.NewTimer(outageWait)
	defer wait.Stop()
	select {
	case <-over:
		return nil
	case <-wait.C:
	case <-ctx.Done():
		if err := ctx.Err(); !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
	}
	return errOutage
}

// suspectOutage asks whether PostgreSQL answers, in the background, unless that is asked
// already.
func (d *DB) suspectOutage() { d.outages.suspect() }

func (w *outageWatch) suspect() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.asks || w.ctx.Err() != nil {
		return
	}
	w.asks = true
	w.wg.Go(w.watch)
}

// watch returns when PostgreSQL answers.
func (w *outageWatch) watch() {
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.asks = false
	}()
	if w.answers() || w.ctx.Err() != nil {
		return
	}
	o := &outage{make(chan struct{})}
	w.current.Store(o)
	defer close(o.over)
	defer w.current.Store(nil)
	for pause := firstAskWait; ; pause = min(2*pause, askInterval) {
		if Pause(w.ctx, pause) != nil {
			return
		}
		if w.answers() {
			w.ended()
			return
		}
	}
}

// answers asks PostgreSQL. A refusal for want of a free connection is an answer too.
func (w *outageWatch) answers() bool {
	ctx, cancel := context.WithTimeout(w.ctx, askTimeout)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, w.cfg)
	if err != nil {
		var refused *pgconn.PgError
		return errors.As(err, &refused) && strings.HasPrefix(refused.Code, "53")
	}
	defer closeAtOnce(conn)
	_, err = conn.Exec(ctx, "select 1")
	return err == nil
}

// inDoubt reports whether it is asked if PostgreSQL answers, or known that it does not.
func (w *outageWatch) inDoubt() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asks
}

// close ends the questions.
func (w *outageWatch) close() {
	w.mu.Lock()
	w.stop()
	w.mu.Unlock()
	w.wg.Wait()
}

// isLost reports whether err may mean that PostgreSQL is away or hangs, and does not mean that
// it refused a statement, as for a lock.
func isLost(err error) bool {
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return strings.HasPrefix(refused.Code, "57P") || strings.HasPrefix(refused.Code, "08")
	}
	return err != nil && !errors.Is(err, errOutage) && isUnavailable(err)
}
