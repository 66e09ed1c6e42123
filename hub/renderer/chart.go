package main

import (
	"bytes"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"helm.sh/helm/v4/pkg/chart/loader/archive"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	"helm.sh/helm/v4/pkg/ignore"
	"sigs.k8s.io/yaml"

	"countersign.dev/renderer/rendererpb"
)

// loadChart reads the chart of a request with its dependencies into memory and checks that it is whole.
//
// The second result is the chart's folder in the tree; for an archive the chart's name, as in its templates' names.
func loadChart(t *tree, request *rendererpb.Helm) (*chart.Chart, string, *Failure) {
	left := newBudget()
	var files map[string][]byte
	var folder string
	var f *Failure
	if len(request.ChartArchive) > 0 {
		files, f = unpack("chart.tgz", request.ChartArchive, left)
	} else {
		if folder, f = cleanPath("", request.Folder); f == nil {
			files, f = chartFolder(t, folder, left)
		}
	}
	if f != nil {
		return nil, folder, f
	}
	for _, dependency := range request.Dependencies {
		name, f := cleanPath("", dependency.Name)
		if f != nil {
			return nil, folder, f
		}
		if path.Dir(name) != "charts" || path.Ext(name) != ".tgz" {
			return nil, folder, fail(codeLock, name, 0, "is no name of a dependency: charts/NAME-VERSION.tgz")
		}
		if _, twice := files[name]; twice {
			return nil, folder, fail(codeLock, name, 0, "is both in the chart and among its locked dependencies")
		}
		files[name] = dependency.Content
	}
	if files, f = unpackNested(files, left, 0); f != nil {
		return nil, folder, f
	}
	c, f := parseChart(folder, files)
	if f != nil {
		return nil, folder, f
	}
	if len(request.ChartArchive) > 0 {
		folder = c.Name()
	}
	return c, folder, checkLock(c, folder)
}

// chartFolder reads an unpacked chart from the tree, without what its .helmignore names.
func chartFolder(t *tree, folder string, left *budget) (map[string][]byte, *Failure) {
	rules := ignore.Empty()
	if content, found, f := t.file(path.Join(folder, ignore.HelmIgnore)); f != nil {
		return nil, f
	} else if found {
		parsed, err := ignore.Parse(bytes.NewReader(content))
		if err != nil {
			return nil, fail(codeChart, path.Join(folder, ignore.HelmIgnore), 0, "has a pattern that can't be read")
		}
		rules = parsed
	}
	rules.AddDefaults()
	files := map[string][]byte{}
	skip := func(relative string, isFolder bool) bool { return rules.Ignore(relative, entry{relative, isFolder}) }
	f := t.walk(folder, skip, func(relative string) *Failure {
		content, _, f := t.file(path.Join(folder, relative))
		if f != nil {
			return f
		}
		files[relative] = bytes.TrimPrefix(content, []byte("\xef\xbb\xbf"))
		return left.take(path.Join(folder, relative), int64(len(content)))
	})
	if f == nil && len(files) == 0 {
		f = fail(codeChart, folder, 0, "is not a folder with a chart")
	}
	return files, f
}

// entry is what .helmignore's rules want to know of a file.
type entry struct {
	name   string
	folder bool
}

func (e entry) Name() string       { return path.Base(e.name) }
func (e entry) Size() int64        { return 0 }
func (e entry) Mode() fs.FileMode  { return 0o644 }
func (e entry) ModTime() time.Time { return time.Time{} }
func (e entry) IsDir() bool        { return e.folder }
func (e entry) Sys() any           { return nil }

// unpackNested replaces each charts/NAME.tgz by its members, at every depth, so that no archive reaches the library
// unchecked and one budget covers all.
func unpackNested(files map[string][]byte, left *budget, depth int) (map[string][]byte, *Failure) {
	out := map[string][]byte{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		parent, base := path.Split(name)
		inCharts := parent == "charts/" || strings.HasSuffix(parent, "/charts/")
		if !inCharts || path.Ext(base) != ".tgz" || strings.HasPrefix(base, "_") || strings.HasPrefix(base, ".") {
			out[name] = files[name]
			continue
		}
		if depth >= chartDepthMax {
			return nil, fail(codeSize, name, 0, "charts are nested deeper than %d", chartDepthMax)
		}
		members, f := unpack(name, files[name], left)
		if f != nil {
			return nil, f
		}
		if members, f = unpackNested(members, left, depth+1); f != nil {
			return nil, f
		}
		for member, content := range members {
			out[path.Join(parent, strings.TrimSuffix(base, ".tgz"), member)] = content
		}
	}
	return out, nil
}

