package tenant

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/internal/age"
)

// CreateWorkloadIdentity creates a workload identity. Like an API key it does not outlive
// the one that makes it. Errors: *FieldErrors, *PolicyError, *LimitError,
// *NeedsApprovalError, ErrMadeByWorkload, ErrNotFound, ErrNoAuthority, ErrUnavailable.
func (s *Store) CreateWorkloadIdentity(ctx context.Context, by audit.By, n NewWorkloadIdentity) (WorkloadIdentity, error) {
	n.MaxTokenLifetime = cmp.Or(n.MaxTokenLifetime, usualTokenLife)
	if err := n.validate(s.now(), s.refusedURL); err != nil {
		if wrong := s.db.CheckClock(); wrong != nil { // a right time may be refused by it
			return WorkloadIdentity{}, wrong
		}
		return WorkloadIdentity{}, err
	}
	if err := s.mayMakeCredentials(by.Actor); err != nil {
		return WorkloadIdentity{}, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return WorkloadIdentity{}, wrapError("create workload identity", err)
	}
	w := WorkloadIdentity{
		ID: id, TenantID: n.TenantID, Name: n.Name, Issuer: n.Issuer, Audience: n.Audience, JWKSURI: n.JWKSURI, Rules: n.Rules, Role: n.Role,
		MaxTokenLifetime: n.MaxTokenLifetime, ExpiresAt: truncateTime(n.ExpiresAt), CreatedBy: by.Actor,
	}
	err = s.changeAsMaker(ctx, by.Actor, &n.TenantID, w.ExpiresAt, func(tx *db.Tx, home TenantRow) error {
		if err := s.checkWorkloadIssuer(home.Tenant(), w.Issuer); err != nil {
			return err
		}
		if err := home.Tenant().CheckApproval(by, ChangeAPIKeys); err != nil {
			return err
		}
		have, err := tx.CountWorkloadIdentities(ctx, n.TenantID, s.now().Add(-CountedFor), maxWorkloads)
		if err != nil || have >= maxWorkloads {
			return cmp.Or(err, error(&LimitError{What: "workload identities that are live, or were made within 24 hours,", Limit: maxWorkloads}))
		}
		w.CreatedAt = home.TimeOfEffect(s.now())
		return s.insertWorkload(ctx, tx, by, home, w)
	})
	if err != nil {
		return WorkloadIdentity{}, wrapAPIKeyError("create workload identity", err)
	}
	db.AfterCommit(ctx, func() { s.workloads.drop(n.TenantID) })
	return w, nil
}

// mayMakeCredentials returns why an actor may not create one. A workload may not: what it
// made would outlive its token, which is all that it has.
func (s *Store) mayMakeCredentials(actor audit.Actor) error {
	switch {
	case actor.Type == audit.ActorWorkload:
		return ErrMadeByWorkload
	case s.authority == nil:
		return ErrNoAuthority // nobody would believe the row
	}
	return nil
}

// checkWorkloadIssuer refuses issuers whose tokens Keyward signs: a signer of the tenant
// would have every role. Of another tenant's own issuer it does not tell whether somebody
// has it; such an identity is accepted, and its tokens are refused (markIssuedHere).
func (s *Store) checkWorkloadIssuer(home Tenant, issuer string) error {
	var broken fields
	if isSameIssuer(issuer, home.OwnIssuer) || s.names.isOwnURL(issuer) {
		broken.add("issuer", "must not be an issuer of this service, whose tokens its signers make")
	}
	return broken.fieldErrors()
}

// checkOwnIssuer refuses to give a tenant the issuer of one of its workload identities:
// from then on the tenant's signers would make the tokens that sign in with its role.
func (s *Store) checkOwnIssuer(ctx context.Context, tx *db.Tx, after Tenant) error {
	if after.OwnIssuer == "" {
		return nil
	}
	rows, err := tx.WorkloadIdentitiesOf(ctx, after.ID)
	if err != nil {
		return err
	}
	var broken fields
	for _, row := range rows {
		if isSameIssuer(row.Issuer, after.OwnIssuer) {
			broken.add("issuer", "must not be that of the workload identity %s, with whose role the tenant's signers could sign in: delete that first", row.ID)
			break
		}
	}
	return broken.fieldErrors()
}

// isSameIssuer compares issuers in the form in which they are unique among tenants.
func isSameIssuer(a, b string) bool {
	if a == "" || b == "" {
		return false
	}
	first, ok := parseWebName(a)
	second, well := parseWebName(b)
	return a == b || ok && well && first == second
}

