// Package fault makes one binary behave as several: what a process is to do wrong,
// and which version it says it is, is in files beside its binary. It imports
// nothing of this module, so that it is initialised before all of it.
package fault

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// The faults.
const (
	ExitBeforeHello = "exit-before-hello" // ends before it has said anything to its predecessor
	HangBeforeHello = "hang-before-hello"
	NoProtocol      = "no-protocol"    // knows nothing of upgrades
	ExitInBuild     = "exit-in-build"  // ends while the configuration is loaded
	ErrorInBuild    = "error-in-build" // refuses the configuration
	PanicInBuild    = "panic-in-build"
	HangInBuild     = "hang-in-build"
	ExitInSecond    = "exit-in-second" // ends while the configuration is loaded with the admin endpoint
	HangInSecond    = "hang-in-second"
	ExitWhenReady   = "exit-when-ready"   // ends as soon as the configuration runs with the admin endpoint
	ExitWhenServing = "exit-when-serving" // ends after the first request
	TakenPort       = "taken-port"        // listens at an address that is taken; see Argument
	WithoutApp      = "without-app"       // does not know the app any more
	FewDescriptors  = "few-descriptors"   // may have no more descriptors than Argument says
	ExitWhenOwning  = "exit-when-owning"  // ends when it has written the PID file that Argument names
)

var (
	// Name is what this process does wrong, or "".
	Name string
	// Argument is what the fault needs.
	Argument string
	// Version is which version the process says it is.
	Version = "none"
)

// Successor tells whether the process was started to take over from another.
var Successor = os.Getenv("CADDY_GIN_SUCCESSOR") != ""

func init() {
	binary, err := os.Executable()
	if err != nil {
		return
	}
	if text, err := os.ReadFile(binary + ".version"); err == nil {
		Version = strings.TrimSpace(string(text))
	}
	if text, err := os.ReadFile(binary + ".fault"); err == nil {
		Name, Argument, _ = strings.Cut(strings.TrimSpace(string(text)), " ")
	}
	if !Successor {
		Name = ""
	}
	switch Name {
	case ExitBeforeHello:
		println("fault: ending before hello")
		os.Exit(7)
	case HangBeforeHello:
		time.Sleep(time.Hour)
	case NoProtocol:
		_ = os.Unsetenv("CADDY_GIN_SUCCESSOR")
	case FewDescriptors:
		limitDescriptors(Argument)
	case ExitWhenOwning:
		go exitWhenOwning(Argument)
	}
}

// exitWhenOwning ends the process when its ID is in a file. There is one
// processor, so that nobody hears that the old process is gone before.
func exitWhenOwning(file string) {
	want := strconv.Itoa(os.Getpid()) + "\n"
	for {
		if runtime.GOMAXPROCS(0) != 1 { // Caddy sets it as well
			runtime.GOMAXPROCS(1)
		}
		if text, _ := os.ReadFile(file); string(text) == want {
			println("fault: ending as the owner of the file")
			os.Exit(7)
		}
	}
}

// Slow waits as long as there is a file beside the binary: whatever is loaded
// then takes its time.
func Slow() {
	binary, _ := os.Executable()
	for said := false; ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(binary + ".slow"); err != nil {
			return
		}
		if !said {
			println("fault: slow in build")
			said = true
		}
	}
}
