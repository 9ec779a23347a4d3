package caddygin

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

// watchListeners prints sockets again and again until it is interrupted. If
// there is no first answer, it gives up.
func watchListeners(c *adminClient, w io.Writer, interval time.Duration) (code int, err error) {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := c.resolve(); err != nil {
		return exitWrong, err
	}
	body, err := c.get("/gin/listeners", nil)
	if err != nil {
		return exitRefused, err
	}
	watch := listenersWatch{w: w, json: c.json, screen: terminalWidth(w) > 0 && !c.json}
	if watch.screen {
		_, _ = io.WriteString(w, enterScreen)
		defer func() { _, _ = io.WriteString(w, leaveScreen) }()
	}
	now := answer{body: body}
	var pending <-chan answer // the request that has no answer yet; only one at a time
	for {
		if err := watch.draw(now); err != nil {
			return exitRefused, err
		}
		select {
		case <-ctx.Done():
			return 0, nil
		case <-time.After(interval):
		}
		if pending == nil {
			pending = c.fetch("/gin/listeners")
		}
		select {
		case <-ctx.Done():
			return 0, nil
		case now = <-pending:
			pending = nil
		case <-time.After(answerWithin):
			now = answer{err: c.late()}
		}
	}
}

// listenersWatch draws sockets with the rates since it drew them last.
type listenersWatch struct {
	w        io.Writer
	json     bool
	screen   bool // the output is a terminal, and the list is drawn over the one before
	drawn    bool
	at       time.Time         // when it drew last
	accepted map[string]uint64 // at that time, by socketName
}

func (l *listenersWatch) draw(a answer) error {
	var text bytes.Buffer
	if l.drawn && !l.screen && !l.json {
		text.WriteByte('\n')
	}
	l.drawn = true
	if err := l.print(&text, a); err != nil {
		l.accepted = nil
		if !l.json { // as JSON, there is nothing to be said
			text.WriteString(time.Now().Format(time.TimeOnly) + " " + err.Error() + "\n")
		}
	}
	if l.screen {
		return redraw(l.w, text.Bytes())
	}
	_, err := l.w.Write(text.Bytes())
	return err
}

// print prints an answer; w gets nothing if there is none.
func (l *listenersWatch) print(w io.Writer, a answer) error {
	var info listenersInfo
	switch {
	case a.err != nil:
		return a.err
	case l.json:
		return printJSON(w, a.body)
	}
	if err := decodeAnswer("/gin/listeners", a.body, &info); err != nil {
		return err
	}
	return printListeners(w, info, l.rates(info), terminalWidth(l.w))
}

// rates returns the function that tells how many connections a socket has
// accepted per second since the call before; "-" if that is not known.
func (l *listenersWatch) rates(info listenersInfo) func(socketInfo) string {
	now := time.Now()
	seconds, before := now.Sub(l.at).Seconds(), l.accepted
	l.at, l.accepted = now, make(map[string]uint64)
	for _, s := range info.Listeners {
		if s.Connections != nil {
			l.accepted[socketName(s)] = s.Accepted
		}
	}
	return func(s socketInfo) string {
		n, known := before[socketName(s)]
		if !known || s.Accepted < n {
			return "-"
		}
		return strconv.FormatFloat(float64(s.Accepted-n)/seconds, 'f', 1, 64)
	}
}

func socketName(s socketInfo) string { return s.Transport + " " + s.Bound + " " + s.Asked }
