package main

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"countersign.dev/renderer/rendererpb"
)

// alone says to a child of this test which of its halves it is: it runs in a network of its own.
const alone = "RENDERER_TEST_ALONE"

// counters are what the kernel counts of a network namespace before a packet could leave it.
var counters = map[string][]string{
	"Ip":  {"OutRequests", "OutNoRoutes"},
	"Tcp": {"ActiveOpens"},
	"Udp": {"OutDatagrams"},
}

// THREATS 1.2: CVE-2023-25165 (Helm), CVE-2026-34984 (ESO). The functions are refused by name elsewhere; here the kernel
// is asked whether anything tried to leave, in a network namespace that holds nothing but the render.
func TestThreat_CVE_2023_25165_NoPacketLeavesWhileAChartRenders(t *testing.T) {
	switch os.Getenv(alone) {
	case "render":
		renderWhatLooksUpNames(t)
		tellCounters(t)
		return
	case "dial":
		// The other way round: the counters do see an attempt.
		if connection, err := net.Dial("udp", "192.0.2.1:53"); err == nil {
			_, _ = connection.Write([]byte("x"))
		}
		_, _ = net.Dial("tcp", "127.0.0.1:53")
		tellCounters(t)
		return
	}
	if told := inANetworkOfItsOwn(t, "render"); !strings.Contains(told, "sent: 0\n") {
		t.Fatalf("something tried to leave:\n%s", told)
	}
	if told := inANetworkOfItsOwn(t, "dial"); strings.Contains(told, "sent: 0\n") {
		t.Fatalf("the counters see nothing:\n%s", told)
	}
}

func renderWhatLooksUpNames(t *testing.T) {
	t.Helper()
	for _, call := range []string{
		`{{ getHostByName "leak.example" }}`, `{{ lookup "v1" "Secret" "a" "b" }}`, `{{ env "HOME" }}`, `{{ expandenv "$HOME" }}`,
		`{{ tpl "{{ getHostByName \"leak.example\" }}" . }}`, `{{ include "a" . }}{{ define "a" }}{{ getHostByName "leak.example" }}{{ end }}`,
	} {
		content := chartArchive(t, map[string]string{
			"web/Chart.yaml":       "apiVersion: v2\nname: web\nversion: 1.0.0\n",
			"web/templates/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {v: " + call + "}\n",
		})
		if r := helm(t, files{}, &rendererpb.Helm{ChartArchive: content}); r.Failure == nil {
			t.Fatalf("%s was rendered: %v", call, r.Objects)
		}
	}
	plain := chartArchive(t, map[string]string{
		"web/Chart.yaml":       "apiVersion: v2\nname: web\nversion: 1.0.0\n",
		"web/templates/a.yaml": configMap("x"),
	})
	wantNames(t, helm(t, files{}, &rendererpb.Helm{ChartArchive: plain}), "ConfigMap/x")
}

func inANetworkOfItsOwn(t *testing.T, half string) string {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	child.Env = append(os.Environ(), alone+"="+half)
	child.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	told, err := child.CombinedOutput()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) {
		t.Skipf("this machine allows no user namespaces: %v", err)
	}
	if err != nil {
		t.Fatalf("%v:\n%s", err, told)
	}
	return string(told)
}

// tellCounters prints the sum of what was sent or tried.
func tellCounters(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/net/snmp")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	sent, seen := 0, 0
	for at := 0; at+1 < len(lines); at += 2 {
		names, values := strings.Fields(lines[at]), strings.Fields(lines[at+1])
		for i, name := range names {
			for _, counted := range counters[strings.TrimSuffix(names[0], ":")] {
				if name == counted {
					seen++
					if values[i] != "0" {
						sent++
					}
				}
			}
		}
	}
	if seen != 4 {
		t.Fatalf("%d of 4 counters in\n%s", seen, text)
	}
	// Not t.Log, whose lines bear the file's name and change with it.
	_, _ = os.Stdout.WriteString("sent: " + string(rune('0'+sent)) + "\n")
}
