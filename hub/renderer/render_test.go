package main

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"countersign.dev/renderer/rendererpb"
)

func TestMain(m *testing.M) {
	silence()
	os.Exit(m.Run())
}

// files is a tree in memory: path to content. A content that starts with "REFUSED:" stands for a refusal.
type files map[string]string

func (fs files) ask(kind rendererpb.FileQuery_Kind, name string) *rendererpb.FileAnswer {
	if content, ok := fs[name]; ok {
		if reason, refused := strings.CutPrefix(content, "REFUSED:"); refused {
			return &rendererpb.FileAnswer{Kind: rendererpb.FileAnswer_REFUSED, Reason: reason}
		}
		answer := &rendererpb.FileAnswer{Kind: rendererpb.FileAnswer_FILE}
		if kind == rendererpb.FileQuery_READ {
			answer.Content = []byte(content)
		}
		return answer
	}
	names := map[string]bool{}
	for path := range fs {
		rest, below := strings.CutPrefix(path, name+"/")
		if name == "" {
			rest, below = path, true
		}
		if below {
			first, _, deeper := strings.Cut(rest, "/")
			names[first] = deeper
		}
	}
	if len(names) == 0 && name != "" {
		return &rendererpb.FileAnswer{Kind: rendererpb.FileAnswer_ABSENT}
	}
	answer := &rendererpb.FileAnswer{Kind: rendererpb.FileAnswer_FOLDER}
	for first, folder := range names {
		answer.Entries = append(answer.Entries, &rendererpb.FolderEntry{Name: first, Folder: folder})
	}
	return answer
}

func plain(t *testing.T, fs files, names ...string) *rendererpb.Rendered {
	t.Helper()
	return checked(t, render(fs.ask, &rendererpb.Render{How: &rendererpb.Render_Plain{Plain: &rendererpb.Plain{Files: names}}}), fs)
}

func kustomize(t *testing.T, fs files, folder string) *rendererpb.Rendered {
	t.Helper()
	return checked(t, render(fs.ask, &rendererpb.Render{How: &rendererpb.Render_Kustomize{Kustomize: &rendererpb.Kustomize{Folder: folder}}}), fs)
}

func helm(t *testing.T, fs files, request *rendererpb.Helm) *rendererpb.Rendered {
	t.Helper()
	if request.ReleaseName == "" {
		request.ReleaseName, request.Namespace = "cart", "shop"
	}
	return checked(t, render(fs.ask, &rendererpb.Render{
		How: &rendererpb.Render_Helm{Helm: request}, KubernetesVersion: "v1.35.4", ApiVersions: []string{"apps/v1", "apps/v1/Deployment"},
	}), fs)
}

// canary is planted in files; no failure and no warning may repeat it.
const canary = "c4n4ry-8f2e"

func checked(t *testing.T, r *rendererpb.Rendered, _ files) *rendererpb.Rendered {
	t.Helper()
	text := strings.Join(r.Warnings, " ") + r.GetFailure().String()
	if strings.Contains(text, canary) {
		t.Fatalf("the answer repeats a file: %s", text)
	}
	if r.Failure != nil && len(r.Objects) > 0 {
		t.Fatal("a failure came with objects")
	}
	return r
}

// wantFailure checks code and place; line -1 is any.
func wantFailure(t *testing.T, r *rendererpb.Rendered, code, file string, line int) {
	t.Helper()
	f := r.Failure
	if f == nil {
		t.Fatalf("want %s, got %d objects: %s", code, len(r.Objects), names(t, r))
	}
	if f.Code != code || f.File != file || (line >= 0 && int(f.Line) != line) {
		t.Fatalf("want %s %s:%d, got %v", code, file, line, f)
	}
}

func wantNames(t *testing.T, r *rendererpb.Rendered, want ...string) {
	t.Helper()
	if r.Failure != nil {
		t.Fatalf("failed: %v", r.Failure)
	}
	if got := names(t, r); !slices.Equal(got, want) {
		t.Fatalf("want %v, got %v", want, got)
	}
}

func names(t *testing.T, r *rendererpb.Rendered) []string {
	t.Helper()
	var all []string
	for i := range r.Objects {
		o := object(t, r, i)
		all = append(all, o["kind"].(string)+"/"+o["metadata"].(map[string]any)["name"].(string))
	}
	return all
}

func object(t *testing.T, r *rendererpb.Rendered, i int) map[string]any {
	t.Helper()
	var o map[string]any
	if err := json.Unmarshal(r.Objects[i].Json, &o); err != nil {
		t.Fatal(err)
	}
	return o
}

func configMap(name string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: " + name + "\n"
}
