// A program that tries what a renderer must not be able to do. The test of the sandbox runs it in the renderer's place;
// it prints one line an attempt and ends with 0 only if every attempt failed.
package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

func main() {
	attempts := []struct {
		name string
		try  func() error
	}{
		{"read /etc/passwd", func() error { _, err := os.ReadFile("/etc/passwd"); return err }},
		{"read its environment", func() error { _, err := os.ReadFile("/proc/self/environ"); return err }},
		{"list /", func() error { _, err := os.ReadDir("/"); return err }},
		{"write into its folder", func() error { return os.WriteFile("x", []byte("x"), 0o600) }},
		{"make a folder", func() error { return os.Mkdir("d", 0o700) }},
		{"connect by TCP", func() error { _, err := net.Dial("tcp", "127.0.0.1:1"); return denied(err) }},
		{"listen", func() error { _, err := net.Listen("tcp", "127.0.0.1:0"); return err }},
		{"send by UDP", func() error { _, err := net.Dial("udp", "127.0.0.1:53"); return err }},
		{"a Unix socket", func() error { _, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0); return err }},
		{"a raw socket", func() error { _, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0); return err }},
		{"a socket pair", func() error { _, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0); return err }},
		{"run a program", func() error { return exec.Command("/bin/true").Run() }},
		{"run itself", func() error { return exec.Command(os.Args[0]).Run() }},
		{"trace", func() error { return unix.PtraceAttach(os.Getppid()) }},
		{"unshare", func() error { runtime.LockOSThread(); return unix.Unshare(unix.CLONE_NEWUSER) }},
		{"mount", func() error { return unix.Mount("none", "/tmp", "tmpfs", 0, "") }},
		{"keyctl", func() error { _, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_USER_KEYRING, true); return err }},
		{"signal its parent", func() error { return unix.Kill(os.Getppid(), 0) }},
		{"memfd", func() error { _, err := unix.MemfdCreate("x", 0); return err }},
		{"raise a limit", func() error {
			return unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1 << 20, Max: 1 << 20})
		}},
	}
	got := 0
	for _, a := range attempts {
		err := a.try()
		fmt.Printf("%s: %v\n", a.name, err)
		if err == nil {
			got++
		}
	}
	// The runtime itself still works: threads and a collection.
	done := make(chan bool)
	for range 8 {
		go func() { runtime.LockOSThread(); runtime.GC(); done <- true }()
	}
	for range 8 {
		<-done
	}
	os.Exit(got)
}

// denied takes a refused connection for a success: the packet left.
func denied(err error) error {
	if opError, ok := err.(*net.OpError); ok && opError.Err.Error() == "connect: connection refused" {
		return nil
	}
	return err
}
