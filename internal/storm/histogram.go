package storm

import (
	"encoding/json"
	"math/bits"
	"time"
)

// Histogram counts durations, with an error of 3% at most. The zero value is
// an empty histogram. It is not safe for concurrent use.
type Histogram struct {
	counts [64 * perOctave]int64
	total  int64
}

// perOctave is the number of buckets from one power of two nanoseconds to the
// next.
const perOctave = 32

func bucket(d time.Duration) int {
	n := uint64(max(d, perOctave))
	octave := bits.Len64(n) - 1
	return octave*perOctave + int(n>>(octave-5))%perOctave
}

func (h *Histogram) add(d time.Duration) {
	h.counts[bucket(d)]++
	h.total++
}

// Add adds what another histogram counted.
func (h *Histogram) Add(other *Histogram) {
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.total += other.total
}

// Total is the number of durations.
func (h *Histogram) Total() int64 { return h.total }

// Quantile returns the duration that the share q of all did not exceed, from 0
// to 1, or 0 for an empty histogram.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.total == 0 {
		return 0
	}
	left := int64(q * float64(h.total-1))
	for i, n := range h.counts {
		if left -= n; left < 0 {
			octave := i / perOctave
			return time.Duration(uint64(perOctave+i%perOctave) << octave >> 5)
		}
	}
	panic("unreachable")
}

// MarshalJSON writes the number of durations and two of their quantiles, in
// seconds.
func (h *Histogram) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Total int64   `json:"total"`
		P50   float64 `json:"p50"`
		P99   float64 `json:"p99"`
	}{h.total, h.Quantile(0.5).Seconds(), h.Quantile(0.99).Seconds()})
}
