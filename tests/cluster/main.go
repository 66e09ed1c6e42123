// Command countersign-testcluster is a real Kubernetes control plane in one binary.
//
// The first argument chooses the part: etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubectl. Each is
// the upstream program with its own flags. "up" starts all of them as children of one supervisor (up.go) and is what
// tests and the demo call.
package main

import (
	"fmt"
	"os"

	_ "time/tzdata" // CronJob.spec.timeZone on a machine that has no time zone database
)

const usage = `usage: countersign-testcluster PART [flags]

  up                        start a whole control plane and end it when stdin closes
  etcd                      the store (flags: --data-dir --client-port --peer-port --fsync)
  kube-apiserver            upstream, with its own flags
  kube-controller-manager   upstream, with its own flags
  kube-scheduler            upstream, with its own flags
  kubectl                   upstream, with its own flags
`

func main() {
	if len(os.Args) < 2 {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	part := os.Args[1]
	// Upstream's commands read os.Args themselves: let them see their own name first.
	os.Args = os.Args[1:]
	switch part {
	case "up":
		os.Exit(up(os.Args[1:]))
	case "etcd":
		os.Exit(etcd(os.Args[1:]))
	case "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl":
		os.Exit(upstream(part))
	default:
		fmt.Fprintf(os.Stderr, "countersign-testcluster: unknown part %q\n%s", part, usage)
		os.Exit(2)
	}
}
