package main

import (
	"fmt"
	"strings"
	"testing"

	"countersign.dev/renderer/rendererpb"
)

func TestKustomizeBuildsBasesInsideTheTree(t *testing.T) {
	fs := files{
		"apps/web/overlays/prod/kustomization.yaml": "namePrefix: prod-\nresources:\n- ../../base\n- extra.yaml\nconfigMapGenerator:\n- name: gen\n  literals: [a=b]\n  options: {disableNameSuffixHash: true}\npatches:\n- path: patch.yaml\n",
		"apps/web/overlays/prod/extra.yaml":         configMap("extra"),
		"apps/web/overlays/prod/patch.yaml":         configMap("base") + "data: {patched: \"yes\"}\n",
		"apps/web/base/kustomization.yml":           "resources: [cm.yaml]\ncomponents: [../../../parts/one]\n",
		"apps/web/base/cm.yaml":                     configMap("base") + "data: {x: yes}\n",
		"parts/one/kustomization.yaml":              "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\ncommonAnnotations: {part: one}\n",
	}
	r := kustomize(t, fs, "apps/web/overlays/prod")
	wantNames(t, r, "ConfigMap/prod-base", "ConfigMap/prod-extra", "ConfigMap/prod-gen")
	want := `{"apiVersion":"v1","data":{"patched":"yes","x":"yes"},"kind":"ConfigMap","metadata":{"annotations":{"part":"one"},"name":"prod-base"}}`
	if got := string(r.Objects[0].Json); got != want {
		t.Fatal(got)
	}
	for i, want := range []string{"apps/web/base/cm.yaml", "apps/web/overlays/prod/extra.yaml", "apps/web/overlays/prod/kustomization.yaml"} {
		if r.Objects[i].File != want {
			t.Fatalf("file %d is %s", i, r.Objects[i].File)
		}
	}
	if strings.Contains(string(r.Objects[1].Json), "annotations") {
		t.Fatal("a note of ours is left over: " + string(r.Objects[1].Json))
	}
	for range 3 {
		if again := kustomize(t, fs, "apps/web/overlays/prod"); again.String() != r.String() {
			t.Fatal("two builds of one input differ")
		}
	}
}

func TestKustomizeKeepsOriginsThatWereAskedFor(t *testing.T) {
	r := kustomize(t, files{"k/kustomization.yaml": "resources: [a.yaml]\nbuildMetadata: [originAnnotations]\n", "k/a.yaml": configMap("x")}, "k")
	wantNames(t, r, "ConfigMap/x")
	if !strings.Contains(string(r.Objects[0].Json), originAnnotation) {
		t.Fatal(string(r.Objects[0].Json))
	}
}

func TestKustomizeAtTheRootOfTheTree(t *testing.T) {
	wantNames(t, kustomize(t, files{"kustomization.yaml": "resources: [a.yaml]\n", "a.yaml": configMap("x")}, ""), "ConfigMap/x")
}

// THREATS 1.2: Kustomize remote bases.
func TestThreat_KustomizeRemoteBases_AreRefusedBeforeTheBuild(t *testing.T) {
	remotes := []string{
		"https://169.254.169.254/x", "http://host/x.yaml", "HTTPS://host/x", "ssh://git@host/repo?ref=--upload-pack=x", "git@github.com:a/b",
		"github.com/a/b", "GitHub.com/a/b//c", "github.com:a/b", "git::https://host/a/b", "file:///etc", "user@host:a/b", "https:host", "a/b?ref=main",
	}
	for _, remote := range remotes {
		for field, yaml := range map[string]string{
			"resources":                "resources:\n- '" + remote + "'\n",
			"bases":                    "bases:\n- '" + remote + "'\n",
			"components":               "components:\n- '" + remote + "'\n",
			"crds":                     "crds:\n- '" + remote + "'\n",
			"configurations":           "configurations:\n- '" + remote + "'\n",
			"generators":               "generators:\n- '" + remote + "'\n",
			"transformers":             "transformers:\n- '" + remote + "'\n",
			"validators":               "validators:\n- '" + remote + "'\n",
			"patchesStrategicMerge":    "patchesStrategicMerge:\n- '" + remote + "'\n",
			"patches.path":             "patches:\n- path: '" + remote + "'\n",
			"patchesJson6902.path":     "patchesJson6902:\n- path: '" + remote + "'\n",
			"replacements.path":        "replacements:\n- path: '" + remote + "'\n",
			"openapi.path":             "openapi:\n  path: '" + remote + "'\n",
			"configMapGenerator.files": "configMapGenerator:\n- files: ['k=" + remote + "']\n",
			"secretGenerator.envs":     "secretGenerator:\n- envs: ['" + remote + "']\n",
			"configMapGenerator.env":   "configMapGenerator:\n- env: '" + remote + "'\n",
		} {
			fs := files{"k/kustomization.yaml": "resources: [../deep]\n", "deep/kustomization.yaml": yaml}
			r := kustomize(t, fs, "k")
			if strings.HasSuffix(field, ".files") && strings.Contains(remote, "=") {
				continue // "k=a=b" is a mistake of its own
			}
			line := 2
			if strings.HasSuffix(field, "env") {
				line = 2
			}
			wantFailure(t, r, codeRemoteBase, "deep/kustomization.yaml", line)
			if r.Failure.Field != field {
				t.Fatalf("field %q", r.Failure.Field)
			}
		}
	}
}

