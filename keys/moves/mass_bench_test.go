package moves

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkMassRotation lets the worker rotate policies that are all due at
// once, in its own batches.
func BenchmarkMassRotation(b *testing.B) {
	p := newProcess(b)
	for b.Loop() {
		b.StopTimer()
		const tenants = 1000
		for i := range tenants {
			p.tenant(b, fmt.Sprintf("t%d-%d", time.Now().UnixNano(), i))
		}
		p.clock.Advance(31 * 24 * time.Hour)
		b.StartTimer()
		began := time.Now()
		rotated := 0
		for {
			done, err := p.store.RunDue(b.Context(), robot, 500)
			if err != nil {
				b.Fatal(err)
			}
			if rotated += done.Rotated; done.Tenants == 0 {
				break
			}
		}
		b.ReportMetric(float64(rotated)/time.Since(began).Seconds(), "rotations/s")
	}
}

// BenchmarkCreateTenant makes tenants one after the other.
func BenchmarkCreateTenant(b *testing.B) {
	p := newProcess(b)
	for i := 0; b.Loop(); i++ {
		p.tenant(b, fmt.Sprintf("t%d-%d", time.Now().UnixNano(), i))
	}
}
