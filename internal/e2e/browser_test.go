package e2e

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// The index page of the demonstration app in a real browser, over HTTPS: the
// event stream ticks and the WebSocket echoes, before and after a reload, and
// the console has no error. CADDY_GIN_SCREENSHOT names a PNG file to write.
func TestIndexPageInABrowser(t *testing.T) {
	t.Parallel()
	chromium := testcaddy.Program(t, "chromium")
	config := testcaddy.Config{Sites: `
https://localhost:$HTTPS {
	tls internal
	log
	encode
	handle_path /app/* {
		gin hello {
			config {
				greeting one
			}
		}
	}
	gin hello
}`}
	s := testcaddy.Start(t, config)

	profile, err := os.MkdirTemp("", "chromium")
	if err != nil {
		t.Fatal(err)
	}
	// not t.TempDir: a process of Chromium may still write to it at the end
	t.Cleanup(func() { _ = os.RemoveAll(profile) })
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium),
		chromedp.NoSandbox, // the tests may run as root
		chromedp.Flag("ignore-certificate-errors", true),
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.UserDataDir(profile),
		chromedp.WindowSize(1000, 1400),
	)
	allocator, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	defer cancel()
	browser, cancel := chromedp.NewContext(allocator)
	defer cancel()
	browser, cancel = context.WithTimeout(browser, 2*time.Minute)
	defer cancel()

	var mu sync.Mutex
	var complaints []string
	chromedp.ListenTarget(browser, func(event any) {
		mu.Lock()
		defer mu.Unlock()
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			complaints = append(complaints, e.ExceptionDetails.Error())
		case *runtime.EventConsoleAPICalled:
			complaints = append(complaints, fmt.Sprintf("console.%s", e.Type))
		case *log.EventEntryAdded:
			if e.Entry.Level == log.LevelError {
				complaints = append(complaints, e.Entry.Text+" "+e.Entry.URL)
			}
		}
	})

	for _, path := range []string{"/", "/app/"} {
		err := chromedp.Run(browser,
			chromedp.Navigate(s.HTTPS(path)),
			chromedp.WaitVisible(`#ws-state.open`, chromedp.ByQuery),
			has("#events", "#2 "), // the stream goes on after its first event
			chromedp.SendKeys("#ws-input", "echo this\r", chromedp.ByQuery),
			has("#ws-log", "← echo this"),
		)
		if err != nil {
			t.Fatalf("page %s: %v", path, err)
		}
	}
	if file := os.Getenv("CADDY_GIN_SCREENSHOT"); file != "" {
		var png []byte
		if err := chromedp.Run(browser, chromedp.FullScreenshot(&png, 100)); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, png, 0o600); err != nil {
			t.Fatal(err)
		}
	}

	if err := s.Reload(config); err != nil {
		t.Fatal(err)
	}
	err = chromedp.Run(browser,
		has("#ws-log", "1001"), // closed by the old configuration
		chromedp.WaitVisible(`#ws-state.open`, chromedp.ByQuery),
		chromedp.SendKeys("#ws-input", "and this\r", chromedp.ByQuery),
		has("#ws-log", "← and this"),
		has("#events", "#1 "), // a new stream
	)
	if err != nil {
		t.Fatalf("after the reload: %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(complaints) > 0 {
		t.Errorf("the browser complains: %q", complaints)
	}
}

// has waits until the text of an element contains part.
func has(selector, part string) chromedp.Action {
	return chromedp.Poll(fmt.Sprintf(`document.querySelector(%q).textContent.includes(%q)`, selector, part), nil)
}
