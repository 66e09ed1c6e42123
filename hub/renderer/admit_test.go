package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign.dev/renderer/rendererpb"
	"sigs.k8s.io/yaml"
)

// judged loads policies and gives the verdicts on objects as "object policy DECISION".
func judged(t *testing.T, policies string, objects ...*rendererpb.AdmitObject) []string {
	t.Helper()
	var all []string
	for _, v := range verdicts(t, policies, objects...) {
		all = append(all, fmt.Sprintf("%d %s %s", v.Object, v.Policy, v.Decision))
	}
	return all
}

func verdicts(t *testing.T, policies string, objects ...*rendererpb.AdmitObject) []*rendererpb.Verdict {
	t.Helper()
	sets := newPolicySets()
	digest := sha256.Sum256([]byte(policies))
	loaded := sets.load(&rendererpb.Policies{Digest: digest[:], KubernetesVersion: "v1.35.4",
		Files: []*rendererpb.PolicyFile{{Path: "policies/a.yaml", Content: []byte(policies)}}})
	if len(loaded.Failures) > 0 {
		t.Fatalf("not loaded: %v", loaded.Failures)
	}
	admitted := sets.admit(&rendererpb.Admit{Policies: digest[:], Objects: objects})
	if admitted.Failure != nil {
		t.Fatal(admitted.Failure)
	}
	return admitted.Verdicts
}

func subjectOf(t *testing.T, text string) *rendererpb.AdmitObject {
	t.Helper()
	json, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	clusterScoped := strings.Contains(text, "kind: Namespace") || strings.Contains(text, "kind: ClusterRole")
	return &rendererpb.AdmitObject{Json: json, Namespaced: !clusterScoped}
}

func vap(name, spec string) string {
	return "---\napiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicy\nmetadata: {name: " + name + "}\nspec:\n" + spec
}

func binding(name, spec string) string {
	return "---\napiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicyBinding\nmetadata: {name: b-" + name + "}\nspec:\n  policyName: " + name + "\n" + spec
}

const (
	configMaps = "  matchConstraints:\n    resourceRules: [{apiGroups: [''], apiVersions: [v1], operations: ['*'], resources: [configmaps, namespaces]}]\n"
	never      = "  validations: [{expression: 'false', message: no}]\n"
	deny       = "  validationActions: [Deny]\n"
)

func TestAdmitAgreesAndDenies(t *testing.T) {
	policy := vap("p", configMaps+"  variables: [{name: d, expression: object.data}]\n  validations: [{expression: \"variables.d.count > 3\", messageExpression: \"'n is ' + string(variables.d.count)\"}]\n") + binding("p", deny)
	good, bad := subjectOf(t, configMap("x")+"data: {count: 4}\n"), subjectOf(t, configMap("y")+"data: {count: 2}\n")
	got := verdicts(t, policy, good, bad)
	if len(got) != 1 || got[0].Object != 1 || got[0].Message != "n is 2" || got[0].Binding != "b-p" || got[0].Decision != rendererpb.Verdict_DENIED {
		t.Fatal(got)
	}
}

