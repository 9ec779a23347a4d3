package ginbridge

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// hijackFor takes a connection over whose handler closes it when the client
// does or the bridge, and returns a channel that gets the time of that.
func hijackFor(t *testing.T, g *Generation, delay time.Duration) <-chan time.Time {
	t.Helper()
	conn, client := net.Pipe()
	t.Cleanup(func() { _ = client.Close() })
	ended := make(chan time.Time, 1)
	tracked := mountIn(g, delay).trackHijack(conn)
	go func() {
		_, _ = io.Copy(io.Discard, tracked)
		ended <- time.Now()
		_ = tracked.Close()
	}()
	return ended
}

func TestStreamsEndAtEqualIntervalsWithinTheDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app, _ := newTestApp(t)
		var streams, others []<-chan time.Time
		for range 20 {
			streams = append(streams, hijackFor(t, app.gen, 2*time.Second))
		}
		for range 5 {
			others = append(others, hijackFor(t, app.gen, 10*time.Minute))
		}
		unlimited := hijackFor(t, app.gen, 0)
		app.gen.Start(alive)
		app.gen.Retire(false, 0)

		drained := time.Now()
		after := func(ends []<-chan time.Time) (all []time.Duration) {
			for _, ended := range ends {
				all = append(all, (<-ended).Sub(drained))
			}
			slices.Sort(all)
			return all
		}
		for i, got := range after(streams) {
			if want := time.Duration(i+1) * 75 * time.Millisecond; got != want { // of 1.5 seconds
				t.Errorf("stream %d ended after %v, want %v", i, got, want)
			}
		}
		for i, got := range after(others) {
			if want := time.Duration(i+1) * (10*time.Minute - 5*time.Second) / 5; got != want {
				t.Errorf("other stream %d ended after %v, want %v", i, got, want)
			}
		}
		time.Sleep(24 * time.Hour)
		select {
		case <-unlimited:
			t.Error("a stream without a delay ended")
		default:
		}
		if isReleased(app.gen) {
			t.Error("released under a stream")
		}
	})
}

func TestStreamThatBeginsLateEndsNoLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const delay = 20 * time.Second
		app, _ := newTestApp(t)
		app.gen.Acquire()
		app.gen.Start(alive)
		app.gen.Retire(false, 0)
		drained := time.Now()

		var ends []<-chan time.Time
		for range 50 {
			time.Sleep(100 * time.Millisecond)
			ends = append(ends, hijackFor(t, app.gen, delay))
		}
		begun := time.Now()
		distinct := make(map[time.Time]bool)
		for _, ended := range ends {
			at := <-ended
			distinct[at] = true
			if at.After(drained.Add(delay)) {
				t.Errorf("it ended %v after the start of draining", at.Sub(drained))
			}
		}
		if !begun.Before(drained.Add(delay)) || len(distinct) < len(ends)/2 {
			t.Errorf("%d streams ended at %d times only", len(ends), len(distinct))
		}

		time.Sleep(time.Minute)
		now := time.Now()
		if at := <-hijackFor(t, app.gen, delay); at.Sub(now) > time.Second {
			t.Errorf("one that began after the delay went on for %v", at.Sub(now))
		}
		app.gen.Release()
		awaitRelease(t, app.gen)
	})
}

func TestAnswerThatDoesNotEndIsCut(t *testing.T) {
	for _, polite := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			app, _ := newTestApp(t)
			server, client := net.Pipe()
			ctx, cancel := context.WithCancelCause(t.Context())
			a := &answer{stream: stream{mount: mountIn(app.gen, 8*time.Second)}, cancel: cancel, conn: server}
			a.stop = a.ask
			app.gen.enter(request)
			a.begin()
			app.gen.Start(alive)
			app.gen.Retire(false, 0)

			drained := time.Now()
			<-ctx.Done()
			if got := time.Since(drained); got != 6*time.Second || !errors.Is(context.Cause(ctx), errReplaced) {
				t.Errorf("the context ended after %v: %v", got, context.Cause(ctx))
			}
			if polite {
				a.finish()
				app.gen.leave(request)
			}
			_ = client.SetReadDeadline(drained.Add(time.Hour))
			_, err := client.Read(make([]byte, 1))
			switch got := time.Since(drained); {
			case polite && got != time.Hour:
				t.Errorf("the connection was closed after %v though the handler returned", got)
			case !polite && (got != 8*time.Second || !errors.Is(err, io.EOF)):
				t.Errorf("the connection ended after %v: %v", got, err)
			}
			if !polite {
				a.finish()
				app.gen.leave(request)
			}
			awaitRelease(t, app.gen)
		})
	}
}

