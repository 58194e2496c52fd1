package moves

import (
	"context"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys"
)

// statements collects the set-based writes of any number of ledgers: one for each kind
// of transition, however many keys it concerns.
type statements struct {
	refused   error // a ledger's change that needs a second person
	audit     audit.Write
	activate  db.ActivateKeysParams
	deprecate db.DeprecateKeysParams
	expire    db.ExpireKeysParams
	revoke    db.RevokeKeysParams
	purge     db.PurgeKeysParams
	insert    db.InsertKeysParams
	due       dueParams
}

// dueParams are the columns of SetPoliciesDue.
type dueParams struct {
	tenantIDs []uuid.UUID
	algs      []string
	ats       []time.Time
}

func (p *dueParams) add(tenantID uuid.UUID, alg string, at time.Time) {
	p.tenantIDs, p.algs, p.ats = append(p.tenantIDs, tenantID), append(p.algs, alg), append(p.ats, at)
}

func (s *statements) addLedgers(ledgers []*ledger) *statements {
	for _, l := range ledgers {
		if s.refused == nil {
			s.refused = l.checkApproval()
		}
		s.addEvents(l)
		for _, m := range l.moves {
			s.addMove(m)
		}
		for _, b := range l.newKeys {
			s.addNewKey(b)
		}
		for alg, at := range l.due {
			s.due.add(l.tenant.ID, string(alg), db.OrEpoch(&at))
		}
	}
	return s
}

// addEvents links a ledger's events to the tenant's chain.
func (s *statements) addEvents(l *ledger) {
	if len(l.events) == 0 {
		return
	}
	l.nextHead = s.audit.Chain(l.head, l.events)
	s.audit.Payloads = append(s.audit.Payloads, l.changePayloads()...)
	if l.writesTenantRow {
		return
	}
	set := l.renderSet()
	s.audit.MoveHeadAndSet(l.head, l.nextHead, set.Body, set.Outline)
}

func (s *statements) addMove(m move) {
	switch id, kid, seq := m.TenantID, m.KID, m.stateEvent; m.State {
	case keys.Active:
		p := &s.activate
		appendMove(&p.TenantIds, &p.Kids, &p.Ats, &p.StateEvents, id, kid, *m.ActivatedAt, seq)
		p.Activations = append(p.Activations, string(m.Activation))
	case keys.Deprecated:
		p := &s.deprecate
		appendMove(&p.TenantIds, &p.Kids, &p.Ats, &p.StateEvents, id, kid, *m.DeprecatedAt, seq)
		p.TokenHorizons, p.ExpiresAts = append(p.TokenHorizons, *m.TokenHorizon), append(p.ExpiresAts, *m.ExpiresAt)
	case keys.Expired:
		p := &s.expire
		appendMove(&p.TenantIds, &p.Kids, &p.Ats, &p.StateEvents, id, kid, *m.ExpiredAt, seq)
	case keys.Revoked:
		p := &s.revoke
		appendMove(&p.TenantIds, &p.Kids, &p.Ats, &p.StateEvents, id, kid, *m.RevokedAt, seq)
		p.Reasons = append(p.Reasons, string(m.RevocationReason))
	case keys.Purged:
		p := &s.purge
		appendMove(&p.TenantIds, &p.Kids, &p.Ats, &p.StateEvents, id, kid, *m.PurgedAt, seq)
	}
}

// appendMove appends to the columns that every transition has.
func appendMove(ids *[]uuid.UUID, kids *[]string, ats *[]time.Time, seqs *[]int64, id uuid.UUID, kid string, at time.Time, seq int64) {
	*ids, *kids, *ats, *seqs = append(*ids, id), append(*kids, kid), append(*ats, at), append(*seqs, seq)
}

