package main

// headroomBytes is how much a process that serves may allocate between two
// garbage collections, beside what it keeps.
const headroomBytes = 64 << 20

// allocateHeadroom makes the garbage collector run less often, as long as it is held. Go
// collects when the heap has doubled (GOGC=100); a process that knows few tenants
// keeps some eight megabytes, and tokens are signed at a rate that allocates as
// much many times a second. The headroom counts as kept and is never written, so
// the system gives no memory for it. It adds the same to a full cache, which a
// higher GOGC would multiply. Whoever sets GOGC or GOMEMLIMIT, which counts
// address space, has decided otherwise: then there is none.
func allocateHeadroom(getenv func(string) string) []byte {
	if getenv("GOGC") != "" || getenv("GOMEMLIMIT") != "" {
		return nil
	}
	return make([]byte, headroomBytes)
}
