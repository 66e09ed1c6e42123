package supervise

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// stopGrace is how long etcd gets to close its files; the others hold no state and are killed at once.
const stopGrace = 5 * time.Second

// logTail is how many bytes of a dead part's log go into the error.
const logTail = 2000

// died says that a part ended while it should have run.
type died struct {
	name string
	err  error
}

// children are the running parts.
type children struct {
	dir     string
	running map[string]*exec.Cmd
	done    map[string]chan struct{}
	died    chan died
}

func newChildren(dir string) *children {
	// Room for one message of each part: none of their goroutines ever blocks.
	return &children{dir: dir, running: map[string]*exec.Cmd{}, done: map[string]chan struct{}{}, died: make(chan died, 8)}
}

func (c *children) log(name string) string { return filepath.Join(c.dir, "logs", name+".log") }

// start runs a part. It must be called on the process's main thread: the kernel ends a child when the *thread* that
// started it ends, and only the main thread lives as long as the process.
func (c *children) start(p part) error {
	if err := os.MkdirAll(filepath.Join(c.dir, "logs"), 0o700); err != nil {
		return err
	}
	log, err := os.OpenFile(c.log(p.name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(p.argv[0], p.argv[1:]...)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), "HOME="+c.dir)
	cmd.Stdout, cmd.Stderr = log, log
	// Its own process group: a Ctrl-C in a terminal reaches the supervisor alone, which then ends them in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	done := make(chan struct{})
	c.running[p.name], c.done[p.name] = cmd, done
	go func() {
		err := cmd.Wait()
		close(done)
		c.died <- died{p.name, err}
	}()
	return nil
}

func (c *children) pids() map[string]int {
	pids := map[string]int{}
	for name, cmd := range c.running {
		pids[name] = cmd.Process.Pid
	}
	return pids
}

// stop ends every part: what holds no state at once, etcd last and in its own time.
func (c *children) stop() {
	for name, cmd := range c.running {
		if name != "etcd" {
			_ = cmd.Process.Kill() // it may be gone already
		}
	}
	for name, done := range c.done {
		if name != "etcd" {
			<-done
		}
	}
	etcd, running := c.running["etcd"]
	if !running {
		return
	}
	_ = etcd.Process.Signal(syscall.SIGTERM)
	select {
	case <-c.done["etcd"]:
	case <-time.After(stopGrace):
		_ = etcd.Process.Kill()
		<-c.done["etcd"]
	}
}

// explain turns the death of a part into an error that shows its last lines.
func (c *children) explain(d died) error {
	data, err := os.ReadFile(c.log(d.name))
	if err != nil {
		data = []byte(err.Error())
	}
	if len(data) > logTail {
		data = data[len(data)-logTail:]
	}
	return fmt.Errorf("%s ended (%v); the end of %s:\n%s", d.name, d.err, c.log(d.name), strings.TrimSpace(string(data)))
}
