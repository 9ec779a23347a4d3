package caddygin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

// exitRefused is the exit code if the admin endpoint does not answer, or
// answers with an error.
const exitRefused = 1

const (
	// answerWithin is how long the admin endpoint may take to answer a GET.
	answerWithin = 10 * time.Second

	// A GET is tried as often, and as far apart: a reload replaces the
	// endpoint, and a connection that waits meanwhile may be reset.
	getAttempts = 3
	getPause    = 100 * time.Millisecond
)

// adminClient asks the admin API of a running Caddy.
type adminClient struct {
	address, config, adapter string // the flags; resolve completes the address
	json                     bool
}

// command completes a command without arguments that asks the admin API.
func (c *adminClient) command(cmd *cobra.Command, run func(cmd *cobra.Command) (code int, err error)) *cobra.Command {
	flags := cmd.Flags()
	flags.BoolVarP(&c.json, "json", "j", false, "Print JSON")
	flags.StringVar(&c.address, "address", "", "The address to use to reach the admin API endpoint, if not the default")
	flags.StringVarP(&c.config, "config", "c", "", "Configuration file to use to parse the admin address, if --address is not used")
	flags.StringVarP(&c.adapter, "adapter", "a", "", "Name of config adapter to apply (when --config is used)")
	cmd.DisableFlagsInUseLine = true
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return exit(cmd, exitWrong, err) })
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return exit(cmd, exitWrong, fmt.Errorf("%s takes no argument, but got %q", cmd.CommandPath(), args[0]))
		}
		code, err := run(cmd)
		if code == 0 {
			return nil
		}
		return exit(cmd, code, err)
	}
	return cmd
}

// resolve finds the admin endpoint as Caddy's own commands do.
func (c *adminClient) resolve() error {
	address, err := caddycmd.DetermineAdminAPIAddress(c.address, nil, c.config, c.adapter)
	if err != nil {
		return fmt.Errorf("finding the admin endpoint: %w", err)
	}
	return c.use(address)
}

// use sets the address, if it is one.
func (c *adminClient) use(address string) error {
	if na, err := caddy.ParseNetworkAddress(address); err != nil || na.PortRangeSize() > 1 {
		return fmt.Errorf("%q is not the address of an admin endpoint, such as %s", address, caddy.DefaultAdminListen)
	}
	c.address = address
	return nil
}

// answer is what the admin API answers.
type answer struct {
	body []byte
	err  error
}

// fetch gets a path in the background. The channel yields one answer.
func (c *adminClient) fetch(path string) <-chan answer {
	answers := make(chan answer, 1)
	go func() {
		for attempt := 1; ; attempt++ {
			body, err := c.do(http.MethodGet, path, nil, nil)
			if !errors.As(err, new(noAnswerError)) || attempt == getAttempts {
				answers <- answer{body, err}
				return
			}
			time.Sleep(getPause)
		}
	}()
	return answers
}

// get gets a path, and decodes the answer into v unless that is nil.
func (c *adminClient) get(path string, v any) (body []byte, err error) {
	select {
	case a := <-c.fetch(path):
		if a.err != nil || v == nil {
			return a.body, a.err
		}
		return a.body, decodeAnswer(path, a.body, v)
	case <-time.After(answerWithin):
		return nil, c.late()
	}
}

// post posts to a path, and decodes the answer into v.
func (c *adminClient) post(path string, v any) (body []byte, err error) {
	if body, err = c.do(http.MethodPost, path, nil, nil); err != nil {
		return nil, err
	}
	return body, decodeAnswer(path, body, v)
}

func decodeAnswer(path string, body []byte, v any) error {
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("the answer of %s is not that of this version of the plugin: %w", path, err)
	}
	return nil
}

// do sends a request and returns the body of the answer. Its errors are one
// line.
func (c *adminClient) do(method, path string, header http.Header, body []byte) ([]byte, error) {
	if header == nil {
		header = make(http.Header)
	}
	header.Set("Connection", "close") // each request has a client of its own
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	resp, err := caddycmd.AdminAPIRequest(c.address, method, path, header, reader)
	if err != nil {
		return nil, c.explain(path, err.Error())
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, noAnswerError{c.address, err.Error()}
	}
	return text, nil
}

// explain makes an error of what Caddy says about a request, which it does as
// text only.
func (c *adminClient) explain(path, text string) error {
	if cause, ok := strings.CutPrefix(text, "performing request: "); ok {
		if _, after, ok := strings.Cut(cause, `": `); ok {
			cause = after // without method and URL
		}
		return noAnswerError{c.address, cause}
	}
	rest, ok := strings.CutPrefix(text, "caddy responded with error: HTTP ")
	status, body, _ := strings.Cut(rest, ": ")
	var problem struct{ Error string }
	switch {
	case !ok:
	case json.Unmarshal([]byte(body), &problem) == nil && problem.Error != "":
		text = problem.Error
	case status == "404" && strings.HasPrefix(path, "/gin/"):
		text = "the Caddy at " + c.address + " knows nothing of " + path + ": it is a binary without the plugin caddy-gin"
	default:
		text = "what answers at " + c.address + " is no admin endpoint of Caddy: HTTP " + status + " " + body
	}
	return errors.New(strings.Join(strings.Fields(text), " "))
}

// late is the error if there is no answer in time.
func (c *adminClient) late() error {
	return noAnswerError{c.address, fmt.Sprintf("nothing came within %v", answerWithin)}
}

// noAnswerError tells that the admin endpoint does not answer.
type noAnswerError struct{ address, cause string }

func (e noAnswerError) Error() string {
	return fmt.Sprintf("no Caddy answers at %s (%s): start one, or name its admin endpoint by --address or --config", e.address, e.cause)
}

// printJSON prints what the API answered, indented.
func printJSON(w io.Writer, body []byte) error {
	var text bytes.Buffer
	if err := json.Indent(&text, bytes.TrimSpace(body), "", "\t"); err != nil {
		return err
	}
	text.WriteByte('\n')
	_, err := w.Write(text.Bytes())
	return err
}

// show prints what a path answers, as JSON or by a function.
func show[T any](c *adminClient, w io.Writer, path string, render func(w io.Writer, v T) error) (code int, err error) {
	if err := c.resolve(); err != nil {
		return exitWrong, err
	}
	var v T
	body, err := c.get(path, &v)
	if err == nil && c.json {
		err = printJSON(w, body)
	} else if err == nil {
		err = render(w, v)
	}
	if err != nil {
		return exitRefused, err
	}
	return 0, nil
}