func TestEndlessAnswers(t *testing.T) {
	for _, test := range []struct {
		method, contentType string
		want                string
	}{
		{http.MethodGet, "text/event-stream", eventStream},
		{http.MethodPost, "Text/Event-Stream ; charset=utf-8", eventStream},
		{http.MethodGet, "text/event-stream-not", ""},
		{http.MethodGet, "application/octet-stream", ""},
		{http.MethodGet, "", ""},
		{http.MethodConnect, "", connect},
	} {
		if got := endless(test.method, http.Header{"Content-Type": {test.contentType}}); got != test.want {
			t.Errorf("%s %q: got %q", test.method, test.contentType, got)
		}
	}
}

func TestGenerationWithStreamsIsListedAndLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app, logs := newTestApp(t)
		app.gen.mounts = []*Mount{{app: app}, {app: &App{name: "another"}}, {app: app}}
		ended := hijackFor(t, app.gen, time.Minute)
		a := &answer{stream: stream{mount: mountIn(app.gen, 0)}}
		app.gen.enter(request)
		a.begin()
		app.gen.enter(request)
		app.gen.Acquire()
		app.gen.Start(alive)

		find := func() (GenerationInfo, bool) {
			for _, info := range Generations() {
				if info.ID == app.gen.ID() {
					return info, true
				}
			}
			return GenerationInfo{}, false
		}
		info, _ := find()
		if info.Requests != 2 || info.Streams != 1 || info.Hijacked != 1 || !info.Drained.IsZero() {
			t.Errorf("got %+v", info)
		}
		if want := []string{"another", "test"}; !slices.Equal(info.Apps, want) {
			t.Errorf("got the apps %q, want %q", info.Apps, want)
		}
		app.gen.Retire(false, 0)
		drained := time.Now()
		<-ended
		app.gen.leave(request)
		app.gen.Release()
		info, _ = find()
		if info.Requests != 1 || info.Streams != 1 || info.Hijacked != 0 || !info.Drained.Equal(drained) {
			t.Errorf("got %+v", info)
		}
		a.finish()
		app.gen.leave(request)
		awaitRelease(t, app.gen)
		if info, listed := find(); listed {
			t.Errorf("%+v is listed after its release", info)
		}

		entries := logs.FilterMessage("an earlier configuration still has streams or requests").All()
		if len(entries) != 1 || entries[0].Time.Sub(drained) != settle {
			t.Fatalf("got the entries %v", entries)
		}
		for name, want := range map[string]int64{"hijacked": 1, "streams": 1, "requests": 2} {
			if got := entries[0].ContextMap()[name]; got != want {
				t.Errorf("%s is %v, want %d", name, got, want)
			}
		}
		if n := logs.FilterMessage("the last streams and requests of an earlier configuration have ended").Len(); n != 1 {
			t.Errorf("%d entries about the end, want 1", n)
		}
	})
}

func TestGenerationWithoutStreamsIsNotLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app, logs := newTestApp(t)
		app.gen.Acquire() // an idle connection
		app.gen.Start(alive)
		app.gen.Retire(false, 0)
		time.Sleep(time.Minute)
		app.gen.Release()
		awaitRelease(t, app.gen)
		if logs.Len() > 0 {
			t.Errorf("got the entries %v", logs.All())
		}
	})
}

// The log goes on telling of a generation that drains for long, less and less
// often.
func TestLogTellsOfDrainingNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app, logs := newTestApp(t)
		app.gen.enter(request)
		app.gen.Start(alive)
		app.gen.Retire(false, 0)
		drained := time.Now()
		time.Sleep(4 * time.Hour)
		app.gen.leave(request)
		awaitRelease(t, app.gen)
		var got []time.Duration
		for _, e := range logs.FilterMessage("an earlier configuration still has streams or requests").All() {
			got = append(got, e.Time.Sub(drained)-settle)
		}
		var want []time.Duration
		for _, minutes := range []int{0, 1, 3, 7, 15, 31, 63, 123, 183} {
			want = append(want, time.Duration(minutes)*time.Minute)
		}
		if !slices.Equal(got, want) {
			t.Errorf("got entries after %v, want %v", got, want)
		}
	})
}
