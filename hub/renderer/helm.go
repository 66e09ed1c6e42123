package main

import (
	"context"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	commonutil "helm.sh/helm/v4/pkg/chart/common/util"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	"helm.sh/helm/v4/pkg/engine"

	"countersign.dev/renderer/rendererpb"
)

// renderHelm renders a chart as an installation with revision 1: CRDs first, then each template in the order of their
// names, hooks with their annotations like any other object.
func renderHelm(t *tree, request *rendererpb.Helm, version string, apis []string, o *output) *Failure {
	values, secrets, f := mergeValues(t, request.Values)
	if f != nil {
		return f
	}
	c, folder, f := loadChart(t, request)
	if f != nil {
		return f
	}
	if c.Metadata.Deprecated {
		o.warn("chart %s is deprecated", shorten(c.Name()))
	}
	capabilities, f := capabilitiesOf(version, apis)
	if f != nil {
		return f
	}
	if c.Metadata.KubeVersion != "" && !chartutil.IsCompatibleRange(c.Metadata.KubeVersion, capabilities.KubeVersion.String()) {
		return failField(codeChart, path.Join(folder, "Chart.yaml"), 0, "kubeVersion", "the chart is not for Kubernetes %s", capabilities.KubeVersion.String())
	}
	if f := checkSchemas(c, folder); f != nil {
		return f
	}
	input, f := renderValues(c, folder, values, secrets, request, capabilities)
	if f != nil {
		return f
	}
	unclean := &impurity{}
	rendered, err := engine.Engine{CustomTemplateFuncs: unclean.functions()}.RenderWithContext(context.Background(), c, input)
	if err != nil {
		return templateFailure(c, folder, secrets, unclean, err)
	}
	return addRendered(c, folder, rendered, o)
}

func capabilitiesOf(version string, apis []string) (*common.Capabilities, *Failure) {
	parsed, err := common.ParseKubeVersion(version)
	if err != nil {
		return nil, failField(codeSpec, "", 0, "kubernetes_version", "%q is not a version", shorten(version))
	}
	capabilities := common.DefaultCapabilities.Copy()
	capabilities.KubeVersion = *parsed
	capabilities.APIVersions = common.VersionSet(slices.Clone(apis))
	return capabilities, nil
}

func renderValues(c *chart.Chart, folder string, values map[string]any, secrets []string, request *rendererpb.Helm, capabilities *common.Capabilities) (common.Values, *Failure) {
	if err := chartutil.ProcessDependencies(c, values); err != nil {
		return nil, fail(codeChart, path.Join(folder, "Chart.yaml"), 0, "the chart's dependencies can't be processed: %s",
			redact(err.Error(), append(valueTexts(c), secrets...)))
	}
	release := common.ReleaseOptions{
		Name: request.ReleaseName, Namespace: request.Namespace, Revision: 1, IsInstall: true,
	}
	input, err := commonutil.ToRenderValues(c, values, release, capabilities)
	if err != nil {
		return nil, valuesFailure(c, folder, secrets, err)
	}
	return input, nil
}

var schemaComplaint = regexp.MustCompile(`at '([^']*)': ([^\n]*)`)

// valuesFailure names the first field that a schema refuses, without its value.
func valuesFailure(c *chart.Chart, folder string, secrets []string, err error) *Failure {
	f := fail(codeValues, path.Join(folder, "values.schema.json"), 0, "the values don't fit the chart")
	contents := append(valueTexts(c), secrets...)
	if found := schemaComplaint.FindStringSubmatch(err.Error()); found != nil {
		f.Field = strings.ReplaceAll(strings.TrimPrefix(found[1], "/"), "/", ".")
		f.Message = "the values don't fit the schema: " + redact(found[2], contents)
	}
	return f
}

var templatePlace = regexp.MustCompile(`([^\s:()"<>]+):(\d+)(?::\d+)?`)

