package main

import (
	"encoding/json"
	"path"
	"strings"

	chart "helm.sh/helm/v4/pkg/chart/v2"
)

// drafts are the meta-schemas that the validator brings along; any other "$schema" it would fetch.
var drafts = map[string]bool{
	"http://json-schema.org/draft-04/schema": true, "http://json-schema.org/draft-06/schema": true,
	"http://json-schema.org/draft-07/schema": true, "https://json-schema.org/draft/2019-09/schema": true,
	"https://json-schema.org/draft/2020-12/schema": true, "http://json-schema.org/schema": true,
	"https://json-schema.org/draft-07/schema": true, "https://json-schema.org/draft-04/schema": true,
	"https://json-schema.org/draft-06/schema": true,
}

// checkSchemas refuses a schema, of the chart or of one below it, that refers to anything outside itself.
func checkSchemas(c *chart.Chart, folder string) *Failure {
	file := path.Join(folder, "values.schema.json")
	if len(c.Schema) > 0 {
		var schema any
		if err := json.Unmarshal(c.Schema, &schema); err != nil {
			return fail(codeValues, file, 0, "is not valid JSON")
		}
		ids := map[string]bool{}
		collectIDs(schema, ids, 0)
		if f := checkReferences(file, schema, ids, "", 0); f != nil {
			return f
		}
	}
	for _, dependency := range c.Dependencies() {
		if f := checkSchemas(dependency, path.Join(folder, "charts", dependency.Name())); f != nil {
			return f
		}
	}
	return nil
}

func collectIDs(value any, ids map[string]bool, depth int) {
	if depth > schemaDepthMax {
		return
	}
	switch v := value.(type) {
	case map[string]any:
		for key, inner := range v {
			if id, ok := inner.(string); ok && (key == "$id" || key == "id") {
				ids[strings.TrimSuffix(id, "#")] = true
			}
			collectIDs(inner, ids, depth+1)
		}
	case []any:
		for _, inner := range v {
			collectIDs(inner, ids, depth+1)
		}
	}
}

func checkReferences(file string, value any, ids map[string]bool, field string, depth int) *Failure {
	if depth > schemaDepthMax {
		return fail(codeValues, file, 0, "is nested deeper than %d", schemaDepthMax)
	}
	switch v := value.(type) {
	case map[string]any:
		for _, key := range sortedKeys(v) {
			inner := v[key]
			at := field + "/" + key
			if reference, ok := inner.(string); ok {
				base, _, _ := strings.Cut(reference, "#")
				switch key {
				case "$ref", "$dynamicRef", "$recursiveRef":
					if base != "" && !ids[base] {
						return failField(codeValues, file, 0, at, "refers to %q outside the schema; nothing is fetched", shorten(reference))
					}
				case "$schema":
					if !drafts[base] {
						return failField(codeValues, file, 0, at, "names %q, which is no draft of JSON Schema; nothing is fetched", shorten(reference))
					}
				}
			}
			if f := checkReferences(file, inner, ids, at, depth+1); f != nil {
				return f
			}
		}
	case []any:
		for _, inner := range v {
			if f := checkReferences(file, inner, ids, field, depth+1); f != nil {
				return f
			}
		}
	}
	return nil
}
