package caddygin

import (
	"bytes"
	"io"
	"os"

	"golang.org/x/term"
)

// terminalSize returns the size of a terminal in characters; 0, 0 if w is
// none.
func terminalSize(w io.Writer) (width, height int) {
	f, ok := w.(*os.File)
	if !ok {
		return 0, 0
	}
	width, height, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0, 0
	}
	return width, height
}

// terminalWidth is 0 if w is no terminal.
func terminalWidth(w io.Writer) int {
	width, _ := terminalSize(w)
	return width
}

// Control sequences of terminals.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l" // the alternate screen, without a cursor
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	home        = "\x1b[H"
	clearLine   = "\x1b[K" // from here to its end
	clearBelow  = "\x1b[J"
)

// redraw writes text over the screen of a terminal, as much as it shows.
func redraw(w io.Writer, text []byte) error {
	width, height := terminalSize(w)
	var out bytes.Buffer
	out.WriteString(home)
	lines := bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
	for i, line := range lines[:max(0, min(len(lines), height))] {
		if i > 0 {
			out.WriteByte('\n')
		}
		out.WriteString(cut(string(line), width, atEnd))
		out.WriteString(clearLine)
	}
	out.WriteString(clearBelow)
	_, err := w.Write(out.Bytes())
	return err
}