// templateFailure finds where a template failed: the innermost place that is a file of the chart.
func templateFailure(c *chart.Chart, folder string, secrets []string, unclean *impurity, err error) *Failure {
	templates := templateTexts(c)
	file, line := "", 0
	for _, found := range templatePlace.FindAllStringSubmatch(err.Error(), -1) {
		if _, known := templates[found[1]]; known {
			file = found[1]
			line, _ = strconv.Atoi(found[2])
		}
	}
	file = treePath(c, folder, file)
	if unclean.name != "" {
		return fail(codeImpure, file, line, "the template calls %q, whose answer is not a function of the tree", unclean.name)
	}
	return fail(codeTemplate, file, line, "%s", templateMessage(err.Error(), templates, append(valueTexts(c), secrets...)))
}

var authorsWords = regexp.MustCompile(`(?s)^execution error at \([^)]*\): (.*)$`)

// templateMessage keeps what an author wrote for "fail" and "required" if it stands so in a template; what was
// computed may hold values. Else it keeps the last part of the engine's message, which says what went wrong.
func templateMessage(message string, templates map[string]string, secrets []string) string {
	if found := authorsWords.FindStringSubmatch(message); found != nil {
		for _, template := range templates {
			if strings.Contains(template, found[1]) {
				return oneLine(found[1])
			}
		}
		return "the chart refuses its values; its message is computed, so it is not shown"
	}
	parts := strings.Split(strings.TrimSpace(message), "\n")
	contents := secrets
	for _, template := range templates {
		contents = append(contents, template)
	}
	names := slices.Sorted(maps.Keys(templates))
	return "the template failed: " + redact(strings.TrimSpace(parts[len(parts)-1]), contents, append(names, impure...)...)
}

// addRendered adds the CRDs and the output of each template.
func addRendered(c *chart.Chart, folder string, rendered map[string]string, o *output) *Failure {
	crds := c.CRDObjects()
	slices.SortFunc(crds, func(a, b chart.CRD) int { return strings.Compare(a.Filename, b.Filename) })
	for _, crd := range crds {
		if f := addDocuments(o, treePath(c, folder, crd.Filename), crd.File.Data); f != nil {
			return f
		}
	}
	for _, name := range slices.Sorted(maps.Keys(rendered)) {
		base := path.Base(name)
		if strings.HasPrefix(base, "_") || strings.EqualFold(base, "NOTES.txt") {
			continue
		}
		if f := addTemplateOutput(o, treePath(c, folder, name), rendered[name]); f != nil {
			return f
		}
	}
	return nil
}

// addTemplateOutput reads what a template printed. Lines of it are not lines of the template, so none are given.
func addTemplateOutput(o *output, file, printed string) *Failure {
	documents, f := splitDocuments(file, []byte(printed))
	for _, d := range documents {
		bytes, twice, g := d.templateJSON(file)
		if g != nil {
			f = g
			break
		}
		if twice {
			o.warn("%s sets a key twice; the last one counts", file)
		}
		value, err := decode(bytes)
		if err != nil {
			return fail(codeYAML, file, 0, "prints a value that JSON can't hold")
		}
		d.first = 0
		if f = o.add(file, d, value, nil); f != nil {
			break
		}
	}
	if f != nil {
		if f.Line > 0 {
			f.Message = "the template's output, line " + strconv.Itoa(f.Line) + ", " + f.Message
		}
		f.Line = 0
	}
	return f
}

// treePath gives the path in the tree of a file that the engine names by charts.
func treePath(c *chart.Chart, folder, name string) string {
	if name == "" {
		return path.Join(folder, "Chart.yaml")
	}
	rest, ok := strings.CutPrefix(name, c.Name()+"/")
	if !ok {
		return name
	}
	return path.Join(folder, rest)
}

func templateTexts(c *chart.Chart) map[string]string {
	all := map[string]string{}
	for _, file := range c.Templates {
		all[path.Join(c.ChartFullPath(), file.Name)] = string(file.Data)
	}
	for _, dependency := range c.Dependencies() {
		maps.Copy(all, templateTexts(dependency))
	}
	return all
}

// valueTexts gives what a chart's values could be quoted from.
func valueTexts(c *chart.Chart) []string {
	var all []string
	for _, file := range c.Raw {
		if !strings.HasPrefix(file.Name, "templates/") {
			all = append(all, string(file.Data))
		}
	}
	return all
}
