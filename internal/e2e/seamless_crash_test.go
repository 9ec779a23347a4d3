package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/caddy-gin/caddy-gin/internal/testcaddy"
)

// What a process that was killed in a reload leaves behind is in nobody's way.
func TestSeamlessServesAgainAfterAKillInAReload(t *testing.T) {
	t.Parallel()
	files := seamMakeFiles(t)
	const bind = "unixsock/$DIR/app.sock"
	for range 5 {
		s := testcaddy.Start(t, seamBoth(files, bind, "1"))
		at, over := seamWay(s, bind, "http"), seamWay(s, bind, "h2")
		seamServes(t, at, "/value", "1")
		loading := make(chan struct{})
		go func() {
			defer close(loading)
			for s.Reload(seamBoth(files, bind, "2")) == nil {
				continue
			}
		}()
		n := len(s.Log())
		testcaddy.Eventually(t, "a reload", func() bool { return len(s.Log()) > n+10 })
		s.Signal(os.Kill)
		<-s.Exited()
		<-loading

		again := seamAgain(t, s)
		testcaddy.Eventually(t, "the next process", func() bool {
			c, err := at.dial()
			if err == nil {
				_ = c.Close()
			}
			return err == nil
		})
		seamServes(t, at, "/value", "1")
		testcaddy.Eventually(t, "the other socket", func() bool {
			c, err := over.dial()
			if err == nil {
				_ = c.Close()
			}
			return err == nil
		})
		seamServes(t, over, "/value", "1")
		_ = again.Process.Signal(os.Interrupt)
		if err := again.Wait(); err != nil {
			t.Errorf("the next process: %v", err)
		}
		wantNoFile(t, at.address)
	}
}

// seamAgain starts a server's configuration once more, with its files.
func seamAgain(t testing.TB, s *testcaddy.Server) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(testcaddy.Binary(t), "run", "--config", filepath.Join(s.Dir, "Caddyfile"))
	cmd.Dir = s.Dir
	cmd.Env = append(os.Environ(), "HOME="+s.Dir, "XDG_DATA_HOME="+s.Dir, "XDG_CONFIG_HOME="+s.Dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd
}
