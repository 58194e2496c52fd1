package jwks

const (
	maxRevoked    = 4096 // kids that are kept; sets are far smaller
	maxRevokedKid = 1024 // bytes of such a kid
)

// revoked holds the kids that stay refused, the most recent ones. They are taken
// out of sets, not looked up for tokens, so that verifying costs nothing more.
type revoked struct {
	kids  map[string]struct{}
	order []string
}

func (r *revoked) add(kid string) {
	if _, known := r.kids[kid]; known {
		return
	}
	if len(r.order) == maxRevoked {
		delete(r.kids, r.order[0])
		r.order = r.order[1:]
	}
	if r.kids == nil {
		r.kids = map[string]struct{}{}
	}
	r.kids[kid] = struct{}{}
	r.order = append(r.order, kid)
}

// refuseKid takes a kid out of the copy at hand and of all that are fetched later,
// whenever their fetch began.
func (s *source) refuseKid(kid string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revoked.add(kid)
	if have := s.current.Load(); have != nil {
		s.current.Store(have.without(s.revoked.kids))
	}
}

// hasRevoked reports whether a kid stays refused.
func (s *source) hasRevoked(kid string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, revoked := s.revoked.kids[kid]
	return revoked
}

// without returns the copy without the keys of those kids; itself if it has none.
func (c *copied) without(kids map[string]struct{}) *copied {
	left := c.set.without(kids)
	if left == c.set {
		return c
	}
	other := *c
	other.set = left
	return &other
}

func (s *set) without(kids map[string]struct{}) *set {
	left := &set{raw: s.raw, total: s.total, max: s.max, signed: s.signed}
	for _, e := range s.entries {
		if _, gone := kids[e.id]; !gone {
			left.entries = append(left.entries, e)
		}
	}
	if len(left.entries) == len(s.entries) {
		return s
	}
	left.index()
	return left
}
