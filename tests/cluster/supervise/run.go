package supervise

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

// Ready is the one line on stdout that says that the cluster can be used.
type Ready struct {
	Ready      bool           `json:"ready"`
	Kubeconfig string         `json:"kubeconfig"`
	Server     string         `json:"server"`
	PIDs       map[string]int `json:"pids"`
}

// errAsked is why a cluster ends that nothing is wrong with.
var errAsked = errors.New("asked to stop")

// Run starts the control plane, writes one Ready line to out, and returns when stdin closes, a signal comes (both nil)
// or a part dies (an error). Every part has ended when it returns.
//
// It must be called on the main thread (see children.start).
func Run(o Options, stdin io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	parts := newChildren(o.Dir)
	defer o.removeDir()
	defer parts.stop()
	go watchStop(stdin, cancel)
	go func() {
		cancel(parts.explain(<-parts.died))
	}()

	ready, err := start(ctx, o, parts)
	if err == nil {
		err = json.NewEncoder(out).Encode(ready)
	}
	if err == nil {
		<-ctx.Done()
	}
	// What ended the context explains a failed start better than "context canceled" does.
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if errors.Is(err, errAsked) {
		return nil
	}
	return err
}

// removeDir deletes what the cluster wrote, if it was asked to. It runs after the last part has ended.
func (o Options) removeDir() {
	if o.Remove {
		_ = os.RemoveAll(o.Dir) // nobody is left to tell
	}
}

// watchStop ends the cluster with the process that asked for it: its end of our stdin closes whatever happens to it.
func watchStop(stdin io.Reader, cancel context.CancelCauseFunc) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	closed := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, stdin) // an error is an end, too
		close(closed)
	}()
	select {
	case <-signals:
	case <-closed:
	}
	cancel(errAsked)
}

func start(ctx context.Context, o Options, parts *children) (Ready, error) {
	var none Ready
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return none, err
	}
	k, err := makeKeys(o.Dir + "/keys")
	if err != nil {
		return none, err
	}
	p, err := takePorts(o.Port)
	if err != nil {
		return none, err
	}
	server := fmt.Sprintf("https://127.0.0.1:%d", p.apiserver)
	for _, id := range identities {
		if err := writeKubeconfig(o.kubeconfig(id.name), server, k, id.name); err != nil {
			return none, fmt.Errorf("write kubeconfig: %w", err)
		}
	}
	if o.Audit != "" {
		if err := os.WriteFile(o.auditPolicy(), []byte(auditPolicyText), 0o600); err != nil {
			return none, err
		}
	}

	for _, part := range []part{o.etcdPart(p), o.apiserverPart(p, k)} {
		if err := parts.start(part); err != nil {
			return none, err
		}
	}
	client, err := connect(o.kubeconfig("admin"))
	if err != nil {
		return none, err
	}
	if err := awaitAPI(ctx, client); err != nil {
		return none, err
	}
	for _, part := range []part{o.controllerManagerPart(k), o.schedulerPart()} {
		if err := parts.start(part); err != nil {
			return none, err
		}
	}
	if o.Kwok != "" {
		if err := startKwok(o, parts); err != nil {
			return none, err
		}
		if err := makeNodes(ctx, client, o.Nodes); err != nil {
			return none, err
		}
	}
	if err := awaitDefaults(ctx, client); err != nil {
		return none, err
	}
	return Ready{Ready: true, Kubeconfig: o.kubeconfig("admin"), Server: server, PIDs: parts.pids()}, nil
}

// startKwok lets the simulator write down its default stages, then runs it with them.
func startKwok(o Options, parts *children) error {
	stages, err := exec.Command(o.Kwok, "stages").Output()
	if err != nil {
		return fmt.Errorf("%s stages: %w", o.Kwok, err)
	}
	if err := os.WriteFile(o.stages(), stages, 0o600); err != nil {
		return err
	}
	return parts.start(o.kwokPart())
}