func parseChart(folder string, files map[string][]byte) (*chart.Chart, *Failure) {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if strings.Count(name, "charts/") > chartDepthMax {
			return nil, fail(codeSize, path.Join(folder, name), 0, "charts are nested deeper than %d", chartDepthMax)
		}
		switch path.Base(name) {
		case "Chart.yaml", "Chart.lock", "values.yaml", "requirements.yaml", "requirements.lock":
			if f := checkYAML(path.Join(folder, name), files[name]); f != nil {
				return nil, f
			}
		}
	}
	metadata, found := files["Chart.yaml"]
	if !found {
		return nil, fail(codeChart, path.Join(folder, "Chart.yaml"), 0, "is missing")
	}
	var head map[string]any
	if err := yaml.Unmarshal(metadata, &head); err != nil || len(head) == 0 {
		return nil, fail(codeChart, path.Join(folder, "Chart.yaml"), 0, "is not a chart's description")
	}
	buffered := make([]*archive.BufferedFile, 0, len(files))
	for _, name := range slices.Sorted(maps.Keys(files)) {
		buffered = append(buffered, &archive.BufferedFile{Name: name, Data: files[name]})
	}
	c, err := loader.LoadFiles(buffered)
	if err != nil {
		return nil, fail(codeChart, path.Join(folder, "Chart.yaml"), 0, "the chart can't be loaded: %s",
			redact(err.Error(), texts(files), slices.Sorted(maps.Keys(files))...))
	}
	if c.Metadata.Type == "library" {
		return nil, fail(codeChart, path.Join(folder, "Chart.yaml"), 0, "is a library chart: it renders nothing of its own")
	}
	sortDependencies(c)
	return c, nil
}

// sortDependencies gives the charts below c one order: the loader takes them from a map.
func sortDependencies(c *chart.Chart) {
	dependencies := slices.Clone(c.Dependencies())
	slices.SortFunc(dependencies, func(a, b *chart.Chart) int {
		return strings.Compare(a.Name()+" "+a.Metadata.Version, b.Name()+" "+b.Metadata.Version)
	})
	c.SetDependencies(dependencies...)
	for _, dependency := range dependencies {
		sortDependencies(dependency)
	}
}

// checkLock makes sure that the dependencies that a chart names are there, in versions that it accepts and its lock
// names. The engine would render without them. Nothing is ever fetched here.
func checkLock(c *chart.Chart, folder string) *Failure {
	file := path.Join(folder, "Chart.yaml")
	locked := map[string]string{}
	if c.Lock != nil {
		for _, dependency := range c.Lock.Dependencies {
			if dependency != nil {
				locked[dependency.Name] = dependency.Version
			}
		}
	}
	for i, wanted := range c.Metadata.Dependencies {
		if wanted == nil {
			return failField(codeChart, file, 0, "dependencies", "entry %d is empty", i)
		}
		field := "dependencies." + wanted.Name
		var versions []string
		for _, there := range c.Dependencies() {
			if there.Name() == wanted.Name && chartutil.IsCompatibleRange(wanted.Version, there.Metadata.Version) {
				versions = append(versions, there.Metadata.Version)
			}
		}
		switch {
		case len(versions) == 0:
			return failField(codeLock, file, 0, field, "version %q is not in the chart and not among its locked dependencies", shorten(wanted.Version))
		case len(versions) > 1:
			return failField(codeLock, file, 0, field, "is there in more than one copy: %s", strings.Join(versions, ", "))
		}
		version, inLock := locked[wanted.Name]
		if c.Lock != nil && !inLock {
			return failField(codeLock, file, 0, field, "is not in Chart.lock")
		}
		if c.Lock != nil && version != versions[0] && !strings.HasPrefix(wanted.Repository, "file://") {
			return failField(codeLock, file, 0, field, "is version %q, but Chart.lock names %q", shorten(versions[0]), shorten(version))
		}
	}
	for _, dependency := range c.Dependencies() {
		if f := checkLock(dependency, path.Join(folder, "charts", dependency.Name())); f != nil {
			return f
		}
	}
	return nil
}

func texts(files map[string][]byte) []string {
	var all []string
	for _, content := range files {
		all = append(all, string(content))
	}
	return all
}
