package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"

	"countersign.dev/tests/cluster/supervise"
)

func init() {
	// The supervisor starts its children on the main thread; see supervise.Run.
	runtime.LockOSThread()
}

// up runs a whole control plane until stdin closes, a signal comes or a part dies.
func up(args []string) int {
	options, err := supervise.ParseOptions(args, os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "up:", err)
		return 2
	}
	if err := supervise.Run(options, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "up:", err)
		return 1
	}
	return 0
}
