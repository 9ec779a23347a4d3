package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// corpusCase is a request, as bytes.
type corpusCase struct {
	request string
	then    string // sent after the 100 Continue, if one comes
	note    string // tells cases with the same request line apart

	// framing says that the sizes of the chunks may differ: Caddy's writer
	// passes on at most 64 KiB at a time, so as to reset its idle timeout, and
	// has no WriteString, for which net/http makes smaller chunks; and a proxy
	// passes on what it happens to have read.
	framing bool

	// silent says that no answer is the right one.
	silent bool
}

// corpusHost is the app that a case is for; other hosts are written out.
const corpusHost = "all.test"

// corpusGet returns a case with any method without a body. target begins
// with the method.
func corpusGet(target string, header ...string) corpusCase {
	host := "Host: " + corpusHost + "\r\n"
	for _, h := range header {
		if strings.HasPrefix(h, "Host: ") {
			host = ""
		}
	}
	return corpusCase{
		request: target + " HTTP/1.1\r\n" + host + strings.Join(append(header, ""), "\r\n") + "\r\n",
		note:    strings.Join(header, ", "),
	}
}

// corpusPost returns a case with a body.
func corpusPost(path, contentType, body string, header ...string) corpusCase {
	c := corpusGet("POST "+path, append(header, "Content-Type: "+contentType, "Content-Length: "+strconv.Itoa(len(body)))...)
	c.note = strings.Join(header, ", ") + " " + body
	c.request += body
	return c
}

func (c corpusCase) name() string {
	line, _, _ := strings.Cut(c.request, " HTTP/1")
	if note := strings.TrimSpace(c.note); note != "" {
		line += " " + note[:min(len(note), 60)]
	}
	return strings.ReplaceAll(line, "/", "|") // or the test would seem to be a tree
}

// corpusPatience bounds an exchange.
const corpusPatience = 30 * time.Second

// corpusLast is a request that shows whether the connection still serves.
const corpusLast = "GET /string HTTP/1.1\r\nHost: " + corpusHost + "\r\nConnection: close\r\n\r\n"

// exchange makes the request and one more on the same connection, and returns
// all bytes that came back, without what may differ.
func (c corpusCase) exchange(t *testing.T, address string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(corpusPatience))
	sent := make(chan struct{})
	go func() { // the server may answer before it has read all
		defer close(sent)
		_, _ = io.WriteString(conn, c.request)
	}()

	var record bytes.Buffer
	in := bufio.NewReader(io.TeeReader(conn, &record))
	method, _, _ := strings.Cut(c.request, " ")
	var body []byte
	for range 5 { // informational answers, and the final one
		resp, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil {
			break // there is nothing more
		}
		body, _ = io.ReadAll(resp.Body) // an answer may be cut off
		if resp.StatusCode >= 200 {
			break
		}
		if resp.StatusCode == http.StatusContinue {
			<-sent
			_, _ = io.WriteString(conn, c.then)
		}
	}
	<-sent
	_, _ = io.WriteString(conn, corpusLast) // fails if the connection is closed
	if _, err := io.Copy(io.Discard, in); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%s neither answers nor closes the connection", address)
	}
	answer := corpusMask(record.String())
	if c.framing {
		head, _, _ := strings.Cut(answer, "\r\n\r\n")
		return head + "\n\n" + string(body)
	}
	return answer
}

var (
	corpusMayDiffer = regexp.MustCompile(`(?m)^(?:Date|Server): .*\r\n`)
	corpusClose     = regexp.MustCompile(`(?m)^Connection: close\r\n((?:[-A-Za-z]+: .*\r\n)+)`)
	corpusBoundary  = regexp.MustCompile(`boundary=([0-9a-f]{60})`)
)

// corpusMask takes out what differs between any two answers. It moves
// "Connection: close" to the end of the header: a handler's own comes in
// alphabetical order, that of net/http's last.
func corpusMask(answer string) string {
	answer = corpusMayDiffer.ReplaceAllString(answer, "")
	answer = corpusClose.ReplaceAllString(answer, "${1}Connection: close\r\n")
	for _, found := range corpusBoundary.FindAllStringSubmatch(answer, -1) {
		answer = strings.ReplaceAll(answer, found[1], "(random)")
	}
	return answer
}

// corpusShow makes an answer fit to be read.
func corpusShow(answer string) string {
	const most = 3000
	if len(answer) > most {
		answer = answer[:most/2] + "\n[…]\n" + answer[len(answer)-most/2:]
	}
	lines := strings.SplitAfter(answer, "\n")
	for i, line := range lines {
		lines[i] = "\t" + strconv.Quote(line)
	}
	return strings.Join(lines, "\n")
}
