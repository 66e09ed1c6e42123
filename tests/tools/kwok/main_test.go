package main

import (
	"strings"
	"testing"
)

func TestStagesCoverNodesAndPods(t *testing.T) {
	text := stages()
	for _, want := range []string{"name: node-initialize", "name: node-heartbeat-with-lease", "name: pod-ready", "name: pod-complete", "name: pod-delete"} {
		if !strings.Contains(text, want) {
			t.Errorf("no stage with %q", want)
		}
	}
	if documents := strings.Count(text, "kind: Stage"); documents != 5 {
		t.Errorf("want 5 stages, got %d", documents)
	}
}