func TestAdmitMatchesAsTheAPIServerDoes(t *testing.T) {
	team := "  labels: {team: a}\n"
	for name, tt := range map[string]struct {
		policy, binding, object string
		want                    []string
	}{
		"any object of the rule":            {configMaps + never, deny, configMap("x"), []string{"0 p DENIED"}},
		"no binding":                        {configMaps + never, "", configMap("x"), nil},
		"other kind":                        {configMaps + never, deny, "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\n", nil},
		"warn and audit":                    {configMaps + never, "  validationActions: [Warn, Audit]\n", configMap("x"), []string{"0 p WARNED", "0 p AUDITED"}},
		"objectSelector matches":            {strings.Replace(configMaps, "  matchConstraints:\n", "  matchConstraints:\n    objectSelector: {matchLabels: {team: a}}\n", 1) + never, deny, configMap("x") + team, []string{"0 p DENIED"}},
		"objectSelector does not":           {strings.Replace(configMaps, "  matchConstraints:\n", "  matchConstraints:\n    objectSelector: {matchLabels: {team: b}}\n", 1) + never, deny, configMap("x") + team, nil},
		"matchCondition false":              {configMaps + never + "  matchConditions: [{name: c, expression: \"object.metadata.name == 'y'\"}]\n", deny, configMap("x"), nil},
		"matchCondition true":               {configMaps + never + "  matchConditions: [{name: c, expression: \"object.metadata.name == 'x'\"}]\n", deny, configMap("x"), []string{"0 p DENIED"}},
		"matchCondition fails":              {configMaps + never + "  matchConditions: [{name: c, expression: \"object.data.gone == 'x'\"}]\n", deny, configMap("x"), []string{"0 p DENIED"}},
		"matchCondition fails, ignored":     {configMaps + never + "  failurePolicy: Ignore\n  matchConditions: [{name: c, expression: \"object.data.gone == 'x'\"}]\n", deny, configMap("x"), nil},
		"expression fails":                  {configMaps + "  validations: [{expression: \"object.data.gone == 'x'\"}]\n", deny, configMap("x"), []string{"0 p DENIED"}},
		"expression fails, ignored":         {configMaps + "  failurePolicy: Ignore\n  validations: [{expression: \"object.data.gone == 'x'\"}]\n", deny, configMap("x"), nil},
		"binding's rule":                    {configMaps + never, deny + "  matchResources: {resourceRules: [{apiGroups: [''], apiVersions: [v1], operations: ['*'], resources: [namespaces]}]}\n", configMap("x"), nil},
		"resourceNames":                     {strings.Replace(configMaps, "resources:", "resourceNames: [y], resources:", 1) + never, deny, configMap("x"), nil},
		"excluded":                          {configMaps + "    excludeResourceRules: [{apiGroups: [''], apiVersions: [v1], operations: ['*'], resources: [configmaps]}]\n" + never, deny, configMap("x"), nil},
		"excluded under another name":       {configMaps + "    excludeResourceRules: [{resourceNames: [y], apiGroups: [''], apiVersions: [v1], operations: ['*'], resources: [configmaps]}]\n" + never, deny, configMap("x"), []string{"0 p DENIED"}},
		"only updates":                      {strings.Replace(configMaps, "'*'", "UPDATE", 1) + never, deny, configMap("x"), []string{"0 p DENIED"}},
		"only deletions":                    {strings.Replace(configMaps, "'*'", "DELETE", 1) + never, deny, configMap("x"), nil},
		"operation decides":                 {configMaps + "  validations: [{expression: \"request.operation == 'CREATE'\"}]\n", deny, configMap("x"), []string{"0 p DENIED"}},
		"namespace by its name":             {configMaps + never, deny + "  matchResources: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: shop}}}\n", configMap("x") + "  namespace: shop\n", []string{"0 p DENIED"}},
		"namespace by another name":         {configMaps + never, deny + "  matchResources: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: shop}}}\n", configMap("x") + "  namespace: other\n", nil},
		"namespace's own labels":            {configMaps + never, deny + "  matchResources: {namespaceSelector: {matchLabels: {team: a}}}\n", "apiVersion: v1\nkind: Namespace\nmetadata: {name: n, labels: {team: a}}\n", []string{"0 p DENIED"}},
		"a certain no beats an open label":  {configMaps + never, deny + "  matchResources: {namespaceSelector: {matchLabels: {team: a, kubernetes.io/metadata.name: shop}}}\n", configMap("x") + "  namespace: other\n", nil},
		"a false condition beats open ones": {configMaps + never + "  matchConditions: [{name: c, expression: \"request.userInfo.username == 'x'\"}, {name: d, expression: 'false'}]\n", deny, configMap("x"), nil},
		"exact version":                     {"  matchConstraints:\n    matchPolicy: Exact\n    resourceRules: [{apiGroups: [apps], apiVersions: [v1beta1], operations: ['*'], resources: [deployments]}]\n" + never, deny, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			policies := vap("p", tt.policy)
			if tt.binding != "" {
				policies += binding("p", tt.binding)
			}
			if got := judged(t, policies, subjectOf(t, tt.object)); !slices.Equal(got, tt.want) {
				t.Fatalf("want %v, got %v", tt.want, got)
			}
		})
	}
}

