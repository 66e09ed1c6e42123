// Package supervise runs one control plane as child processes: it makes the keys, starts the parts in their order, waits
// until the API serves and the simulated nodes are ready, and ends everything when it is asked to or when one part dies.
//
// Read Run (run.go) first. It knows nothing of Kubernetes' own code but the client: the parts are commands.
package supervise

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Options say what to start and where.
type Options struct {
	// Self is the binary whose subcommands are the parts.
	Self string
	// Dir holds everything that the control plane writes. A folder used before is started again with its keys and data.
	Dir string
	// Remove deletes Dir at the end, so that a process that dies leaves nothing behind.
	Remove bool
	// Kwok is the simulator of nodes; empty means that there are none.
	Kwok string
	// Nodes are created before the cluster is called ready.
	Nodes []Node
	// Port is the API server's port on loopback; 0 takes a free one.
	Port int
	// Fsync makes etcd sync each write to disk.
	Fsync bool
	// Audit is the file to which the API server writes one line a request; empty means none.
	Audit string
	// APIServerArgs are handed to the API server after our own, so that they win.
	APIServerArgs []string
}

// Node is a simulated node.
type Node struct {
	Name   string
	Labels map[string]string
}

// ParseOptions reads the flags of "up". Mistakes are returned, and help goes to out.
func ParseOptions(args []string, out io.Writer) (Options, error) {
	var o Options
	flags := flag.NewFlagSet("up", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.StringVar(&o.Dir, "dir", "", "folder for keys, data, logs and the kubeconfig (required)")
	flags.BoolVar(&o.Remove, "remove", false, "delete the folder when the cluster has ended")
	flags.StringVar(&o.Kwok, "kwok", "", "path of countersign-kwok, which simulates the nodes; without it there are none")
	flags.Func("nodes", "a simulated node, `NAME[=LABEL=VALUE,…]`; may be repeated (default node-1)", func(text string) error {
		node, err := ParseNode(text)
		if err == nil {
			o.Nodes = append(o.Nodes, node)
		}
		return err
	})
	flags.IntVar(&o.Port, "port", 0, "port of the API server on loopback; 0 takes a free one")
	flags.BoolVar(&o.Fsync, "fsync", false, "let etcd sync each write to disk")
	flags.StringVar(&o.Audit, "audit", "", "write the API server's audit log (one JSON line a request) to this `FILE`")
	flags.Func("apiserver-arg", "a further `ARGUMENT` of the API server; may be repeated", func(text string) error {
		o.APIServerArgs = append(o.APIServerArgs, text)
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if o.Dir == "" {
		return o, errors.New("--dir is required")
	}
	if o.Kwok == "" && len(o.Nodes) > 0 {
		return o, errors.New("--nodes needs --kwok: nodes that nobody simulates never become ready")
	}
	if o.Kwok != "" && len(o.Nodes) == 0 {
		o.Nodes = []Node{{Name: "node-1", Labels: map[string]string{}}}
	}
	return o.absolute()
}

// absolute makes every path independent of the folder in which a child runs.
func (o Options) absolute() (Options, error) {
	var err error
	if o.Self, err = os.Executable(); err != nil {
		return o, fmt.Errorf("own path: %w", err)
	}
	for _, path := range []*string{&o.Dir, &o.Kwok, &o.Audit} {
		if *path == "" {
			continue
		}
		if *path, err = filepath.Abs(*path); err != nil {
			return o, fmt.Errorf("path: %w", err)
		}
	}
	return o, nil
}

// ParseNode reads NAME or NAME=LABEL=VALUE,LABEL=VALUE.
func ParseNode(text string) (Node, error) {
	name, labels, _ := strings.Cut(text, "=")
	if name == "" {
		return Node{}, fmt.Errorf("node %q has no name", text)
	}
	node := Node{Name: name, Labels: map[string]string{}}
	for _, pair := range strings.Split(labels, ",") {
		if pair == "" {
			continue
		}
		key, value, found := strings.Cut(pair, "=")
		if !found || key == "" {
			return Node{}, fmt.Errorf("node %q: label %q is not LABEL=VALUE", name, pair)
		}
		node.Labels[key] = value
	}
	return node, nil
}
