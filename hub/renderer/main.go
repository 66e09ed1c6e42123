// Countersign's renderer: Helm, Kustomize and Kubernetes' admission policies in one worker process.
//
// It speaks over one inherited socket, its file descriptor 0, in both directions, and reads nothing else: each file
// of a render comes as an answer over that socket. Standard output and standard error are for logs alone. It opens no
// socket, runs no program and takes no options; see fleet/src/render for the side that starts it.
package main

import (
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"os"
	"runtime/debug"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
)

// Exit codes tell the parent why the worker ended of its own.
const (
	exitFault    = 1
	exitProtocol = 3
)

func main() {
	closeInherited()
	silence()
	hub := os.NewFile(0, "hub")
	if err := newServer(hub, hub).serve(worker()); err != nil {
		if errors.Is(err, errProtocol) {
			fmt.Fprintln(os.Stderr, "renderer:", errProtocol)
			os.Exit(exitProtocol)
		}
		fmt.Fprintln(os.Stderr, "renderer: ended by a fault")
		os.Exit(exitFault)
	}
}

// silence turns off the logs of the libraries, which quote values, and the network for whatever in them would try it.
func silence() {
	log.SetOutput(io.Discard)
	slog.SetDefault(slog.New(slog.DiscardHandler))
	klog.SetLogger(logr.Discard())
	http.DefaultTransport = noNetwork{}
	http.DefaultClient = &http.Client{Transport: noNetwork{}}
}

type noNetwork struct{}

func (noNetwork) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("a render has no network")
}

// ourVersion is the version of this program; it changes whenever the same input may render differently.
const ourVersion = "0.1.0"

// worker names what renders, for cache keys and signed statements.
func worker() string {
	libraries := map[string]string{}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			libraries[module.Path] = module.Version
		}
	}
	return fmt.Sprintf("countersign-renderer %s helm %s kustomize %s kubernetes %s", ourVersion,
		libraries["helm.sh/helm/v4"], libraries["sigs.k8s.io/kustomize/api"], libraries["k8s.io/apiserver"])
}