func (s *Store) insertWorkload(ctx context.Context, tx *db.Tx, by audit.By, home TenantRow, w WorkloadIdentity) error {
	q, row := tx.Later(), w.row()
	err := q.InsertWorkloadIdentity(ctx, db.InsertWorkloadIdentityParams{
		TenantID: row.TenantID, ID: row.ID, Name: row.Name, Issuer: row.Issuer, Audience: row.Audience, JWKSURI: row.JWKSURI, Rules: row.Rules, Role: row.Role,
		MaxTokenLifetimeSeconds: row.MaxTokenLifetimeSeconds, CreatedAt: row.CreatedAt, ExpiresAt: row.ExpiresAt,
		CreatorType: row.CreatorType, CreatorID: row.CreatorID, CreatorName: row.CreatorName,
		MAC: s.authority.mac(workloadRecord(row)), MakerMAC: s.authority.mac(workloadMakerRecord(row)),
	})
	if err != nil {
		return err
	}
	e := by.Event(w.CreatedAt, audit.WorkloadIdentityCreated)
	e.Details = audit.Details(by.Details(w.eventDetails()))
	return sendWithEvent(ctx, q, home, e)
}

// DeleteWorkloadIdentity ends a workload identity: this process refuses its tokens from
// then on, other processes once they receive the notification. Errors: ErrNoWorkload, also
// for one that was deleted before, *NeedsApprovalError, ErrNotFound, ErrUnavailable.
func (s *Store) DeleteWorkloadIdentity(ctx context.Context, by audit.By, tenantID, id uuid.UUID) error {
	err := s.changeHome(ctx, &tenantID, func(tx *db.Tx, home TenantRow) error {
		w, err := s.liveWorkload(ctx, tx, tenantID, id)
		if err != nil {
			return err
		}
		if err := home.Tenant().CheckApproval(by, ChangeAPIKeys); err != nil {
			return err
		}
		at, q := home.TimeOfEffect(s.now()), tx.Later()
		if _, err := q.DeleteWorkloadIdentities(ctx, at, []uuid.UUID{tenantID}, []uuid.UUID{id}); err != nil {
			return err
		}
		q.Expect(1)
		e := by.Event(at, audit.WorkloadIdentityDeleted)
		e.Details = audit.Details(by.Details(WorkloadEnd(w.ID, string(w.Role), w.Name, w.Issuer)))
		return sendWithEvent(ctx, q, home, e)
	})
	if err != nil {
		return wrapWorkloadError("delete workload identity", err)
	}
	db.AfterCommit(ctx, func() { s.workloads.drop(tenantID) })
	return nil
}

// WorkloadEnd returns the details of the event that ends a workload identity.
func WorkloadEnd(id uuid.UUID, role, name, issuer string) map[string]any {
	return map[string]any{"id": id, "role": role, "name": name, "issuer": issuer}
}

// WorkloadIdentity returns a live workload identity. Errors: ErrNoWorkload, ErrUnavailable.
func (s *Store) WorkloadIdentity(ctx context.Context, tenantID, id uuid.UUID) (w WorkloadIdentity, err error) {
	err = s.db.InTenant(ctx, tenantID, func(tx *db.Tx) (err error) {
		w, err = s.liveWorkload(ctx, tx, tenantID, id)
		return err
	})
	return w, wrapWorkloadError("workload identity", err)
}

func (s *Store) liveWorkload(ctx context.Context, tx *db.Tx, tenantID, id uuid.UUID) (WorkloadIdentity, error) {
	row, err := tx.GetWorkloadIdentity(ctx, tenantID, id)
	if errors.Is(err, db.ErrNoRows) || err == nil && row.DeletedAt != nil {
		return WorkloadIdentity{}, ErrNoWorkload
	}
	if err != nil {
		return WorkloadIdentity{}, err
	}
	return workloadFromRow(row)
}

// ListWorkloadIdentities returns a tenant's live workload identities, newest first, and
// the cursor of the next page, "" on the last. Errors: ErrBadCursor, ErrUnavailable.
func (s *Store) ListWorkloadIdentities(ctx context.Context, tenantID uuid.UUID, limit int, cursor string) (list []WorkloadIdentity, next string, err error) {
	after, err := ParsePosition(cursor)
	if err != nil {
		return nil, "", err
	}
	limit = PageLimit(limit)
	err = s.db.InTenant(ctx, tenantID, func(tx *db.Tx) error {
		rows, err := tx.ListWorkloadIdentities(ctx, db.ListWorkloadIdentitiesParams{
			TenantID: tenantID, BeforeCreatedAt: after.CreatedAt, BeforeID: after.ID, PageSize: int32(limit) + 1,
		})
		if err == nil {
			list, err = workloadsFromRows(rows)
		}
		return err
	})
	list, next = Page(list, limit, func(w WorkloadIdentity) Position { return Position{w.CreatedAt, w.ID} })
	return list, next, wrapError("list workload identities", err)
}

func workloadsFromRows(rows []db.WorkloadIdentity) ([]WorkloadIdentity, error) {
	list := make([]WorkloadIdentity, 0, len(rows))
	for _, row := range rows {
		w, err := workloadFromRow(row)
		if err != nil {
			return nil, err
		}
		list = append(list, w)
	}
	return list, nil
}

