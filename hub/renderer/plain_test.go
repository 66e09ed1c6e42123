package main

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestPlainGivesEachDocumentWithItsLine(t *testing.T) {
	r := plain(t, files{"a.yaml": "# first\n\n" + configMap("one") + "---\n# nothing\n---\nnull\n--- # two\n" + configMap("two") + "...\n"}, "a.yaml")
	wantNames(t, r, "ConfigMap/one", "ConfigMap/two")
	if r.Objects[0].Line != 3 || r.Objects[1].Line != 12 || r.Objects[1].File != "a.yaml" {
		t.Fatalf("lines %d and %d", r.Objects[0].Line, r.Objects[1].Line)
	}
}

func TestPlainFlattensLists(t *testing.T) {
	r := plain(t, files{"a.json": `{"apiVersion":"v1","kind":"List","items":[
{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"one"}},
{"apiVersion":"v1","kind":"SecretList","items":[{"apiVersion":"v1","kind":"Secret","metadata":{"name":"two"}}]}]}`}, "a.json")
	wantNames(t, r, "ConfigMap/one", "Secret/two")
	if r.Objects[0].Line != 2 {
		t.Fatalf("line %d", r.Objects[0].Line)
	}
}

func TestPlainTakesValuesAsTheAPIServerDoes(t *testing.T) {
	r := plain(t, files{"a.yaml": configMap("x") + "data:\n  a: on\n  b: 0644\n  c: 1_000\n  d: 1e3\n  e: ~\n  f: 0o7\n  on: 12345678901234567\n"}, "a.yaml")
	wantNames(t, r, "ConfigMap/x")
	want := `{"apiVersion":"v1","data":{"a":true,"b":420,"c":1000,"d":1000,"e":null,"f":7,"true":12345678901234567},"kind":"ConfigMap","metadata":{"name":"x"}}`
	if got := string(r.Objects[0].Json); got != want {
		t.Fatalf("got %s", got)
	}
}

func TestPlainMergeKeysMayBeOverriddenOtherKeysMayNot(t *testing.T) {
	merged := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\nbase: &b {a: 1, c: 2}\ndata:\n  <<: *b\n  a: 3\n"
	wantNames(t, plain(t, files{"a.yaml": merged}, "a.yaml"), "ConfigMap/x")
	wantFailure(t, plain(t, files{"a.yaml": configMap("x") + "data:\n  a: 1\n  a: " + canary + "\n"}, "a.yaml"), codeYAML, "a.yaml", 7)
}

func TestPlainFoldsStringData(t *testing.T) {
	r := plain(t, files{"a.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\ndata: {a: eA==, b: eQ==}\nstringData: {b: hello}\n"}, "a.yaml")
	if got := string(r.Objects[0].Json); !strings.Contains(got, `"data":{"a":"eA==","b":"aGVsbG8="}`) || strings.Contains(got, "stringData") {
		t.Fatal(got)
	}
	encrypted := plain(t, files{"a.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\nstringData: {b: hello}\nsops: {mac: m}\n"}, "a.yaml")
	if got := string(encrypted.Objects[0].Json); !strings.Contains(got, `"stringData":{"b":"hello"}`) {
		t.Fatal(got)
	}
	wantFailure(t, plain(t, files{"a.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\nstringData: {b: 7}\n"}, "a.yaml"), codeYAML, "a.yaml", 1)
}

func TestPlainNamesWhatIsMissing(t *testing.T) {
	for name, tt := range map[string]struct {
		content, field string
		line           int
	}{
		"no kind":         {"apiVersion: v1\nmetadata: {name: x}\n", "kind", 1},
		"no apiVersion":   {"\nkind: Pod\nmetadata: {name: x}\n", "apiVersion", 2},
		"no name":         {"apiVersion: v1\nkind: Pod\nmetadata: {}\n", "metadata.name", 1},
		"generated name":  {"apiVersion: v1\nkind: Pod\nmetadata: {generateName: x}\n", "metadata.name", 1},
		"kind no string":  {"apiVersion: v1\nkind: [" + canary + "]\nmetadata: {name: x}\n", "kind", 1},
		"no map at all":   {"- " + canary + "\n", "", 1},
		"not YAML at all": {"a: b: " + canary + "\n", "", 1},
		"tab":             {"a:\n\tb: " + canary + "\n", "", 2},
	} {
		t.Run(name, func(t *testing.T) {
			r := plain(t, files{"a.yaml": tt.content}, "a.yaml")
			wantFailure(t, r, codeYAML, "a.yaml", tt.line)
			if r.Failure.Field != tt.field {
				t.Fatalf("field %q", r.Failure.Field)
			}
		})
	}
	wantFailure(t, plain(t, files{}, "gone.yaml"), codeSpec, "gone.yaml", 0)
}

