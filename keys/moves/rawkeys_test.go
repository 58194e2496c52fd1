package moves

import (
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/keys"
)

// columns are a row of keys as raw SQL writes it.
type columns map[string]any

// When the keys of these tests move: late enough for the policy's windows.
func activatedAt(at time.Time) time.Time  { return at.Add(48 * time.Hour) }
func deprecatedAt(at time.Time) time.Time { return at.Add(72 * time.Hour) }
func expiredAt(at time.Time) time.Time    { return deprecatedAt(at).Add(7 * 24 * time.Hour) }
func purgedAt(at time.Time) time.Time     { return expiredAt(at).Add(90 * 24 * time.Hour) }

// newborn is a key with no state yet.
func (a *act) newborn(id uuid.UUID, kid string) columns {
	return columns{"tenant_id": id, "kid": kid, "alg": "ES256", "origin": "generated", "created_at": a.at, "published_at": a.at}
}

// settle gives a row everything that a state asks for and nothing that it
// forbids, and keeps what the state does not care about.
func (a *act) settle(row columns, s keys.State) {
	row["state"] = string(s)
	row["sealed_private"], row["data_key_version"], row["public_jwk"] = nil, nil, `{"kty":"EC"}`
	if s.HasPrivate() {
		row["sealed_private"], row["data_key_version"] = []byte("sealed"), 1
	}
	if s == keys.Purged {
		row["public_jwk"] = nil
	}
	wasActive := s == keys.Active || s == keys.Deprecated || s == keys.Expired
	row.want(wasActive, s == keys.Standby, columns{"activated_at": activatedAt(a.at), "activation": "manual"})
	row.want(s == keys.Deprecated || s == keys.Expired, s == keys.Standby || s == keys.Active, columns{
		"deprecated_at": deprecatedAt(a.at), "expires_at": expiredAt(a.at),
		"token_horizon": deprecatedAt(a.at).Add(24*time.Hour + time.Minute + keys.SigningTail),
	})
	row.want(s == keys.Expired, s != keys.Purged, columns{"expired_at": expiredAt(a.at)})
	neverLeft := row["expired_at"] == nil
	row.want(s == keys.Revoked || s == keys.Purged && neverLeft, s != keys.Purged, columns{"revoked_at": expiredAt(a.at), "revocation_reason": "unspecified"})
	row.want(s == keys.Purged, true, columns{"purged_at": purgedAt(a.at)})
}

// want sets columns that must be there and are not, or clears them where they
// must not be.
func (row columns) want(must, mustNotElse bool, values columns) {
	for column, value := range values {
		switch {
		case must && row[column] == nil:
			row[column] = value
		case !must && mustNotElse:
			row[column] = nil
		}
	}
}

// born is a row as it may enter in a state, and as nearly so as can be in a
// state in which none may.
func (a *act) born(id uuid.UUID, kid string, s keys.State) columns {
	row := a.newborn(id, kid)
	if s == keys.Deprecated {
		row["origin"] = "imported"
	}
	a.settle(row, s)
	switch s {
	case keys.Active:
		row["activation"] = "first"
	case keys.Deprecated:
		row["activated_at"], row["activation"] = nil, nil
	}
	return row
}

// moved is the event of a move.
func moved(kid string, from, to keys.State) audit.Event {
	return audit.Event{Action: "key." + audit.Action(to), KID: kid, FromState: string(from), ToState: string(to)}
}

// enter inserts a key with its event.
func (a *act) enter(row columns) error {
	seq, err := a.happen(row["tenant_id"].(uuid.UUID), moved(row["kid"].(string), keys.Born, keys.State(row["state"].(string))))
	if err != nil {
		return err
	}
	row["state_event"] = seq
	return a.insertRow("keys", row)
}

// read is a key's row.
func (a *act) read(id uuid.UUID, kid string) (columns, error) {
	rows, err := a.tx.Query(a.ctx, "SELECT * FROM keys WHERE tenant_id = $1 AND kid = $2", id, kid)
	if err != nil {
		return nil, err
	}
	row, err := pgx.CollectExactlyOneRow(rows, pgx.RowToMap)
	return row, err
}

// update writes every column of a key's row.
func (a *act) update(row columns) error {
	var sets []string
	args := []any{row["tenant_id"], row["kid"]}
	for column, value := range row {
		if column != "tenant_id" && column != "kid" {
			args = append(args, value)
			sets = append(sets, fmt.Sprintf("%s = $%d", column, len(args)))
		}
	}
	return a.exec("UPDATE keys SET "+strings.Join(sets, ", ")+" WHERE tenant_id = $1 AND kid = $2", args...)
}

// move takes a key to a state with the event that belongs to it.
func (a *act) move(id uuid.UUID, kid string, to keys.State) error {
	row, err := a.read(id, kid)
	if err != nil {
		return err
	}
	from := keys.State(row["state"].(string))
	if row["state_event"], err = a.happen(id, moved(kid, from, to)); err != nil {
		return err
	}
	a.settle(row, to)
	return a.update(row)
}

// ways leads from birth to each state.
var ways = map[keys.State][]keys.State{
	keys.Standby:    {keys.Standby},
	keys.Active:     {keys.Standby, keys.Active},
	keys.Deprecated: {keys.Standby, keys.Active, keys.Deprecated},
	keys.Expired:    {keys.Standby, keys.Active, keys.Deprecated, keys.Expired},
	keys.Revoked:    {keys.Standby, keys.Revoked},
	keys.Purged:     {keys.Standby, keys.Active, keys.Deprecated, keys.Revoked, keys.Purged},
}

// key brings a key into a state as keys get there: step by step, each in a
// transaction that keeps every rule.
func (p *psql) key(id uuid.UUID, kid string, s keys.State) {
	p.t.Helper()
	for i, step := range ways[s] {
		p.must(func(a *act) error {
			if i == 0 {
				return a.enter(a.born(id, kid, step))
			}
			return a.move(id, kid, step)
		})
	}
}

// fingerprint is everything that is stored.
func (p *psql) fingerprint() (sum string) {
	p.t.Helper()
	const query = `SELECT md5(string_agg(x, '|' ORDER BY x)) FROM (
		SELECT t::text FROM tenants t UNION ALL SELECT t::text FROM policies t UNION ALL SELECT t::text FROM keys t
		UNION ALL SELECT t::text FROM audit_events t UNION ALL SELECT t::text FROM data_keys t
		UNION ALL SELECT t::text FROM master_keys t UNION ALL SELECT t::text FROM api_keys t) AS all_rows (x)`
	if err := p.conn.QueryRow(p.t.Context(), query).Scan(&sum); err != nil {
		p.t.Fatal(err)
	}
	return sum
}
