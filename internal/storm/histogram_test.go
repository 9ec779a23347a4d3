package storm

import (
	"testing"
	"time"
)

func TestQuantilesAreNear(t *testing.T) {
	t.Parallel()
	var h, other Histogram
	if got := h.Quantile(0.5); got != 0 {
		t.Errorf("nothing has the median %v", got)
	}
	for i := range 1000 {
		h.add(time.Duration(i+1) * time.Millisecond)
	}
	h.Add(&other)
	for q, want := range map[float64]time.Duration{
		0: time.Millisecond, 0.5: 500 * time.Millisecond, 0.99: 990 * time.Millisecond, 1: time.Second,
	} {
		if got := h.Quantile(q); got > want || float64(got) < 0.96*float64(want) {
			t.Errorf("quantile %v is %v, want about %v", q, got, want)
		}
	}
	for _, d := range []time.Duration{-1, 0, 1, 31, 32, 1<<63 - 1} {
		other.add(d)
	}
	if other.Total() != 6 {
		t.Errorf("counted %d", other.Total())
	}
}
