package main

import "golang.org/x/sys/unix"

// closeInherited closes what the parent left open across exec by mistake: every descriptor above standard error that
// isn't marked close-on-exec. The runtime's own are marked.
func closeInherited() {
	const most = 4096
	for fd := 3; fd < most; fd++ {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			_ = unix.Close(fd)
		}
	}
}