// THREATS 1.2: CVE-2019-11253, CVE-2019-11254, CVE-2021-4235, CVE-2022-3064, CVE-2022-28948, RUSTSEC-2018-0005,
// RUSTSEC-2018-0006, RUSTSEC-2025-0068.
func TestThreat_CVE_2019_11253_YAMLBombsAreRefusedByName(t *testing.T) {
	var bomb strings.Builder
	bomb.WriteString("a0: &a0 [x,x,x,x,x,x,x,x,x]\n")
	for i := 1; i < 9; i++ {
		fmt.Fprintf(&bomb, "a%d: &a%d [%s*a%d]\n", i, i, strings.Repeat(fmt.Sprintf("*a%d,", i-1), 8), i-1)
	}
	many := "x: &x 1\ny: [" + strings.Repeat("*x,", 2000) + "*x]\n"
	for name, tt := range map[string]struct{ content, code string }{
		"9 levels of 9 aliases":   {configMap("x") + bomb.String(), codeYAMLLimit},
		"depth 10,000 in flow":    {strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000), codeYAMLLimit},
		"depth 100,000 in flow":   {strings.Repeat("{a: ", 100_000), codeYAMLLimit},
		"depth 10,000 in block":   {strings.Repeat("- ", 10_000) + "x\n", codeYAMLLimit},
		"merge-key loop":          {"a: &a\n  <<: *a\n", codeYAMLLimit},
		"alias inside its anchor": {"a: &a [*a]\n", codeYAMLLimit},
		"2,000 aliases":           {many, codeYAMLLimit},
		"100,000 documents":       {strings.Repeat("---\na: 1\n", 100_000), codeYAMLLimit},
		"duplicate key":           {"a: 1\na: 2\n", codeYAML},
		"unknown anchor":          {"a: *b\n", codeYAML},
		"bad !!binary":            {configMap("x") + "data: {a: !!binary '%%" + canary + "'}\n", codeYAML},
		"NUL byte":                {"a: \x00\n", codeYAML},
		"half a surrogate":        {"a: \"\\uD83D\"\n", codeYAML},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			r := plain(t, files{"a.yaml": tt.content}, "a.yaml")
			if r.Failure == nil || r.Failure.Code != tt.code {
				t.Fatalf("want %s, got %v", tt.code, r.Failure)
			}
			if took := time.Since(start); took > 2*time.Second {
				t.Fatalf("took %v", took)
			}
		})
	}
}

// THREATS 1.2: CVE-2022-24348, CVE-2022-24730, CVE-2022-24731, CVE-2022-24904, CVE-2022-31036, CVE-2023-40026,
// CVE-2022-24877, CVE-2026-47680, Fleet#5276.
func TestThreat_CVE_2022_24348_PathsOutsideTheTreeAreRefused(t *testing.T) {
	fs := files{"x.yaml": configMap("x"), "link.yaml": "REFUSED:is a link out of the tree"}
	for _, reference := range []string{
		"../../x", "../x.yaml", "/etc/passwd", "/x.yaml", "file:///etc/passwd", "https://host/x", `C:\x`, "c:x", `a\..\b`,
		"%2e%2e/x", "a/%2E%2e/%2e%2e/x", "a/../../x", "x\x00.yaml",
	} {
		r := plain(t, fs, reference)
		wantFailure(t, r, codePathEscape, "", 0)
		r = helm(t, files{"c/Chart.yaml": "apiVersion: v2\nname: c\nversion: 1.0.0\n"}, helmValues("c", reference))
		wantFailure(t, r, codePathEscape, "", 0)
		if !strings.Contains(r.Failure.Message, "leaves") && !strings.Contains(r.Failure.Message, `"`) {
			t.Fatalf("the reference is not named: %v", r.Failure)
		}
	}
	wantFailure(t, plain(t, fs, "link.yaml"), codePathEscape, "link.yaml", 0)
	wantNames(t, plain(t, fs, "a/../x.yaml"), "ConfigMap/x")
}
