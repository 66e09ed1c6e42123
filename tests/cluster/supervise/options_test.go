package supervise

import (
	"io"
	"maps"
	"strings"
	"testing"
)

func TestParseNode(t *testing.T) {
	for _, tt := range []struct {
		text, name string
		labels     map[string]string
		problem    string
	}{
		{"node-1", "node-1", map[string]string{}, ""},
		{"eks-1=runtime=eks,topology.kubernetes.io/zone=a", "eks-1", map[string]string{"runtime": "eks", "topology.kubernetes.io/zone": "a"}, ""},
		{"metal-1=empty=", "metal-1", map[string]string{"empty": ""}, ""},
		{"=runtime=eks", "", nil, "has no name"},
		{"metal-1=runtime", "", nil, "is not LABEL=VALUE"},
	} {
		t.Run(tt.text, func(t *testing.T) {
			node, err := ParseNode(tt.text)
			if tt.problem != "" {
				if err == nil || !strings.Contains(err.Error(), tt.problem) {
					t.Fatalf("want a mistake with %q, got %v", tt.problem, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if node.Name != tt.name || !maps.Equal(node.Labels, tt.labels) {
				t.Fatalf("got %+v", node)
			}
		})
	}
}

func TestOptionsThatContradictAreRefused(t *testing.T) {
	for _, tt := range []struct {
		args    []string
		problem string
	}{
		{[]string{}, "--dir is required"},
		{[]string{"--dir", "d", "--nodes", "a"}, "--nodes needs --kwok"},
		{[]string{"--dir", "d", "extra"}, "unexpected argument"},
	} {
		if _, err := ParseOptions(tt.args, io.Discard); err == nil || !strings.Contains(err.Error(), tt.problem) {
			t.Errorf("%v: want a mistake with %q, got %v", tt.args, tt.problem, err)
		}
	}
}

func TestASimulatorWithoutNodesGetsOne(t *testing.T) {
	o, err := ParseOptions([]string{"--dir", "d", "--kwok", "k", "--apiserver-arg=--v=2", "--apiserver-arg=--x=1"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if len(o.Nodes) != 1 || o.Nodes[0].Name != "node-1" {
		t.Errorf("nodes: %+v", o.Nodes)
	}
	if strings.Join(o.APIServerArgs, " ") != "--v=2 --x=1" {
		t.Errorf("API server arguments: %q", o.APIServerArgs)
	}
}
