package audit

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"

	"github.com/google/uuid"
)

// naiveRoot computes a root as RFC 9162 section 2.1.1 defines it.
func naiveRoot(heads []Head) []byte {
	switch len(heads) {
	case 0:
		sum := sha256.Sum256(nil)
		return sum[:]
	case 1:
		return LeafHash(heads[0])
	}
	k := 1
	for k*2 < len(heads) {
		k *= 2
	}
	return nodeHash(naiveRoot(heads[:k]), naiveRoot(heads[k:]))
}

func someHeads(n int) []Head {
	heads := make([]Head, n)
	for i := range heads {
		sum := sha256.Sum256(fmt.Append(nil, i))
		heads[i] = Head{TenantID: uuid.NewSHA1(uuid.Nil, sum[:]), Seq: int64(i + 1), Hash: sum[:]}
	}
	return heads
}

// The root is that of RFC 9162 for every size, and each leaf, and nothing else, is
// proved to be in the tree.
func TestTree(t *testing.T) {
	for n := range 40 {
		heads := someHeads(n)
		for i := -1; i < n; i++ {
			var tree Tree
			for j, h := range heads {
				if j == i {
					tree.AddFollowed(h)
				} else {
					tree.Add(h)
				}
			}
			root := tree.Root()
			if !slices.Equal(root, naiveRoot(heads)) || tree.Size() != int64(n) {
				t.Fatalf("%d leaves: the root is wrong", n)
			}
			index, path, ok := tree.Inclusion()
			if i < 0 {
				if ok {
					t.Errorf("%d leaves: a path of no leaf", n)
				}
				continue
			}
			if !ok || index != int64(i) || !VerifyInclusion(heads[i], index, int64(n), path, root) {
				t.Fatalf("leaf %d of %d is not proved", i, n)
			}
			for name, proved := range map[string]bool{
				"another leaf":   VerifyInclusion(heads[(i+1)%n], index, int64(n), path, root) && n > 1,
				"another seq":    VerifyInclusion(Head{TenantID: heads[i].TenantID, Seq: heads[i].Seq + 1, Hash: heads[i].Hash}, index, int64(n), path, root),
				"another index":  VerifyInclusion(heads[i], index+1, int64(n), path, root),
				"another root":   VerifyInclusion(heads[i], index, int64(n), path, LeafHash(heads[i])) && n > 1,
				"a longer path":  VerifyInclusion(heads[i], index, int64(n), append(slices.Clone(path), root), root),
				"a shorter path": n > 1 && VerifyInclusion(heads[i], index, int64(n), path[1:], root),
				"negative":       VerifyInclusion(heads[i], -1, int64(n), path, root),
			} {
				if proved {
					t.Errorf("%s of leaf %d of %d is proved", name, i, n)
				}
			}
		}
	}
}
