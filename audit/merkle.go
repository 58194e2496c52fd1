package audit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"github.com/google/uuid"

	"github.com/keyward/keyward/db"
)

// leafPurpose separates the leaves of a [Tree] from every other use of SHA-256. A
// new layout needs a new purpose.
const leafPurpose = "keyward head v1"

// LeafHash returns the hash of a chain's end as a leaf of a [Tree] (RFC 9162 section
// 2.1.1), with F as for [Chain]:
//
//	SHA-256( 0x00 ‖ F(purpose) ‖ F(tenant_id) ‖ F(seq) ‖ F(hash) )
func LeafHash(h Head) []byte {
	b := []byte{0}
	for _, x := range [][]byte{[]byte(leafPurpose), h.TenantID[:], binary.BigEndian.AppendUint64(nil, uint64(h.Seq)), h.Hash} {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(x))), x...)
	}
	sum := sha256.Sum256(b)
	return sum[:]
}

// nodeHash returns the hash of a node from those of its children.
func nodeHash(left, right []byte) []byte {
	sum := sha256.Sum256(slices.Concat([]byte{1}, left, right))
	return sum[:]
}

// Tree computes the root of a Merkle tree (RFC 9162 section 2.1.1) over the ends of
// chains, which are added one after the other. It keeps one hash for each level, not
// the leaves. The zero value is an empty tree.
type Tree struct {
	size     int64
	complete [][]byte // roots of the complete subtrees, the largest first

	followed bool     // there is a leaf whose path is kept
	at       int      // the complete subtree that has that leaf
	index    int64    // of that leaf
	path     [][]byte // its inclusion path inside that subtree, from the bottom
}

// Size returns the number of leaves.
func (t *Tree) Size() int64 { return t.size }

// Add adds a leaf.
func (t *Tree) Add(h Head) { t.add(h, false) }

// AddFollowed adds a leaf whose inclusion [Tree.Inclusion] then proves. A later call
// replaces an earlier one.
func (t *Tree) AddFollowed(h Head) { t.add(h, true) }

func (t *Tree) add(h Head, follow bool) {
	t.complete = append(t.complete, LeafHash(h))
	if follow {
		t.followed, t.at, t.index, t.path = true, len(t.complete)-1, t.size, nil
	}
	for size := t.size; size&1 == 1; size >>= 1 {
		t.merge()
	}
	t.size++
}

// merge joins the last two complete subtrees, which have the same size.
func (t *Tree) merge() {
	last := len(t.complete) - 1
	left, right := t.complete[last-1], t.complete[last]
	switch {
	case t.followed && t.at == last:
		t.at, t.path = last-1, append(t.path, left)
	case t.followed && t.at == last-1:
		t.path = append(t.path, right)
	}
	t.complete = append(t.complete[:last-1], nodeHash(left, right))
}

// Root returns the root of the tree; that of an empty tree is the hash of nothing.
func (t *Tree) Root() []byte {
	root, _ := t.fold()
	return root
}

// Inclusion returns the index of the followed leaf and its inclusion path (RFC 9162
// section 2.1.3.1); ok is false if none was followed.
func (t *Tree) Inclusion() (index int64, path [][]byte, ok bool) {
	_, path = t.fold()
	return t.index, path, t.followed
}

// fold joins the complete subtrees, from the smallest to the largest, and extends the
// followed leaf's path to the root.
func (t *Tree) fold() (root []byte, path [][]byte) {
	if t.size == 0 {
		sum := sha256.Sum256(nil)
		return sum[:], nil
	}
	path = slices.Clone(t.path)
	last := len(t.complete) - 1
	root = t.complete[last]
	for i := last - 1; i >= 0; i-- {
		switch {
		case t.at == i:
			path = append(path, root)
		case t.at > i:
			path = append(path, t.complete[i])
		}
		root = nodeHash(t.complete[i], root)
	}
	return root, path
}

// VerifyInclusion reports whether the end of a chain is the leaf with an index in the
// tree of a size and a root (RFC 9162 section 2.1.3.2).
func VerifyInclusion(h Head, index, size int64, path [][]byte, root []byte) bool {
	if index < 0 || index >= size {
		return false
	}
	hash := LeafHash(h)
	node, last := index, size-1
	for _, sibling := range path {
		if last == 0 {
			return false
		}
		if node&1 == 1 || node == last {
			hash = nodeHash(sibling, hash)
			for node&1 == 0 && node != 0 {
				node, last = node>>1, last>>1
			}
		} else {
			hash = nodeHash(hash, sibling)
		}
		node, last = node>>1, last>>1
	}
	return last == 0 && bytes.Equal(hash, root)
}

// TenantHead is the end of a tenant's chain with the tenant's slug.
type TenantHead struct {
	Head
	Tenant string
}

// headsPerPage is how many heads are read in one transaction.
const headsPerPage = 5000

// Heads calls each with the end of every tenant's chain, deleted tenants included, in
// the order of their ids. None of them is older than the call; two of them may be of
// different moments. Errors: those of each, ErrUnavailable.
func (s *Store) Heads(ctx context.Context, each func(TenantHead) error) error {
	for after := uuid.Nil; ; {
		var rows []db.ListAuditHeadsRow
		err := s.db.AsPlatform(ctx, func(tx *db.Tx) (err error) {
			rows, err = tx.ListAuditHeads(ctx, after, headsPerPage)
			return err
		})
		if err != nil {
			return wrapError("heads", err)
		}
		for _, r := range rows {
			if err := each(TenantHead{Head{TenantID: r.ID, Seq: r.AuditSeq, Hash: r.AuditHash}, r.Slug}); err != nil {
				return err
			}
			after = r.ID
		}
		if len(rows) < headsPerPage {
			return nil
		}
	}
}
