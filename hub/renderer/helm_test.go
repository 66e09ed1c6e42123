package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"countersign.dev/renderer/rendererpb"
)

func helmValues(folder, file string) *rendererpb.Helm {
	return &rendererpb.Helm{Folder: folder, Values: []*rendererpb.Values{{File: file}}}
}

func inline(folder, json string) *rendererpb.Helm {
	return &rendererpb.Helm{Folder: folder, Values: []*rendererpb.Values{{Json: []byte(json)}}}
}

func chartOf(more files) files {
	fs := files{"c/Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n"}
	for name, content := range more {
		fs["c/"+name] = content
	}
	return fs
}

func TestHelmRendersAFolderFromTheTree(t *testing.T) {
	fs := chartOf(files{
		"values.yaml":                    "name: one\nlist: [1]\n",
		"crds/crd.yaml":                  "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: xs.example.org}\n",
		"templates/_helpers.tpl":         `{{ define "n" }}{{ .Release.Name }}-{{ .Values.name }}{{ end }}`,
		"templates/b.yaml":               "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ include \"n\" . }}\ndata:\n  v: {{ .Capabilities.KubeVersion }}\n  d: {{ .Capabilities.APIVersions.Has \"apps/v1/Deployment\" | quote }}\n  k: {{ keys (dict \"b\" 1 \"a\" 2 \"c\" 3) | join \",\" }}\n---\n# nothing\n---\n" + configMap("second"),
		"templates/hook.yaml":            "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: hook\n  annotations: {helm.sh/hook: pre-install}\n",
		"templates/NOTES.txt":            "{{ fail \"not rendered as an object\" | quote }}",
		"ignored.txt":                    "x",
		".helmignore":                    "ignored.txt\n",
		"templates/sub/empty.yaml":       "{{ if false }}" + configMap("no") + "{{ end }}",
		"charts/sub/Chart.yaml":          "apiVersion: v2\nname: sub\nversion: 0.1.0\n",
		"charts/sub/templates/cm.yaml":   configMap("sub-{{ .Values.x }}"),
		"charts/sub/values.yaml":         "x: y\n",
		"../values-prod.yaml":            "",
		"charts/sub/templates/NOTES.txt": "x",
	})
	delete(fs, "c/../values-prod.yaml")
	fs["c/templates/NOTES.txt"] = "thanks"
	fs["prod.yaml"] = "name: two\nsub: {x: z}\n"
	request := helmValues("c", "prod.yaml")
	request.Values = append(request.Values, &rendererpb.Values{File: "absent.yaml", Optional: true}, &rendererpb.Values{Json: []byte(`{"list":null}`)})
	r := helm(t, fs, request)
	wantNames(t, r, "CustomResourceDefinition/xs.example.org", "ConfigMap/sub-z", "ConfigMap/cart-two", "ConfigMap/second", "Job/hook")
	if got := string(r.Objects[2].Json); !strings.Contains(got, `"d":"true","k":"a,b,c","v":"v1.35.4"`) {
		t.Fatal(got)
	}
	for i, want := range []string{"c/crds/crd.yaml", "c/charts/sub/templates/cm.yaml", "c/templates/b.yaml"} {
		if r.Objects[i].File != want {
			t.Fatalf("file %d is %s", i, r.Objects[i].File)
		}
	}
	for range 5 {
		if again := helm(t, fs, request); again.String() != r.String() {
			t.Fatal("two renders of one input differ")
		}
	}
}

func TestHelmMistakesNameTheirTemplate(t *testing.T) {
	for name, tt := range map[string]struct {
		template, message string
		line              int
	}{
		"nil pointer":         {"a: 1\nb: {{ .Values.x.y.z }}\n", "nil pointer", 2},
		"unknown function":    {"\n\n{{ nothing }}\n", "not defined", 3},
		"constant fail":       {`{{ fail "set values.name, please" }}`, "set values.name, please", 1},
		"computed fail":       {`{{ fail (printf "bad %s" .Values.secret) }}`, "not shown", 1},
		"required":            {"\n" + `{{ required "a name is needed" .Values.none }}`, "a name is needed", 2},
		"unparsable template": {"{{ if }}", "", 1},
		"wrong type":          {"\n{{ .Values.secret | atoi | add .Values.secret | printf \"%d\" | fromJson | index 1 }}", "", 2},
	} {
		t.Run(name, func(t *testing.T) {
			r := helm(t, chartOf(files{"templates/a.yaml": tt.template}), inline("c", `{"secret":"`+canary+`"}`))
			wantFailure(t, r, codeTemplate, "c/templates/a.yaml", tt.line)
			if !strings.Contains(r.Failure.Message, tt.message) {
				t.Fatal(r.Failure.Message)
			}
		})
	}
}

