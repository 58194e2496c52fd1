package main

import (
	"fmt"
	"time"
)

// checksum keeps the compiler from leaving out the reads.
var checksum byte

// printMemory says what a read of one byte a page costs with working sets of several
// sizes. On some machines it costs a hundred times as much beyond a few megabytes, and
// what a server touches between two collections decides there.
func printMemory() {
	const page = 4 << 10
	fmt.Print("memory, ns to read a byte of a page:")
	for _, megabytes := range []int{4, 16, 32, 64, 128} {
		block := make([]byte, megabytes<<20)
		for i := range block {
			block[i] = byte(i)
		}
		sum, reads := byte(0), 0
		begun := time.Now()
		for time.Since(begun) < 300*time.Millisecond {
			for i := 0; i < len(block); i += page {
				sum += block[i]
				reads++
			}
		}
		checksum += sum
		fmt.Printf(" %d MB: %.0f;", megabytes, float64(time.Since(begun).Nanoseconds())/float64(reads))
	}
	fmt.Println()
}
