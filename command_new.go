package caddygin

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"go/version"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"text/template"

	"github.com/spf13/cobra"

	"github.com/caddy-gin/caddy-gin/ginbridge"
)

// modulePath is the path of this module.
const modulePath = "github.com/caddy-gin/caddy-gin"

// starter has the files of `caddy gin new` as templates of a starterData.
//
//go:embed starter
var starter embed.FS

// starterData is what the templates get.
type starterData struct {
	Name    string // of the app
	Module  string // path
	Go      string // version, or ""
	Version string // of this module, or "" for the latest
	Replace string // folder of this module as go.mod has it, or ""
}

// newOptions are the flags of `caddy gin new`.
type newOptions struct{ module, replace string }

func newCommand() *cobra.Command {
	var o newOptions
	cmd := &cobra.Command{
		Use:   "new [--module <path>] [--replace <folder>] <name>",
		Short: "Writes a small app with a test, to begin with",
		Long: `
Makes a folder with the name of the app, and in it a Go module with a Gin app, a
test of it, a Caddy that has it built in, and a Caddyfile that serves it on
http://localhost:8080.

The folder must not exist, or be empty. The name is that of the app in a
Caddyfile, too: lower-case letters, digits, "_" and "-", starting with a letter.

The module requires the version of caddy-gin that this program has; if that is
not a released one, "go mod tidy" takes the latest. With --replace it is built
with the checkout of caddy-gin in a folder instead.

Exit codes:
  0  the app is written
  1  it could not be written, or there is something in the folder
  2  the name is wrong, or a flag
`,
		Example: `  $ caddy gin new shop
  $ caddy gin new --module example.com/shop shop
  $ caddy gin new --replace ../caddy-gin shop`,
		RunE: func(cmd *cobra.Command, args []string) error {
			code, err := o.run(cmd, args)
			if code == 0 {
				return nil
			}
			return exit(cmd, code, err)
		},
		DisableFlagsInUseLine: true,
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.module, "module", "m", "", "Path of the Go module (default the name)")
	flags.StringVarP(&o.replace, "replace", "r", "", "Folder of a checkout of caddy-gin to build with")
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return exit(cmd, exitWrong, err) })
	return cmd
}

func (o newOptions) run(cmd *cobra.Command, args []string) (int, error) {
	if len(args) != 1 {
		return exitWrong, fmt.Errorf("want one name, not %d: caddy gin new shop", len(args))
	}
	data, err := o.data(args[0])
	if err != nil {
		return exitWrong, err
	}
	if err := writeStarter(data); err != nil {
		return exitBlocked, err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), `The app is in the folder %[1]s. Next:

    cd %[1]s && go mod tidy
    go test ./...
    go run . run --watch

and open http://localhost:8080/hello/you
`, data.Name)
	if err != nil {
		return exitBlocked, err
	}
	return 0, nil
}

// moduleName is what Go accepts, or nearly so; "go mod tidy" knows the rest.
var moduleName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._~-]*(/[A-Za-z0-9._~-]+)*$`)

// notModules are names that Go has uses of its own for, as the first element
// of a module's path.
var notModules = strings.Fields(`
	archive bufio builtin bytes cmd cmp compress container context crypto database
	debug embed encoding errors expvar flag fmt go hash html image index internal io
	iter log main maps math mime net os path plugin reflect regexp runtime slices sort
	std strconv strings structs sync syscall testing text time toolchain unicode unique
	unsafe vendor weak`)

// data checks the name and the flags.
func (o newOptions) data(name string) (starterData, error) {
	data := starterData{Name: name, Module: o.module}
	if !ginbridge.ValidName(name) {
		return data, fmt.Errorf("name %q: use lower-case letters, digits, '_' and '-', starting with a letter", name)
	}
	if data.Module == "" {
		data.Module = name
	}
	first, _, _ := strings.Cut(data.Module, "/")
	if !moduleName.MatchString(data.Module) || slices.Contains(notModules, first) {
		return data, fmt.Errorf("%q cannot be the path of a Go module; set one such as --module example.com/%s", data.Module, name)
	}
	data.Go, data.Version = builtWith()
	if o.replace == "" {
		return data, nil
	}
	dir, err := filepath.Abs(o.replace)
	if err != nil {
		return data, fmt.Errorf("--replace: %w", err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		return data, fmt.Errorf("--replace: %w", err)
	}
	if !bytes.HasPrefix(text, []byte("module "+modulePath)) {
		return data, fmt.Errorf("--replace: %s is not a checkout of %s", dir, modulePath)
	}
	data.Version, data.Replace = "v0.0.0", strconv.Quote(filepath.ToSlash(dir))
	return data, nil
}

// builtWith returns the versions of Go and of this module that the program is
// made of, as go.mod has them, or "".
func builtWith() (goVersion, moduleVersion string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "", ""
	}
	if lang := version.Lang(info.GoVersion); lang != "" {
		goVersion = strings.TrimPrefix(lang, "go") + ".0"
	}
	for _, m := range append(info.Deps, &info.Main) {
		// what was built from a folder has no version that can be downloaded
		if m.Path == modulePath && m.Replace == nil && strings.HasPrefix(m.Version, "v") && !strings.Contains(m.Version, "+") {
			moduleVersion = m.Version
		}
	}
	return goVersion, moduleVersion
}

// writeStarter writes the files to the folder data.Name. It changes no file
// that is there, and leaves nothing behind if it fails.
func writeStarter(data starterData) (err error) {
	switch entries, err := os.ReadDir(data.Name); {
	case err == nil && len(entries) > 0:
		return fmt.Errorf("the folder %s is not empty: it has %s", data.Name, entries[0].Name())
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	var made []string
	defer func() {
		if err != nil {
			for _, name := range slices.Backward(made) {
				_ = os.Remove(name)
			}
		}
	}()
	return fs.WalkDir(starter, "starter", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := data.target(name)
		if entry.IsDir() {
			switch err := os.Mkdir(target, 0o777); {
			case err == nil:
				made = append(made, target)
			case !errors.Is(err, fs.ErrExist):
				return err
			}
			return nil
		}
		text, err := template.ParseFS(starter, name)
		if err != nil {
			return err
		}
		file, err := os.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if err != nil {
			return err
		}
		made = append(made, target)
		return errors.Join(text.Execute(file, data), file.Close())
	})
}

// targets are the embedded files that have another name here, as tools would
// take them for files of this repository.
var targets = map[string]string{"caddyfile": "Caddyfile", "gitignore": ".gitignore"}

// target returns the path of the file or folder that an embedded one becomes.
func (d starterData) target(name string) string {
	name = strings.TrimPrefix(strings.TrimSuffix(strings.TrimPrefix(name, "starter"), ".tmpl"), "/")
	if other, ok := targets[name]; ok {
		name = other
	}
	return filepath.Join(d.Name, filepath.FromSlash(name))
}
