package caddygin

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// column is one of a table.
type column struct {
	name    string
	right   bool // aligned to the right, as numbers are
	shorten shorten
}

// shorten says where a column may lose text if the table is too wide.
type shorten int

const (
	never shorten = iota
	atStart
	atEnd
)

// shortest is what a column keeps when it is shortened, in characters.
const shortest = 12

// table is text in columns that are as wide as their widest cell. A column
// without any text is left out.
type table struct {
	columns []column
	rows    [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// write writes the table so that it is not wider than a number of characters,
// as far as its columns may be shortened; 0 is any width.
func (t *table) write(w io.Writer, width int) error {
	widths := t.widths(width)
	out := bufio.NewWriter(w)
	var names []string
	for _, c := range t.columns {
		names = append(names, c.name)
	}
	t.writeRow(out, widths, names)
	for _, row := range t.rows {
		t.writeRow(out, widths, row)
	}
	return out.Flush()
}

const gap = 2 // spaces between columns

func (t *table) widths(limit int) []int {
	widths := make([]int, len(t.columns))
	total := -gap
	for i, c := range t.columns {
		for _, row := range t.rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
		if widths[i] > 0 {
			widths[i] = max(widths[i], len(c.name))
			total += widths[i] + gap
		}
	}
	for i := len(widths) - 1; i >= 0 && limit > 0 && total > limit; i-- {
		if t.columns[i].shorten != never && widths[i] > shortest {
			less := min(total-limit, widths[i]-shortest)
			widths[i] -= less
			total -= less
		}
	}
	return widths
}

func (t *table) writeRow(w *bufio.Writer, widths []int, cells []string) {
	pad := 0 // spaces that are due before the next cell
	for i, width := range widths {
		if width == 0 {
			continue
		}
		cell := cut(cells[i], width, t.columns[i].shorten)
		fill := width - utf8.RuneCountInString(cell)
		if t.columns[i].right {
			pad, fill = pad+fill, 0
		}
		if cell != "" {
			_, _ = w.WriteString(strings.Repeat(" ", pad))
			_, _ = w.WriteString(cell)
			pad = 0
		} else {
			fill = width
		}
		pad += fill + gap
	}
	_ = w.WriteByte('\n')
}

// cut shortens text to a number of characters.
func cut(text string, width int, where shorten) string {
	if utf8.RuneCountInString(text) <= width {
		return text
	}
	chars := []rune(text)
	over := len(chars) - width + 1 // with the ellipsis
	if where == atStart {
		return "…" + string(chars[over:])
	}
	return string(chars[:len(chars)-over]) + "…"
}

// shortDuration writes a duration with two digits, from a minute on to the
// second, from an hour to the minute, from two days to the hour.
func shortDuration(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d >= 2*day:
		return fmt.Sprintf("%dd%dh", d/day, d%day/time.Hour)
	case d >= time.Hour:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	case d >= time.Minute:
		return d.Round(time.Second).String()
	}
	unit := time.Nanosecond
	for d/unit >= 100 {
		unit *= 10
	}
	return d.Round(unit).String()
}

// age writes how long ago a moment was; it is empty for no moment.
func age(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return shortDuration(max(0, time.Since(t)))
}
