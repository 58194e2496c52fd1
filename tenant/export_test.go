package tenant

import "github.com/google/uuid"

// Kept counts the credentials in memory.
func (s *Store) Kept() int {
	s.credentials.mu.Lock()
	defer s.credentials.mu.Unlock()
	return len(s.credentials.entries)
}

// Cached bounds them.
const Cached = cached

// Flood keeps n made-up credentials.
func (s *Store) Flood(n int) {
	for range n {
		id := uuid.New()
		read := s.credentials.begin()
		read.keep(id, credential{}, id, s.now())
		read.end()
	}
}

// ReadDuring reads a credential while change runs, and says whether it is
// kept.
func (s *Store) ReadDuring(key, home uuid.UUID, change func()) bool {
	read := s.credentials.begin()
	defer read.end()
	change()
	return read.keep(key, credential{}, home, s.now())
}