// THREATS 1.2: CVE-2023-25165, CVE-2026-34984, and DESIGN 3.
func TestThreat_CVE_2023_25165_ImpureFunctionsAreRefusedByName(t *testing.T) {
	for _, name := range impure {
		r := helm(t, chartOf(files{"templates/a.yaml": "a: 1\nb: {{ " + name + " }}\n"}), inline("c", `{}`))
		wantFailure(t, r, codeImpure, "c/templates/a.yaml", 2)
		if !strings.Contains(r.Failure.Message, `"`+name+`"`) {
			t.Fatal(r.Failure.Message)
		}
	}
}

// THREATS 1.2: CVE-2026-41050 (Fleet), Fleet#5199.
func TestThreat_CVE_2026_41050_LookupIsRefusedWhereverItStands(t *testing.T) {
	call := `{{ lookup "v1" "Secret" "ns" "n" }}`
	for name, tt := range map[string]struct {
		fs   files
		file string
		line int
	}{
		"helper": {files{"templates/_h.tpl": "\n{{ define \"h\" }}\n" + call + "{{ end }}", "templates/a.yaml": `{{ include "h" . }}`}, "c/templates/_h.tpl", 3},
		"tpl":    {files{"templates/a.yaml": "\n\n{{ tpl .Values.t . }}", "values.yaml": "t: '" + call + "'\n"}, "c/templates/a.yaml", 3},
		"subchart": {files{"charts/s/Chart.yaml": "apiVersion: v2\nname: s\nversion: 1.0.0\n", "charts/s/templates/a.yaml": "a: 1\n" + call},
			"c/charts/s/templates/a.yaml", 2},
		"pipeline": {files{"templates/a.yaml": `{{ (lookup "v1" "Secret" "ns" "n") | default (dict "a" "b") | toYaml }}`}, "c/templates/a.yaml", 1},
	} {
		t.Run(name, func(t *testing.T) {
			wantFailure(t, helm(t, chartOf(tt.fs), inline("c", `{}`)), codeImpure, tt.file, tt.line)
		})
	}
	wantNames(t, helm(t, chartOf(files{"templates/a.yaml": "{{ if false }}" + call + "{{ end }}" + configMap("x")}), inline("c", `{}`)), "ConfigMap/x")
}

// THREATS 1.2: CVE-2022-24731, CVE-2023-25163.
func TestThreat_CVE_2023_25163_NoErrorRepeatsAFile(t *testing.T) {
	broken := "a: [" + canary + "\nb: " + canary + ": x\n"
	for name, fs := range map[string]files{
		"values":        {"v.yaml": broken},
		"chart":         {"c/Chart.yaml": "apiVersion: v2\nname: web\nversion: " + canary + "\n"},
		"chart.yaml":    {"c/Chart.yaml": broken},
		"defaults":      {"c/values.yaml": broken},
		"schema":        {"c/values.schema.json": `{"type": "` + canary},
		"schema type":   {"c/values.schema.json": `{"properties":{"k":{"type":"number"}}}`, "v.yaml": "k: " + canary + "\n"},
		"schema enum":   {"c/values.schema.json": `{"properties":{"k":{"enum":["` + canary + `-b"]}}}`, "v.yaml": "k: " + canary + "\n"},
		"schema regexp": {"c/values.schema.json": `{"properties":{"k":{"pattern":"^x"}}}`, "v.yaml": "k: " + canary + "\n"},
		"template":      {"c/templates/a.yaml": "{{ " + canary + " }}"},
		"output":        {"c/templates/a.yaml": "{{ .Values.k }}: : [", "v.yaml": "k: " + canary + "\n"},
		"parse in call": {"c/templates/a.yaml": "{{ mustFromJson .Values.k }}", "v.yaml": "k: " + canary + "\n"},
		"tpl":           {"c/templates/a.yaml": "{{ tpl .Values.k . }}", "v.yaml": "k: '{{ " + canary + " }}'\n"},
		"lock":          {"c/Chart.lock": broken},
	} {
		t.Run(name, func(t *testing.T) {
			all := chartOf(nil)
			all["v.yaml"] = "{}\n"
			for path, content := range fs {
				all[path] = content
			}
			if r := helm(t, all, helmValues("c", "v.yaml")); r.Failure == nil {
				t.Fatalf("rendered: %v", names(t, r))
			}
		})
	}
}