// THREATS 1.2: CVE-2021-41254 (Flux), Kustomize plugins.
func TestThreat_CVE_2021_41254_PluginsAreRefused(t *testing.T) {
	exec := "apiVersion: example.org/v1\nkind: Exec\nmetadata: {name: x}\n"
	function := "apiVersion: builtin\nkind: LabelTransformer\nmetadata:\n  name: x\n  annotations:\n    config.kubernetes.io/function: |\n      exec: {path: ./x}\n"
	inflator := "apiVersion: builtin\nkind: HelmChartInflationGenerator\nmetadata: {name: x}\nname: x\n"
	for name, tt := range map[string]struct {
		fs   files
		file string
		line int
	}{
		"helmCharts":        {files{"k/kustomization.yaml": "resources: []\nhelmCharts:\n- name: x\n"}, "k/kustomization.yaml", 3},
		"helmGlobals":       {files{"k/kustomization.yaml": "helmGlobals: {chartHome: x}\n"}, "k/kustomization.yaml", 1},
		"inflation":         {files{"k/kustomization.yaml": "helmChartInflationGenerator:\n- chartName: x\n"}, "k/kustomization.yaml", 2},
		"exec generator":    {files{"k/kustomization.yaml": "generators: [g.yaml]\n", "k/g.yaml": exec}, "k/g.yaml", 1},
		"exec transformer":  {files{"k/kustomization.yaml": "transformers: [g.yaml]\n", "k/g.yaml": "\n" + exec}, "k/g.yaml", 2},
		"exec validator":    {files{"k/kustomization.yaml": "validators: [g.yaml]\n", "k/g.yaml": exec}, "k/g.yaml", 1},
		"inline":            {files{"k/kustomization.yaml": "generators:\n- |\n  apiVersion: example.org/v1\n  kind: Exec\n"}, "k/kustomization.yaml", 2},
		"function":          {files{"k/kustomization.yaml": "transformers: [g.yaml]\n", "k/g.yaml": function}, "k/g.yaml", 1},
		"built-in inflator": {files{"k/kustomization.yaml": "generators: [g.yaml]\n", "k/g.yaml": inflator}, "k/g.yaml", 1},
		"through a base": {files{"k/kustomization.yaml": "transformers: [../p]\n", "p/kustomization.yaml": "resources: [g.yaml]\n", "p/g.yaml": exec},
			"p/g.yaml", 1},
		"in a base of a base": {files{"k/kustomization.yaml": "resources: [../a]\n", "a/kustomization.yaml": "resources: [../b]\n", "b/kustomization.yaml": "helmCharts: [{name: x}]\n"},
			"b/kustomization.yaml", 1},
	} {
		t.Run(name, func(t *testing.T) { wantFailure(t, kustomize(t, tt.fs, "k"), codePlugin, tt.file, tt.line) })
	}
	labels := "apiVersion: builtin\nkind: LabelTransformer\nmetadata: {name: x}\nlabels: {a: b}\nfieldSpecs: [{path: metadata/labels, create: true}]\n"
	r := kustomize(t, files{"k/kustomization.yaml": "resources: [a.yaml]\ntransformers: [l.yaml]\n", "k/l.yaml": labels, "k/a.yaml": configMap("x")}, "k")
	wantNames(t, r, "ConfigMap/x")
}

// THREATS 1.2: CVE-2022-24878, CVE-2022-39272 (Flux).
func TestThreat_CVE_2022_24878_CyclesAreRefused(t *testing.T) {
	for _, length := range []int{1, 2, 50} {
		fs := files{}
		for i := range length {
			fs[fmt.Sprintf("k%d/kustomization.yaml", i)] = fmt.Sprintf("resources: [../k%d]\n", (i+1)%length)
		}
		r := kustomize(t, fs, "k0")
		wantFailure(t, r, codeSpec, fmt.Sprintf("k%d/kustomization.yaml", length-1), 1)
	}
	wantFailure(t, kustomize(t, files{"a/kustomization.yaml": "resources: [b]\n", "a/b/kustomization.yaml": "resources: [..]\n"}, "a"), codeSpec, "a/b/kustomization.yaml", 1)
}