// WorkloadsOf returns the workload identities that sign in to a tenant, in the order in
// which they are tried: the oldest first, so that a new one changes nothing for those
// before it. Rows without a valid code are left out. They are read from the cache, like
// credentials, until the tenant changes. Errors: *admission.BusyError if too many tenants
// without identities were asked for, ErrUnavailable.
func (s *Store) WorkloadsOf(ctx context.Context, tenantID uuid.UUID) ([]WorkloadIdentity, error) {
	if list, ok := s.workloads.get(tenantID, age.Read(s.now)); ok {
		return list, nil
	}
	return readOnce(ctx, s, "workload identities", tenantID, s.readWorkloads)
}

// readWorkloads reads a tenant's workload identities through the gate, unless it is known
// to have had some, and again if the tenant changed meanwhile.
func (s *Store) readWorkloads(ctx context.Context, tenantID uuid.UUID) (list []WorkloadIdentity, err error) {
	leave := func(bool) {}
	if _, known := s.known.Get(tenantID); !known {
		if leave, err = s.coldReads.Enter(ctx); err != nil {
			return nil, err
		}
	}
	list, err = readUnchanged(ctx, tenantID, s.readAndKeepWorkloads)
	if len(list) > 0 {
		s.known.Note(tenantID, struct{}{})
	}
	leave(len(list) > 0)
	return list, err
}

func (s *Store) readAndKeepWorkloads(ctx context.Context, tenantID uuid.UUID) (list []WorkloadIdentity, kept bool, err error) {
	began, read := age.Read(s.now), s.workloads.begin()
	defer read.end()
	var rows []db.WorkloadIdentity
	err = s.db.InTenant(ctx, tenantID, func(tx *db.Tx) (err error) {
		rows, err = tx.WorkloadIdentitiesOf(ctx, tenantID)
		return err
	})
	if err != nil {
		return nil, false, wrapError("workload identities", err)
	}
	for _, row := range rows {
		if s.authority.checkWorkload(row) != nil { // logged
			continue
		}
		w, err := workloadFromRow(row)
		if err != nil {
			return nil, false, err
		}
		list = append(list, w)
	}
	if err := s.markIssuedHere(ctx, list); err != nil {
		return nil, false, wrapError("workload identities", err)
	}
	return list, read.keep(tenantID, list, tenantID, began), nil
}

// markIssuedHere marks the identities whose issuer has become one of this service: by a
// tenant that set its own issuer later, or by another public URL. Another tenant's change is
// not refused for it, or whoever names an issuer first would keep its owner from it.
func (s *Store) markIssuedHere(ctx context.Context, list []WorkloadIdentity) error {
	byName := map[string][]int{}
	for i, w := range list {
		name, ok := parseWebName(w.Issuer)
		switch {
		case !ok: // no tenant can have it
		case s.names.holds(name):
			list[i].IssuedHere = true
		default:
			byName[name.String()] = append(byName[name.String()], i)
		}
	}
	if len(byName) == 0 {
		return nil
	}
	return s.db.AsPlatform(ctx, func(tx *db.Tx) error {
		taken, err := tx.IssuersOfTenants(ctx, slices.Sorted(maps.Keys(byName)))
		for _, name := range taken {
			for _, i := range byName[name] {
				list[i].IssuedHere = true
			}
		}
		return err
	})
}

// workloadMakers returns a workload's actor and the makers of its identity, which may be
// deleted by now. Errors: ErrForged, ErrUnavailable.
func (s *Store) workloadMakers(ctx context.Context, tenantID uuid.UUID, actor audit.Actor) ([]maker, error) {
	line := []maker{{Actor: actor}}
	id, ok := workloadID(actor)
	if !ok {
		return line, nil
	}
	var row db.WorkloadIdentity
	err := s.db.InTenant(ctx, tenantID, func(tx *db.Tx) (err error) {
		row, err = tx.GetWorkloadIdentity(ctx, tenantID, id)
		return err
	})
	if err != nil {
		return nil, wrapError("makers", err)
	}
	if err := s.authority.checkWorkloadMaker(row); err != nil {
		return nil, err
	}
	creator := audit.Actor{Type: audit.ActorType(row.CreatorType), ID: row.CreatorID, Name: row.CreatorName}
	if creator.Type == audit.ActorOperator {
		return line, nil
	}
	more, _, err := s.makers(ctx, tenantID, creator)
	return append(line, more...), err
}

// isOwnURL reports whether a URL is at the host of the public URL.
func (n Namespace) isOwnURL(text string) bool {
	w, ok := parseWebName(text)
	return ok && n.holds(w)
}

// wrapWorkloadError is wrapError, but returns ErrNoWorkload unchanged.
func wrapWorkloadError(what string, err error) error {
	if errors.Is(err, ErrNoWorkload) {
		return err
	}
	return wrapError(what, err)
}
