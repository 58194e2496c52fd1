package main

// headroomBytes is the amount a serving process may allocate between two
// garbage collections, beyond its live heap. More saves little processor time, and makes
// a process touch more memory than the caches of small machines hold.
const headroomBytes = 8 << 20

// allocateHeadroom returns memory that makes the garbage collector run less
// often while it is reachable. Go collects when the heap has doubled
// (GOGC=100); a process with few tenants has a live heap of about 4 MB, and
// signing allocates as much many times a second. The memory counts as live and
// is never written, so the system does not back it. A full cache grows by the
// same amount only, unlike with a higher GOGC. It returns nil if GOGC or
// GOMEMLIMIT, which counts address space, is set.
func allocateHeadroom(getenv func(string) string) []byte {
	if getenv("GOGC") != "" || getenv("GOMEMLIMIT") != "" {
		return nil
	}
	return make([]byte, headroomBytes)
}
