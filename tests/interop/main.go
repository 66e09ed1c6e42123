// Command countersign-interop is the outsider: it reads and writes logs with what others wrote, and knows nothing of
// Countersign. It says whether a log is sound (gate, xmod), writes one (make), and answers for single inputs whether
// Go's readers take them (serve).
package main

import (
	"fmt"
	"os"
	"strconv"
)

// Exit codes of gate and xmod.
const (
	good    = 0
	bad     = 1
	timeout = 3
	usage   = 64 // 2 is Go's own, of a panic
)

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	switch {
	case len(args) == 3 && args[0] == "gate":
		return verdict(gate(args[1], args[2]))
	case len(args) == 3 && args[0] == "xmod":
		return verdict(xmod(args[1], args[2]))
	case len(args) == 4 && args[0] == "make":
		size, err1 := strconv.ParseInt(args[2], 10, 64)
		seed, err2 := strconv.ParseUint(args[3], 10, 8)
		if err1 == nil && err2 == nil {
			return verdict(makeLog(args[1], size, byte(seed)))
		}
	case len(args) == 1 && args[0] == "serve":
		return verdict(serve(os.Stdin, os.Stdout))
	}
	fmt.Fprintln(os.Stderr, "usage: countersign-interop gate DIR VKEYFILE | xmod DIR VKEYFILE | make DIR N SEED | serve")
	return usage
}

func verdict(err error) int {
	switch err {
	case nil:
		return good
	case errTimeout:
		fmt.Fprintln(os.Stderr, err)
		return timeout
	default:
		fmt.Fprintln(os.Stderr, err)
		return bad
	}
}