func (s *statements) addNewKey(b newKey) {
	p := &s.insert
	p.TenantIds, p.Kids, p.Algs = append(p.TenantIds, b.TenantID), append(p.Kids, b.KID), append(p.Algs, string(b.Alg))
	p.AlgLists = append(p.AlgLists, joinAlgorithms(b.Algs))
	p.States, p.Origins = append(p.States, string(b.State)), append(p.Origins, string(b.Origin))
	p.PublicJWKS, p.SealedPrivates = append(p.PublicJWKS, string(b.PublicJWK)), append(p.SealedPrivates, b.sealed)
	p.DataKeyVersions, p.CreatedAts = append(p.DataKeyVersions, b.version), append(p.CreatedAts, b.CreatedAt)
	p.ActivatedAts, p.Activations = append(p.ActivatedAts, db.OrEpoch(b.ActivatedAt)), append(p.Activations, string(b.Activation))
	p.DeprecatedAts, p.ExpiresAts = append(p.DeprecatedAts, db.OrEpoch(b.DeprecatedAt)), append(p.ExpiresAts, db.OrEpoch(b.ExpiresAt))
	p.StateEvents = append(p.StateEvents, b.stateEvent)
}

// joinAlgorithms returns the column algs as the insertion reads it: separated by commas.
func joinAlgorithms(algs []jose.SignatureAlgorithm) string {
	names := make([]string, len(algs))
	for i, alg := range algs {
		names[i] = string(alg)
	}
	return strings.Join(names, ",")
}

// queueTo queues the statements in the order that the database's guards require. A guard
// that matches fewer keys than expected fails the whole transaction. Errors also:
// *tenant.NeedsApprovalError, before anything is queued here.
func (s *statements) queueTo(ctx context.Context, w *db.Writes) error {
	if s.refused != nil {
		return s.refused
	}
	if err := w.AppendAudit(ctx, db.MoveAuditHeadsParams(s.audit.Heads), db.InsertAuditEventsParams(s.audit.Events), s.audit.Payloads); err != nil {
		return err
	}
	type statement struct {
		rows int
		exec func() error
	}
	rows := func(_ int64, err error) error { return err }
	for _, st := range []statement{
		{len(s.deprecate.Kids), func() error { return rows(w.DeprecateKeys(ctx, s.deprecate)) }},
		{len(s.revoke.Kids), func() error { return rows(w.RevokeKeys(ctx, s.revoke)) }},
		{len(s.expire.Kids), func() error { return rows(w.ExpireKeys(ctx, s.expire)) }},
		{len(s.purge.Kids), func() error { return rows(w.PurgeKeys(ctx, s.purge)) }},
		{len(s.activate.Kids), func() error { return rows(w.ActivateKeys(ctx, s.activate)) }},
		{len(s.insert.Kids), func() error { return rows(w.InsertKeys(ctx, s.insert)) }},
		{len(s.due.algs), func() error { return w.SetPoliciesDue(ctx, s.due.tenantIDs, s.due.algs, s.due.ats) }},
	} {
		if st.rows == 0 {
			continue
		}
		if err := st.exec(); err != nil {
			return err
		}
		w.Expect(st.rows)
	}
	return nil
}

// writeLedgers sends the ledgers' statements in one round trip and notifies the other
// processes at commit.
func writeLedgers(ctx context.Context, tx *db.Tx, ledgers ...*ledger) error {
	return sendLedgers(ctx, sendPipelined, tx, ledgers)
}

// sendLedgers is writeLedgers with a choice of how to send.
func sendLedgers(ctx context.Context, send sendFunc, tx *db.Tx, ledgers []*ledger) error {
	w := tx.Later()
	if err := new(statements).addLedgers(ledgers).queueTo(ctx, w); err != nil {
		return err
	}
	return send(w, ctx)
}

// sendFunc sends queued statements to PostgreSQL: in one round trip, or in one for each
// statement if the batch yields to requests.
type sendFunc func(*db.Writes, context.Context) error

var (
	sendPipelined sendFunc = (*db.Writes).Send
	sendEach      sendFunc = (*db.Writes).SendEach
)
