package main

import (
	"sync"
	"time"
)

// noticed is how long a process may take to notice that its clock is wrong.
const noticed = 10 * time.Second

// clockTolerance is by how much a time may be off before it counts as wrong:
// the bound of the database's own guard.
const clockTolerance = 5 * time.Second

// shift is a stretch in which the clock of a process was off.
type shift struct {
	process *process
	offset  time.Duration
	span
}

// clockWatch remembers whose clock was off and when.
type clockWatch struct {
	mu     sync.Mutex
	shifts []*shift
}

// move sets a process's clock, until the function that it returns is called.
func (w *clockWatch) move(p *process, offset time.Duration) (back func() error, err error) {
	if err := p.clock.set(offset); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	s := &shift{p, offset, span{time.Now(), time.Now().Add(time.Hour)}}
	w.shifts = append(w.shifts, s)
	return func() error {
		err := p.clock.set(0)
		w.mu.Lock()
		defer w.mu.Unlock()
		s.to = time.Now().Add(time.Second)
		return err
	}, nil
}

// during returns the shift of a process between two moments, nil if there was none.
func (w *clockWatch) during(p *process, from, to time.Time) *shift {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.shifts {
		if s.process == p && s.overlaps(from, to) {
			return s
		}
	}
	return nil
}

func (w *clockWatch) moved(p *process, from, to time.Time) bool { return w.during(p, from, to) != nil }

// judgeToken holds iat against the real time. A process whose clock is off is
// given some time to notice.
func (w *clockWatch) judgeToken(r *record, p *process, tok token) {
	r.check(clocksHeld, 1)
	off := time.Duration(0)
	switch early, late := tok.from.began.Add(-time.Second), tok.from.ended; { // iat is rounded down to seconds
	case tok.issued.Before(early):
		off = tok.issued.Sub(early)
	case tok.issued.After(late):
		off = tok.issued.Sub(late)
	}
	if off.Abs() < clockTolerance {
		return
	}
	s := w.during(p, tok.from.began, tok.from.ended)
	switch {
	case s == nil:
		r.broke(clocksHeld, "a token of %s by replica-%d has an iat that is off by %v, and its clock was right", tok.tenant.slug, tok.from.replica, off)
	case tok.from.began.Sub(s.from) > noticed:
		r.broke(clocksHeld, "%s signed a token of %s whose iat is off by %v, %.1f s after its clock was moved by %v", p.name, tok.tenant.slug, off.Round(time.Second), tok.from.began.Sub(s.from).Seconds(), s.offset)
	}
}
