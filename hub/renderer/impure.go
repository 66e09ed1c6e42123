package main

import (
	"errors"
	"maps"
	"slices"
	"text/template"
)

// impure are the template functions whose answer isn't a function of the tree: time, randomness, network, environment
// and the cluster. The charts' function map keeps their names, so that the use of one is an error with a place.
var impure = []string{
	"ago", "bcrypt", "date", "dateInZone", "date_in_zone", "durationRound", "encryptAES", "env", "expandenv", "genCA",
	"genCAWithKey", "genPrivateKey", "genSelfSignedCert", "genSelfSignedCertWithKey", "genSignedCert",
	"genSignedCertWithKey", "getHostByName", "htmlDate", "htmlDateInZone", "htpasswd", "lookup", "now", "randAlpha",
	"randAlphaNum", "randAscii", "randBytes", "randInt", "randNumeric", "shuffle", "uuidv4",
}

var errImpure = errors.New("refused: not a function of the tree")

// An impurity remembers which impure function a template called first.
type impurity struct{ name string }

// functions gives what replaces the engine's own functions: each impure one fails, those that follow the order of a
// map follow the order of its keys. They win over the engine's, in helpers, "tpl" and subcharts too.
func (i *impurity) functions() template.FuncMap {
	functions := template.FuncMap{"keys": sortedKeys, "values": sortedValues}
	for _, name := range impure {
		functions[name] = func(...any) (string, error) {
			if i.name == "" {
				i.name = name
			}
			return "", errImpure
		}
	}
	return functions
}

func sortedKeys(dicts ...map[string]any) []string {
	keys := []string{}
	for _, m := range dicts {
		keys = append(keys, slices.Sorted(maps.Keys(m))...)
	}
	return keys
}

func sortedValues(m map[string]any) []any {
	values := []any{}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		values = append(values, m[key])
	}
	return values
}
