package caddygin

import (
	"fmt"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "gin",
		Usage: "<subcommand>",
		Short: "Looks into the sockets and the Gin apps of a Caddy",
		CobraFunc: func(cmd *cobra.Command) {
			cmd.AddCommand(appsCommand(), routesCommand(), listenersCommand(), generationsCommand(), reloadCommand())
			cmd.AddCommand(upgradeCommand(), reapCommand(), checkCommand(), newCommand())
			cmd.RunE = func(cmd *cobra.Command, args []string) error {
				if len(args) > 0 {
					return exit(cmd, exitWrong, fmt.Errorf("unknown subcommand %q of gin; see caddy gin --help", args[0]))
				}
				return cmd.Help()
			}
		},
	})
}

// exit ends a command with an exit code; an error goes to Caddy's log.
func exit(cmd *cobra.Command, code int, err error) error {
	cmd.SilenceErrors = true
	if code == 1 && err == nil {
		return errFound // what it is has been printed
	}
	return caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) { return code, err })(cmd, nil)
}