// THREATS 1.3: CVE-2025-46342, CVE-2024-48921, GO-2026-4285 (Kyverno).
func TestThreat_CVE_2025_46342_WhatOnlyTheClusterKnowsIsUndecidable(t *testing.T) {
	open := func(expression string) string {
		return configMaps + "  validations: [{expression: \"" + expression + "\"}]\n"
	}
	for name, tt := range map[string]struct{ policy, binding, needs string }{
		"oldObject":           {open("oldObject == null || oldObject.data == object.data"), deny, "oldObject"},
		"oldObject, has":      {open("has(oldObject.data)"), deny, "oldObject"},
		"namespaceObject":     {open("namespaceObject.metadata.labels.team == 'a'"), deny, "namespaceObject"},
		"authorizer":          {open("authorizer.group('').resource('pods').check('get').allowed()"), deny, "authorizer"},
		"userInfo":            {open("request.userInfo.username == 'x'"), deny, "request.userInfo"},
		"userInfo, has":       {open("!has(request.userInfo.username)"), deny, "request.userInfo"},
		"options":             {open("request.options == null"), deny, "request.options"},
		"all of request":      {open("dyn(request) == null"), deny, "request.*"},
		"in a variable":       {configMaps + "  variables: [{name: a, expression: oldObject}, {name: b, expression: variables.a}]\n  validations: [{expression: 'variables.b == null'}]\n", deny, "oldObject"},
		"in a condition":      {configMaps + never + "  matchConditions: [{name: c, expression: \"request.userInfo.username != 'x'\"}]\n", deny, "matchCondition c needs request.userInfo"},
		"inside a macro":      {open("[1].all(x, oldObject == null)"), deny, "oldObject"},
		"params":              {"  paramKind: {apiVersion: v1, kind: ConfigMap}\n" + open("params.data.a == 'b'"), deny + "  paramRef: {name: x, parameterNotFoundAction: Deny}\n", "parameters"},
		"params, no ref":      {"  paramKind: {apiVersion: v1, kind: ConfigMap}\n" + open("params.data.a == 'b'"), deny, "params"},
		"namespaceSelector":   {configMaps + never, deny + "  matchResources: {namespaceSelector: {matchLabels: {team: a}}}\n", "labels of namespace"},
		"selector, in policy": {strings.Replace(configMaps, "  matchConstraints:\n", "  matchConstraints:\n    namespaceSelector: {matchExpressions: [{key: team, operator: DoesNotExist}]}\n", 1) + never, deny, "labels of namespace"},
		"other version":       {"  matchConstraints:\n    resourceRules: [{apiGroups: [''], apiVersions: [v2], operations: ['*'], resources: [configmaps]}]\n" + never, deny, "converted"},
	} {
		t.Run(name, func(t *testing.T) {
			got := verdicts(t, vap("p", tt.policy)+binding("p", tt.binding), subjectOf(t, configMap("x")+"  namespace: shop\n"))
			if len(got) != 1 || got[0].Decision != rendererpb.Verdict_UNDECIDABLE || !strings.Contains(got[0].Message, tt.needs) {
				t.Fatal(got)
			}
		})
	}
	mild := verdicts(t, vap("p", open("oldObject == null"))+binding("p", "  validationActions: [Warn]\n"), subjectOf(t, configMap("x")))
	if len(mild) != 1 || mild[0].Decision != rendererpb.Verdict_WARNED {
		t.Fatal(mild)
	}
	both := verdicts(t, vap("p", configMaps+"  validations: [{expression: 'oldObject == null'}, {expression: 'false'}]\n")+binding("p", deny), subjectOf(t, configMap("x")))
	if len(both) != 2 {
		t.Fatal(both)
	}
}

func TestPolicyMistakesAreReportedAllAtOnce(t *testing.T) {
	text := vap("a", configMaps+"  validations: [{expression: 'object.'}, {expression: '1'}]\n") +
		vap("b", never) +
		vap("c", configMaps+never+"  unknown: 1\n") +
		binding("gone", deny) + binding("a", "") + binding("a", "  validationActions: [Explode]\n") +
		"---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n" +
		"---\napiVersion: countersign.dev/v1alpha1\nkind: HealthRule\nmetadata: {name: x}\n"
	loaded := newPolicySets().load(&rendererpb.Policies{Digest: []byte("x"), KubernetesVersion: "v1.35.4", Files: []*rendererpb.PolicyFile{{Path: "p.yaml", Content: []byte(text)}}})
	fields := map[string]bool{}
	for _, f := range loaded.Failures {
		if f.Code != codePolicy || f.File != "p.yaml" || f.Line == 0 {
			t.Fatal(f)
		}
		fields[f.Field] = true
	}
	for _, want := range []string{"spec.validations[0].expression", "spec.validations[1].expression", "spec.matchConstraints.resourceRules", "spec.policyName",
		"spec.validationActions", "apiVersion", ""} {
		if !fields[want] {
			t.Errorf("%q is not reported: %v", want, loaded.Failures)
		}
	}
	sets := newPolicySets()
	if got := sets.admit(&rendererpb.Admit{Policies: []byte("x")}); got.Failure.GetCode() != codePolicy {
		t.Fatal(got)
	}
}

func TestOnlyTheNewestSetsAreKept(t *testing.T) {
	sets := newPolicySets()
	for i := range policySetsMax + 2 {
		sets.load(&rendererpb.Policies{Digest: []byte{byte(i)}, KubernetesVersion: "v1.35.4"})
		sets.load(&rendererpb.Policies{Digest: []byte{0}, KubernetesVersion: "v1.35.4"})
	}
	if len(sets.sets) != policySetsMax || len(sets.order) != policySetsMax || sets.sets["00"] != nil && sets.order[policySetsMax-1] != "00" {
		t.Fatal(sets.order)
	}
	if got := sets.admit(&rendererpb.Admit{Policies: []byte{1}}); got.Failure == nil {
		t.Fatal("an old set is still there")
	}
}

