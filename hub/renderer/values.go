package main

import (
	"bytes"
	"encoding/json"

	"helm.sh/helm/v4/pkg/chart/v2/loader"

	"countersign.dev/renderer/rendererpb"
)

// mergeValues reads the values of a request in order; later ones win. The second result is their text, which no
// message may repeat.
func mergeValues(t *tree, sources []*rendererpb.Values) (map[string]any, []string, *Failure) {
	merged := map[string]any{}
	var contents []string
	for _, source := range sources {
		values := map[string]any{}
		if source.File == "" {
			decoder := json.NewDecoder(bytes.NewReader(source.Json))
			decoder.UseNumber()
			if err := decoder.Decode(&values); err != nil || values == nil {
				return nil, nil, fail(codeValues, "", 0, "the values of the app are not a map")
			}
			contents = append(contents, string(source.Json))
			asHelmNumbers(values)
		} else {
			name, f := cleanPath("", source.File)
			if f != nil {
				return nil, nil, f
			}
			content, found, f := t.file(name)
			if f != nil {
				return nil, nil, f
			}
			if !found {
				if source.Optional {
					continue
				}
				return nil, nil, fail(codeValues, name, 0, "does not exist")
			}
			if f := checkYAML(name, content); f != nil {
				return nil, nil, f
			}
			contents = append(contents, string(content))
			var err error
			if values, err = loader.LoadValues(bytes.NewReader(content)); err != nil {
				return nil, nil, fail(codeValues, name, 0, "is not a map of values")
			}
		}
		merged = loader.MergeMaps(merged, values)
	}
	return merged, contents, nil
}

// asHelmNumbers gives numbers the type that values from a YAML file have, so that templates treat both alike.
func asHelmNumbers(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for key, inner := range v {
			v[key] = asHelmNumbers(inner)
		}
	case []any:
		for i, inner := range v {
			v[i] = asHelmNumbers(inner)
		}
	case json.Number:
		if f, err := v.Float64(); err == nil {
			return f
		}
	}
	return value
}
