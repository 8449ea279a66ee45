package main

import (
	"cmp"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/crossattn/xpipe/api"
	"github.com/spf13/cobra"
)

// immichPort is where Immich looks for its machine learning.
const immichPort = "3003"

// takeImmich sets flags of serve that are not given to what the variables of Immich's machine learning
// say, so that a container's settings can stay.
func (env *environment) takeImmich(cmd *cobra.Command) error {
	if env.getenv == nil {
		return nil
	}
	host, port := strings.Trim(env.getenv("IMMICH_HOST"), "[]"), env.getenv("IMMICH_PORT")
	listen := ""
	if host != "" || port != "" {
		listen = net.JoinHostPort(cmp.Or(host, "127.0.0.1"), cmp.Or(port, immichPort))
	}
	idle, err := immichIdle(env.getenv("MACHINE_LEARNING_MODEL_TTL"))
	if err != nil {
		return err
	}
	for flag, value := range map[string]string{
		"listen": listen, "idle": idle, "models": env.getenv("MACHINE_LEARNING_CACHE_FOLDER"),
	} {
		if value == "" || cmd.Flags().Changed(flag) {
			continue
		}
		if err := cmd.Flags().Set(flag, value); err != nil {
			return api.Usagef("--%s, from Immich's variables: %w", flag, err)
		}
		env.verbosef("setting: %s = %s, from Immich's variables", flag, value)
	}
	return nil
}

// immichIdle is the value of --idle for a number of seconds, of which 0 and less stand for never.
func immichIdle(seconds string) (string, error) {
	if seconds == "" {
		return "", nil
	}
	n, err := strconv.Atoi(seconds)
	if err != nil {
		return "", api.Usagef("MACHINE_LEARNING_MODEL_TTL is %q, no number of seconds", seconds)
	}
	if n <= 0 {
		n = -1
	}
	return (time.Duration(n) * time.Second).String(), nil
}
