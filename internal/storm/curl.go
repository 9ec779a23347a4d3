package storm

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// curlFormat is what curl writes after each answer.
const curlFormat = `\t%{exitcode}\t%{http_code}\t%{http_version}\t%{num_connects}\t%{time_total}\t%{size_download}\t%{errormsg}\n`

// curl lets curl make one request after the other. Curl by itself repeats a
// request if a connection that it used before ends without an answer; such a
// connection counts as closed by the server.
func (c *client) curl(ctx context.Context) {
	for first := true; ctx.Err() == nil && (first || !c.run.ending()); first = false {
		if err := c.curlOnce(ctx); err != nil {
			c.fail(ctx, err)
		}
	}
}

// curlOnce runs curl until the end of the load.
func (c *client) curlOnce(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	path, args, format, check := "/greeting?", []string{}, curlFormat, func(body, _ string) bool { return isGreeting(body) }
	switch c.load.Behaviour {
	case Post:
		text := fmt.Sprintf("order %d", c.rand.Uint64())
		path, args = "/echo?", []string{"--data-binary", text}
		check = func(body, _ string) bool { return body == text }
	case Download:
		path = fmt.Sprintf("/bytes?n=%d&", download)
		format = "%{stderr}" + curlFormat // what goes to the standard output waits there for more, without a body
		args = []string{"--output", "/dev/null", "--limit-rate", strconv.Itoa(int(download * time.Second / (pieces * pause)))}
		check = func(_, size string) bool { return size == strconv.Itoa(download) }
	}
	_, port, _ := strings.Cut(c.load.Address, ":")
	args = append(args, "--disable", "--silent", "--no-buffer", "--insecure", "--http2", "--ipv4", "--max-time", strconv.Itoa(int(patience.Seconds())),
		"--write-out", format, "--resolve", host+":"+port+":127.0.0.1", "https://"+host+":"+port+path+"[1-100000000]")
	cmd := exec.CommandContext(ctx, "curl", args...)
	pipe := cmd.StdoutPipe
	if c.load.Behaviour == Download {
		pipe = cmd.StderrPipe
	}
	out, err := pipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	lines := bufio.NewReader(out)
	for n := 0; ; n++ {
		last := c.run.ending()
		line, err := lines.ReadString('\n')
		if err == nil {
			c.curlLine(ctx, line, n, check)
			c.run.ready(c)
			if !last {
				continue
			}
		}
		cancel()
		_, _ = io.Copy(io.Discard, lines)
		if ended := cmd.Wait(); err != nil {
			return fmt.Errorf("curl ended: %w, %w", err, ended)
		}
		return nil
	}
}

// curlLine notes one request; n is its number.
func (c *client) curlLine(ctx context.Context, line string, n int, check func(body, size string) bool) {
	result := c.pool.result
	f := strings.SplitN(strings.TrimSuffix(line, "\n"), "\t", 8)
	if len(f) != 8 {
		c.fail(ctx, wrongBody("got %.40q", line))
		return
	}
	body, code, status, version, connects, seconds, size := f[0], f[1], f[2], f[3], f[4], f[5], f[6]
	if connects != "0" {
		result.count(&result.Opened)
		if n > 0 {
			result.count(&result.ClosedByServer)
		}
	}
	latency, _ := strconv.ParseFloat(seconds, 64)
	switch {
	case code != "0":
		c.fail(ctx, &curlError{code, f[7]})
	case status != "200":
		c.fail(ctx, &statusError{status, []byte(body)})
	case version != "2":
		c.fail(ctx, wrongBody("answered by HTTP/%s", version))
	case !check(body, size):
		c.fail(ctx, wrongBody("got %s bytes, %.40q", size, body))
	default:
		c.answered(time.Duration(latency * float64(time.Second)))
	}
}

// curlError is an exit code of curl.
type curlError struct{ code, message string }

func (e *curlError) Error() string { return fmt.Sprintf("curl error %s: %s", e.code, e.message) }

func (e *curlError) kind() Kind {
	switch e.code {
	case "7":
		return Refused
	case "28":
		return Timeout
	case "52":
		return EOF
	case "35", "55", "56":
		return Reset
	case "18":
		return Body
	case "16", "92":
		return Stream
	}
	return Other
}