// THREATS 1.2: CVE-2022-23524, CVE-2022-23526, CVE-2022-36055, CVE-2024-26147, CVE-2025-32387, CVE-2025-55198,
// CVE-2025-55199 (Helm).
func TestThreat_CVE_2025_32387_HostileChartsAreTypedErrors(t *testing.T) {
	deep := strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000)
	for name, tt := range map[string]struct {
		fs     files
		values string
		codes  string
	}{
		"schema refers to itself":   {files{"values.schema.json": `{"$ref":"#"}`}, `{}`, codeValues},
		"schema ring":               {files{"values.schema.json": `{"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}}}`}, `{}`, codeValues},
		"deep schema":               {files{"values.schema.json": `{"x":` + deep + `}`}, `{}`, codeValues},
		"remote schema":             {files{"values.schema.json": `{"properties":{"a":{"$ref":"https://169.254.169.254/x"}}}`}, `{}`, codeValues},
		"file schema":               {files{"values.schema.json": `{"$ref":"file:///etc/passwd"}`}, `{}`, codeValues},
		"relative schema":           {files{"values.schema.json": `{"$ref":"other.json"}`}, `{}`, codeValues},
		"unknown draft":             {files{"values.schema.json": `{"$schema":"https://evil.example/draft"}`}, `{}`, codeValues},
		"schema refuses":            {files{"values.schema.json": `{"properties":{"a":{"type":"string"}}}`}, `{"a":1}`, codeValues},
		"values no map":             {files{}, `[1]`, codeValues},
		"deep values":               {files{"values.yaml": "a: " + deep}, `{}`, codeYAMLLimit},
		"empty Chart.yaml":          {files{"Chart.yaml": ""}, `{}`, codeChart},
		"Chart.yaml is null":        {files{"Chart.yaml": "null\n"}, `{}`, codeChart},
		"Chart.yaml is a list":      {files{"Chart.yaml": "[1]\n"}, `{}`, codeChart},
		"null dependency":           {files{"Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\ndependencies: [null]\n"}, `{}`, codeChart},
		"null maintainer":           {files{"Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\nmaintainers: [null]\n"}, `{}`, codeChart},
		"library":                   {files{"Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\ntype: library\n"}, `{}`, codeChart},
		"wrong Kubernetes":          {files{"Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\nkubeVersion: '<1.20'\n"}, `{}`, codeChart},
		"endless include":           {files{"templates/a.yaml": `{{ define "a" }}{{ include "a" . }}{{ end }}{{ include "a" . }}`}, `{}`, codeTemplate},
		"name with a path":          {files{"Chart.yaml": "apiVersion: v2\nname: ../../web\nversion: 1.0.0\n"}, `{}`, codeChart},
		"empty template file":       {files{"templates/a.yaml": ""}, `{}`, ""},
		"values.yaml without a map": {files{"values.yaml": "- a\n"}, `{}`, codeChart},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			r := helm(t, chartOf(tt.fs), inline("c", tt.values))
			if r.Failure.GetCode() != tt.codes {
				t.Fatalf("want %q, got %v", tt.codes, r.Failure)
			}
			if took := time.Since(start); took > 2*time.Second {
				t.Fatalf("took %v", took)
			}
		})
	}
}

func TestHelmSchemaMistakeNamesTheField(t *testing.T) {
	r := helm(t, chartOf(files{"values.schema.json": `{"properties":{"image":{"properties":{"tag":{"type":"string"}}}}}`}), inline("c", `{"image":{"tag":7}}`))
	wantFailure(t, r, codeValues, "c/values.schema.json", 0)
	if r.Failure.Field != "image.tag" || !strings.Contains(r.Failure.Message, "want string") {
		t.Fatal(r.Failure)
	}
}

