package db

import "context"

// AppendAudit queues a transaction's audit write: it moves the heads of chains,
// inserts the events and, when the transaction commits, notifies other processes
// with the payloads. Any of the three may be empty; no statement is queued for
// one that is. Send returns ErrGuard if another transaction has moved a head. Errors:
// ErrClock, because every change passes here, and one with a wrong time must not.
func (w *Writes) AppendAudit(ctx context.Context, heads MoveAuditHeadsParams, events InsertAuditEventsParams, payloads []string) error {
	if err := w.clock.check(); err != nil {
		return err
	}
	if n := len(heads.TenantIds); n > 0 {
		if _, err := w.MoveAuditHeads(ctx, heads); err != nil {
			return err
		}
		w.Expect(n)
	}
	if len(events.Seqs) > 0 {
		if err := w.InsertAuditEvents(ctx, events); err != nil {
			return err
		}
	}
	if len(payloads) == 0 {
		return nil
	}
	return w.NotifyChanges(ctx, payloads)
}

// SendWithAudit queues the audit write, as AppendAudit does, and sends all that
// is queued. Errors: those of Send.
func (w *Writes) SendWithAudit(ctx context.Context, heads MoveAuditHeadsParams, events InsertAuditEventsParams, payloads []string) error {
	if err := w.AppendAudit(ctx, heads, events, payloads); err != nil {
		return err
	}
	return w.Send(ctx)
}