func TestKustomizeDiamondsAreNoCycles(t *testing.T) {
	fs := files{
		"k/kustomization.yaml": "resources: [../a, ../b]\n", "a/kustomization.yaml": "namePrefix: a-\nresources: [../base]\n",
		"b/kustomization.yaml": "namePrefix: b-\nresources: [../base]\n", "base/kustomization.yaml": "resources: [x.yaml]\n", "base/x.yaml": configMap("x"),
	}
	wantNames(t, kustomize(t, fs, "k"), "ConfigMap/a-x", "ConfigMap/b-x")
}

func TestKustomizePathsOutsideAreRefused(t *testing.T) {
	for reference, code := range map[string]string{
		"../../../etc": codePathEscape, "/etc/passwd": codePathEscape, "../other.yaml": codePathEscape, `..\x`: codePathEscape, "%2e%2e/x": codePathEscape,
		"gone.yaml": codeKustomize, "../gone": codePathEscape,
	} {
		fs := files{"k/kustomization.yaml": "namePrefix: a\nresources:\n- '" + reference + "'\n", "other.yaml": configMap("x")}
		wantFailure(t, kustomize(t, fs, "k"), code, "k/kustomization.yaml", 3)
	}
	fs := files{"k/kustomization.yaml": "resources: [a.yaml]\n", "k/a.yaml": "REFUSED:is a link out of the tree"}
	wantFailure(t, kustomize(t, fs, "k"), codePathEscape, "k/a.yaml", 0)
	fs = files{"k/kustomization.yaml": "transformers: [t.yaml]\nresources: [a.yaml]\n", "k/a.yaml": configMap("x"),
		"k/t.yaml": "apiVersion: builtin\nkind: PatchTransformer\nmetadata: {name: x}\npath: ../../../../etc/passwd\n"}
	if r := kustomize(t, fs, "k"); r.Failure.GetCode() != codePathEscape {
		t.Fatal(r.Failure)
	}
}

// THREATS 1.2: CVE-2022-24731, CVE-2023-25163.
func TestThreat_CVE_2022_24731_NoKustomizeErrorRepeatsAFile(t *testing.T) {
	for name, fs := range map[string]files{
		"kustomization":      {"k/kustomization.yaml": "resources: [" + canary + "\n"},
		"unknown field":      {"k/kustomization.yaml": canary + ": x\nresources: [a.yaml]\n"},
		"resource":           {"k/a.yaml": "a: [" + canary},
		"resource no object": {"k/a.yaml": canary},
		"patch":              {"k/kustomization.yaml": "resources: [a.yaml]\npatches: [{path: p.yaml}]\n", "k/p.yaml": canary + ": " + canary},
		"inline patch":       {"k/kustomization.yaml": "resources: [a.yaml]\npatches: [{patch: '" + canary + "'}]\n"},
		"JSON patch":         {"k/kustomization.yaml": "resources: [a.yaml]\npatches: [{path: p.yaml, target: {kind: ConfigMap}}]\n", "k/p.yaml": `[{"op":"replace","path":"/data/` + canary + `","value":"` + canary + `"}]`},
		"two of one name":    {"k/kustomization.yaml": "resources: [a.yaml, b.yaml]\n", "k/b.yaml": configMap("x") + "data: {a: " + canary + "}\n"},
	} {
		t.Run(name, func(t *testing.T) {
			all := files{"k/kustomization.yaml": "resources: [a.yaml]\n", "k/a.yaml": configMap("x")}
			for path, content := range fs {
				all[path] = content
			}
			if r := kustomize(t, all, "k"); r.Failure == nil {
				t.Fatalf("built: %v", names(t, r))
			} else {
				t.Log(r.Failure)
			}
		})
	}
}

func TestKustomizeBombsInAFileAreRefused(t *testing.T) {
	fs := files{"k/kustomization.yaml": "resources: [a.yaml]\n", "k/a.yaml": "a: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000)}
	wantFailure(t, kustomize(t, fs, "k"), codeYAMLLimit, "k/a.yaml", 1)
}

func TestKustomizeOneSchemaDoesNotLeakIntoTheNextBuild(t *testing.T) {
	plain := files{"k/kustomization.yaml": "resources: [a.yaml]\npatches: [{path: p.yaml}]\n",
		"k/a.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec: {template: {spec: {containers: [{name: a, image: b}]}}}\n",
		"k/p.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec: {template: {spec: {containers: [{name: a, command: [c]}]}}}\n"}
	before := kustomize(t, plain, "k")
	custom := files{"k/kustomization.yaml": "resources: [a.yaml]\nopenapi: {path: s.json}\n", "k/a.yaml": configMap("x"), "k/s.json": `{"definitions":{}}`}
	wantNames(t, kustomize(t, custom, "k"), "ConfigMap/x")
	if after := kustomize(t, plain, "k"); after.String() != before.String() {
		t.Fatalf("%s\n%s", before, after)
	}
}

func TestAnEmptyRequestIsAMistake(t *testing.T) {
	wantFailure(t, render(files{}.ask, &rendererpb.Render{}), codeSpec, "", 0)
}