// THREATS 1.2: dependency confusion.
func TestThreat_DependencyConfusion_OnlyLockedDependenciesCount(t *testing.T) {
	chart := "apiVersion: v2\nname: web\nversion: 1.0.0\ndependencies:\n- {name: db, version: ^1.0.0, repository: 'https://charts.example.org'}\n"
	lock := "dependencies:\n- {name: db, version: 1.2.3, repository: 'https://charts.example.org'}\n"
	db := func(version string) []byte {
		return chartArchive(t, map[string]string{"db/Chart.yaml": "apiVersion: v2\nname: db\nversion: " + version + "\n", "db/templates/a.yaml": configMap("db")})
	}
	request := func(archives ...*rendererpb.Archive) *rendererpb.Helm {
		r := inline("c", `{}`)
		r.Dependencies = archives
		return r
	}
	good := &rendererpb.Archive{Name: "charts/db-1.2.3.tgz", Content: db("1.2.3")}
	wantNames(t, helm(t, chartOf(files{"Chart.yaml": chart, "Chart.lock": lock}), request(good)), "ConfigMap/db")
	wantNames(t, helm(t, chartOf(files{"Chart.yaml": chart}), request(good)), "ConfigMap/db")
	for name, tt := range map[string]struct {
		fs       files
		archives []*rendererpb.Archive
	}{
		"missing":                      {files{"Chart.yaml": chart, "Chart.lock": lock}, nil},
		"not in the lock":              {files{"Chart.yaml": chart, "Chart.lock": "dependencies: []\n"}, []*rendererpb.Archive{good}},
		"other version than the lock":  {files{"Chart.yaml": chart, "Chart.lock": lock}, []*rendererpb.Archive{{Name: "charts/db-1.2.4.tgz", Content: db("1.2.4")}}},
		"outside the accepted range":   {files{"Chart.yaml": chart}, []*rendererpb.Archive{{Name: "charts/db-2.0.0.tgz", Content: db("2.0.0")}}},
		"two copies of one name":       {files{"Chart.yaml": chart}, []*rendererpb.Archive{good, {Name: "charts/db-1.3.0.tgz", Content: db("1.3.0")}}},
		"a name that is no dependency": {files{"Chart.yaml": chart}, []*rendererpb.Archive{{Name: "templates/a.yaml", Content: db("1.2.3")}}},
	} {
		t.Run(name, func(t *testing.T) {
			if r := helm(t, chartOf(tt.fs), request(tt.archives...)); r.Failure.GetCode() != codeLock {
				t.Fatalf("want %s, got %v", codeLock, r.Failure)
			}
		})
	}
}

// THREATS 1.2: CVE-2025-53547 (Helm).
func TestThreat_CVE_2025_53547_LinkedChartFilesAreRefused(t *testing.T) {
	for _, name := range []string{"Chart.lock", "Chart.yaml", "charts", "templates/a.yaml", "values.yaml"} {
		r := helm(t, chartOf(files{name: "REFUSED:is a link out of the tree"}), inline("c", `{}`))
		wantFailure(t, r, codePathEscape, "c/"+name, 0)
	}
}

func TestHelmArchiveRendersLikeItsFolder(t *testing.T) {
	archive := chartArchive(t, map[string]string{
		"web/Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n", "web/templates/a.yaml": "\n{{ now }}", "web/templates/b.yaml": configMap("b"),
	})
	wantFailure(t, helm(t, files{}, &rendererpb.Helm{ChartArchive: archive}), codeImpure, "web/templates/a.yaml", 2)
}

func TestHelmOutputLimits(t *testing.T) {
	large := chartOf(files{"templates/a.yaml": configMap("x") + "data: {a: {{ repeat 2000000 \"x\" }}}\n"})
	wantFailure(t, helm(t, large, inline("c", `{}`)), codeSize, "c/templates/a.yaml", 0)
	many := chartOf(files{"templates/a.yaml": "{{ range until 9000 }}\n---\n" + configMap("x-{{ . }}") + "{{ end }}"})
	for i := range 2 {
		many[fmt.Sprintf("c/templates/a%d.yaml", i)] = many["c/templates/a.yaml"]
	}
	wantFailure(t, helm(t, many, inline("c", `{}`)), codeSize, "c/templates/a1.yaml", 0)
	if !bytes.Contains([]byte(helm(t, many, inline("c", `{}`)).Failure.Message), []byte("objects")) {
		t.Fatal("the limit is not named")
	}
}