// THREATS 1.2: CVE-2024-32476, CVE-2026-23881, GHSA-gcjh-h69q-9w9g.
func TestThreat_CVE_2024_32476_CostlyExpressionsStop(t *testing.T) {
	list := "[" + strings.Repeat("1,", 99) + "1]"
	for _, expression := range []string{
		list + ".all(a, " + list + ".all(b, " + list + ".all(c, " + list + ".all(d, a+b+c+d > 0))))",
		"object.data.long.matches('(a+)+b') || [1,2,3].all(x, object.data.long.matches('(x*)*y'))",
		list + ".all(a, object.data.long.replace('a','bb').replace('b','cc').size() > 0)",
	} {
		start := time.Now()
		sets := newPolicySets()
		policy := vap("p", configMaps+"  validations: [{expression: \""+expression+"\"}]\n") + binding("p", deny)
		loaded := sets.load(&rendererpb.Policies{Digest: []byte("x"), KubernetesVersion: "v1.35.4", Files: []*rendererpb.PolicyFile{{Path: "p", Content: []byte(policy)}}})
		if len(loaded.Failures) == 0 {
			object := subjectOf(t, configMap("x")+"data: {long: "+strings.Repeat("a", 300_000)+"}\n")
			if got := sets.admit(&rendererpb.Admit{Policies: []byte("x"), Objects: []*rendererpb.AdmitObject{object}}); len(got.Verdicts) == 0 {
				t.Errorf("%s agreed", expression[:20])
			}
		}
		if took := time.Since(start); took > 3*time.Second {
			t.Fatalf("took %v", took)
		}
	}
}

// THREATS 1.3: CVE-2026-4789, CVE-2026-40868, CVE-2026-41323, GO-2026-5594 (Kyverno): no function of the library does
// input or output. A new one must be looked at before its name is added.
func TestThreat_CVE_2026_4789_EveryFunctionOfTheLibraryIsKnown(t *testing.T) {
	set, f := environmentOf("v1.35.4")
	if f != nil {
		t.Fatal(f)
	}
	env, err := set.Env(expressionMode)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for name := range env.Functions() {
		all = append(all, name)
	}
	slices.Sort(all)
	got := strings.Join(all, "\n") + "\n"
	golden := filepath.Join("testdata", "cel_functions.txt")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Fatalf("the functions are\n%s", got)
	}
}

func TestVerdictsOnSecretsDoNotRepeatThem(t *testing.T) {
	policy := vap("p", "  matchConstraints:\n    resourceRules: [{apiGroups: [''], apiVersions: [v1], operations: ['*'], resources: [secrets]}]\n"+
		"  validations: [{expression: 'false', messageExpression: \"'bad: ' + object.data.a\"}]\n") + binding("p", deny)
	got := verdicts(t, policy, subjectOf(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\ndata: {a: YzRuNHJ5LThmMmU=}\n"))
	if len(got) != 1 || strings.Contains(got[0].Message, "YzRu") {
		t.Fatal(got)
	}
}

// THREATS 1.3: CVE-2023-2727, CVE-2023-2728, CVE-2024-3177, CVE-2021-25735.
func TestThreat_CVE_2023_2727_ShippedPoliciesJudgeTheirCases(t *testing.T) {
	root := filepath.Join("..", "..", "policies")
	policies, err := filepath.Glob(filepath.Join(root, "*.yaml"))
	if err != nil || len(policies) < 6 {
		t.Fatal(policies, err)
	}
	for _, path := range policies {
		name := strings.TrimSuffix(filepath.Base(path), ".yaml")
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		cases, _ := filepath.Glob(filepath.Join(root, "cases", name, "*.yaml"))
		passing, failing := 0, 0
		for _, c := range cases {
			content, err := os.ReadFile(c)
			if err != nil {
				t.Fatal(err)
			}
			var objects []*rendererpb.AdmitObject
			documents, _ := splitDocuments(c, content)
			for _, d := range documents {
				objects = append(objects, subjectOf(t, string(d.text)))
			}
			denied := map[uint32]bool{}
			for _, v := range verdicts(t, string(text), objects...) {
				if v.Decision != rendererpb.Verdict_DENIED || strings.Contains(v.Message, "resulted in error") {
					t.Errorf("%s: %v", c, v)
				}
				denied[v.Object] = true
			}
			switch pass := strings.HasPrefix(filepath.Base(c), "pass-"); {
			case pass && len(denied) > 0:
				t.Errorf("%s is denied", c)
			case !pass && len(denied) != len(objects):
				t.Errorf("%s: only %d of %d are denied", c, len(denied), len(objects))
			case pass:
				passing++
			default:
				failing++
			}
		}
		if passing == 0 || failing == 0 {
			t.Errorf("%s: %d passing and %d failing cases", name, passing, failing)
		}
	}
}
