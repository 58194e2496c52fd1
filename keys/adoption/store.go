package adoption

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/db"
)

// Adoption says how far a key has got among the verifiers that lately fetched their
// tenant's JWK Set.
type Adoption struct {
	Fetchers   int64 // how many there are, estimated if there are more than [Sample]
	Adopted    int64 // how many of them have a set with the key
	Share      float64
	Stragglers []Straggler // of the sample, the one seen last first
}

// Straggler is a verifier without the key.
type Straggler struct {
	Client   string // its pseudonym of the day
	LastSeen time.Time
}

// Pseudonym returns a verifier's pseudonym of the day as it is shown.
func Pseudonym(client int64) string { return fmt.Sprintf("%016x", client) }

// flushChunk is how many verifiers are written in one transaction, and flushMost how
// many in one flush: at midnight and after a start each verifier of each tenant is a
// new one, and requests must not wait for all of them to be written.
const (
	flushChunk = 500
	flushMost  = 10 * flushChunk
)

// Flush stores what was counted since the last one, at most flushMost verifiers. What
// was not stored is kept. Errors: those of the database.
func (c *Counter) Flush(ctx context.Context) error {
	if c == nil {
		return nil
	}
	for chunk := range slices.Chunk(c.changed(c.cfg.Now().UnixMicro(), flushMost), flushChunk) {
		if err := c.store(ctx, chunk); err != nil {
			return fmt.Errorf("adoption: %w", err)
		}
		for _, r := range chunk {
			c.written(r)
		}
	}
	return nil
}

func (c *Counter) store(ctx context.Context, chunk []record) error {
	var (
		p         db.RecordJWKSClientsParams
		tenants   []uuid.UUID
		earlierOf []uuid.UUID
		earlier   []int64
	)
	for _, r := range chunk {
		p.TenantIds, p.Clients = append(p.TenantIds, r.tenantID), append(p.Clients, r.name)
		p.SetAts, p.SeenAts = append(p.SetAts, time.UnixMicro(r.setAt)), append(p.SeenAts, time.UnixMicro(r.seenAt))
		if r.writtenAt == 0 {
			for _, name := range r.earlier {
				earlierOf, earlier = append(earlierOf, r.tenantID), append(earlier, name)
			}
		}
		tenants = append(tenants, r.tenantID)
	}
	slices.SortFunc(tenants, func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
	return c.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) error {
		if err := tx.RecordJWKSClients(ctx, p); err != nil {
			return err
		}
		if err := tx.ForgetEarlierClients(ctx, earlierOf, earlier); err != nil {
			return err
		}
		return tx.TrimJWKSClients(ctx, slices.Compact(tenants), Sample)
	})
}

// Forget deletes verifiers that were not seen for [Window]. Errors: those of the
// database.
func (c *Counter) Forget(ctx context.Context) error {
	if c == nil {
		return nil
	}
	return c.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) error {
		_, err := tx.ForgetJWKSClients(ctx, c.cfg.Now().Add(-Window))
		return err
	})
}

// Of returns the adoption of a key that a tenant published at a time. Errors: those of
// the database.
func (c *Counter) Of(ctx context.Context, tenantID uuid.UUID, publishedAt time.Time) (a Adoption, err error) {
	if c == nil {
		return Adoption{}, nil
	}
	err = c.cfg.DB.InTenant(ctx, tenantID, func(tx *db.Tx) error {
		rows, err := tx.ListJWKSClients(ctx, tenantID, c.cfg.Now().Add(-Window), Sample)
		a = summarize(rows, publishedAt)
		return err
	})
	return a, err
}

// Key is a key that a tenant has published.
type Key struct {
	TenantID    uuid.UUID
	KID         string
	PublishedAt time.Time
}

// OfKeys returns what Of does, without the stragglers, for keys of any tenants, in their
// order. Errors: those of the database.
func (c *Counter) OfKeys(ctx context.Context, keys []Key) ([]Adoption, error) {
	out := make([]Adoption, len(keys))
	if c == nil || len(keys) == 0 {
		return out, nil
	}
	p, place := db.AdoptionOfKeysParams{Since: c.cfg.Now().Add(-Window)}, map[Key]int{}
	for i, k := range keys {
		p.TenantIds, p.Kids, p.PublishedAts = append(p.TenantIds, k.TenantID), append(p.Kids, k.KID), append(p.PublishedAts, k.PublishedAt)
		place[Key{TenantID: k.TenantID, KID: k.KID}] = i
	}
	err := c.cfg.DB.AsPlatform(ctx, func(tx *db.Tx) error {
		rows, err := tx.AdoptionOfKeys(ctx, p)
		for _, row := range rows {
			out[place[Key{TenantID: row.TenantID, KID: row.KID}]] = adoptionOf(int(row.Sampled), int(row.Adopted), row.Largest)
		}
		return err
	})
	return out, err
}

// summarize counts a sample in the order of pseudonyms.
func summarize(rows []db.ListJWKSClientsRow, publishedAt time.Time) (a Adoption) {
	if len(rows) == 0 {
		return Adoption{}
	}
	for _, row := range rows {
		if row.SetAt.Before(publishedAt) {
			a.Stragglers = append(a.Stragglers, Straggler{Pseudonym(row.Client), row.SeenAt.UTC()})
		}
	}
	slices.SortFunc(a.Stragglers, func(x, y Straggler) int {
		if order := y.LastSeen.Compare(x.LastSeen); order != 0 {
			return order
		}
		return strings.Compare(x.Client, y.Client)
	})
	stragglers := a.Stragglers
	a = adoptionOf(len(rows), len(rows)-len(stragglers), rows[len(rows)-1].Client)
	a.Stragglers = stragglers
	return a
}

// adoptionOf returns the adoption of a key that so many of a sample have. largest is the
// largest pseudonym of the sample, which is not empty.
func adoptionOf(sampled, adopted int, largest int64) Adoption {
	a := Adoption{Fetchers: estimate(sampled, largest), Share: float64(adopted) / float64(sampled)}
	a.Adopted = int64(a.Share*float64(a.Fetchers) + 0.5)
	return a
}
