package keystest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"sort"
)

// needles are the spellings of all secrets, by their first eight bytes.
type needles map[uint64][]string

// add says whether the spelling is a new one.
func (n needles) add(spelt string) bool {
	head := binary.LittleEndian.Uint64([]byte(spelt))
	if slices.Contains(n[head], spelt) {
		return false
	}
	n[head] = append(n[head], spelt)
	return true
}

// sieve is a set of 2^22 bits that tells most heads apart without a look into
// the map, so that the time does not grow with the number of keys.
type sieve [1 << 16]uint64

func hashSlot(head uint64) uint64 { return head * 0x9e3779b97f4a7c15 >> 42 }

func (n needles) newSieve() *sieve {
	var s sieve
	for head := range n {
		at := hashSlot(head)
		s[at>>6] |= 1 << (at & 63)
	}
	return &s
}

// searchSpool reads the spool piece by piece and names the places of secrets.
func (s *Shown) searchSpool(r io.Reader) (found []string, err error) {
	sieve := s.secrets.newSieve()
	window := make([]byte, 1<<20)
	kept := 0
	for at := int64(0); ; {
		n, err := io.ReadFull(r, window[kept:])
		text := window[:kept+n]
		for _, i := range s.secrets.findIn(text, sieve) {
			if name := s.placeAt(at + int64(i)); !slices.Contains(found, name) {
				found = append(found, name)
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return found, nil
		}
		if err != nil {
			return nil, err
		}
		// What may be the beginning of a spelling is looked at again.
		kept = copy(window, text[len(text)-longest:])
		at += int64(len(text) - kept)
	}
}

// findIn returns where in a text the needles begin.
func (n needles) findIn(text []byte, sieve *sieve) (at []int) {
	var head uint64
	for i, c := range text {
		head = head>>8 | uint64(c)<<56
		bit := hashSlot(head)
		if sieve[bit>>6]>>(bit&63)&1 == 0 || i < 7 {
			continue
		}
		for _, spelt := range n[head] {
			if bytes.HasPrefix(text[i-7:], []byte(spelt)) {
				at = append(at, i-7)
			}
		}
	}
	return at
}

// placeAt returns the name of the place at an offset of the spool.
func (s *Shown) placeAt(at int64) string {
	i := sort.Search(len(s.places), func(i int) bool { return s.places[i].from > at })
	return s.places[i-1].name
}
