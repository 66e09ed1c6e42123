package main

import (
	"cmp"
	"encoding/hex"
	"slices"
	"strings"

	v1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"countersign.dev/renderer/rendererpb"
)

// policySets keeps the newest compiled sets by digest: compiling costs thirty times an evaluation.
type policySets struct {
	order []string
	sets  map[string][]*policy
}

func newPolicySets() *policySets { return &policySets{sets: map[string][]*policy{}} }

// load compiles a set and keeps it if every file of it is good.
func (p *policySets) load(request *rendererpb.Policies) *rendererpb.PoliciesLoaded {
	loaded := &rendererpb.PoliciesLoaded{}
	key := hex.EncodeToString(request.Digest)
	set, known := p.sets[key]
	if !known {
		var failures []*Failure
		if set, failures = compileSet(request); len(failures) > 0 {
			for _, f := range failures {
				loaded.Failures = append(loaded.Failures, f.wire())
			}
			return loaded
		}
		p.sets[key] = set
	}
	p.order = append(slices.DeleteFunc(p.order, func(k string) bool { return k == key }), key)
	for len(p.order) > policySetsMax {
		delete(p.sets, p.order[0])
		p.order = p.order[1:]
	}
	for _, compiled := range set {
		loaded.Names = append(loaded.Names, compiled.name)
	}
	return loaded
}

// A parsed document remembers where it stands, for mistakes that are found later.
type placed[T any] struct {
	value T
	file  string
	line  int
}

// compileSet reads all files and reports all mistakes at once.
func compileSet(request *rendererpb.Policies) ([]*policy, []*Failure) {
	var failures []*Failure
	var policies []placed[*v1.ValidatingAdmissionPolicy]
	var bindings []placed[*v1.ValidatingAdmissionPolicyBinding]
	environment, f := environmentOf(request.KubernetesVersion)
	if f != nil {
		return nil, []*Failure{f}
	}
	for _, file := range request.Files {
		documents, f := splitDocuments(file.Path, file.Content)
		if f != nil {
			failures = append(failures, f)
			continue
		}
		for _, d := range documents {
			if f := parsePolicy(file.Path, d, &policies, &bindings); f != nil {
				failures = append(failures, f)
			}
		}
	}
	if len(policies)+len(bindings) > policiesMax {
		return nil, []*Failure{fail(codePolicy, "", 0, "there are more than %d policies and bindings", policiesMax)}
	}
	slices.SortStableFunc(policies, func(a, b placed[*v1.ValidatingAdmissionPolicy]) int { return cmp.Compare(a.value.Name, b.value.Name) })
	slices.SortStableFunc(bindings, func(a, b placed[*v1.ValidatingAdmissionPolicyBinding]) int {
		return cmp.Compare(a.value.Name, b.value.Name)
	})
	byName := map[string]*policy{}
	var set []*policy
	for _, p := range policies {
		if byName[p.value.Name] != nil {
			failures = append(failures, failField(codePolicy, p.file, p.line, "metadata.name", "policy %q is there twice", p.value.Name))
			continue
		}
		compiled, mistakes := compilePolicy(environment, p)
		failures = append(failures, mistakes...)
		byName[p.value.Name] = compiled
		set = append(set, compiled)
	}
	seen := map[string]bool{}
	for _, b := range bindings {
		if seen[b.value.Name] {
			failures = append(failures, failField(codePolicy, b.file, b.line, "metadata.name", "binding %q is there twice", b.value.Name))
		}
		seen[b.value.Name] = true
		if f := bind(byName, b); f != nil {
			failures = append(failures, f)
		}
	}
	return set, failures
}

// parsePolicy reads one document. Documents of Countersign's own (health rules) are not its business.
func parsePolicy(file string, d document, policies *[]placed[*v1.ValidatingAdmissionPolicy], bindings *[]placed[*v1.ValidatingAdmissionPolicyBinding]) *Failure {
	bytes, _, f := d.toJSON(file)
	if f != nil {
		f.Code = codePolicy
		return f
	}
	var head metav1.TypeMeta
	if err := yaml.Unmarshal(bytes, &head); err != nil {
		return fail(codePolicy, file, d.first, "is not a Kubernetes object")
	}
	group, _, _ := strings.Cut(head.APIVersion, "/")
	if group == "countersign.dev" || strings.HasSuffix(group, ".countersign.dev") || string(bytes) == "null" {
		return nil
	}
	if head.APIVersion != "admissionregistration.k8s.io/v1" {
		return failField(codePolicy, file, d.first, "apiVersion", "is %q; policies are admissionregistration.k8s.io/v1", shorten(head.APIVersion))
	}
	switch head.Kind {
	case "ValidatingAdmissionPolicy":
		value := &v1.ValidatingAdmissionPolicy{}
		if err := yaml.UnmarshalStrict(bytes, value); err != nil {
			return fail(codePolicy, file, d.first, "%s", oneLine(err.Error()))
		}
		*policies = append(*policies, placed[*v1.ValidatingAdmissionPolicy]{value, file, d.first})
		if value.Name == "" {
			return failField(codePolicy, file, d.first, "metadata.name", "is missing")
		}
	case "ValidatingAdmissionPolicyBinding":
		value := &v1.ValidatingAdmissionPolicyBinding{}
		if err := yaml.UnmarshalStrict(bytes, value); err != nil {
			return fail(codePolicy, file, d.first, "%s", oneLine(err.Error()))
		}
		*bindings = append(*bindings, placed[*v1.ValidatingAdmissionPolicyBinding]{value, file, d.first})
		if value.Name == "" {
			return failField(codePolicy, file, d.first, "metadata.name", "is missing")
		}
	default:
		return failField(codePolicy, file, d.first, "kind", "is %q; only ValidatingAdmissionPolicy and its binding are evaluated", shorten(head.Kind))
	}
	return nil
}

// bind gives a binding to its policy.
func bind(byName map[string]*policy, b placed[*v1.ValidatingAdmissionPolicyBinding]) *Failure {
	mistake := func(field, format string, args ...any) *Failure {
		return failField(codePolicy, b.file, b.line, field, format, args...)
	}
	target := byName[b.value.Spec.PolicyName]
	if target == nil {
		return mistake("spec.policyName", "%q is not among the policies", shorten(b.value.Spec.PolicyName))
	}
	if len(b.value.Spec.ValidationActions) == 0 {
		return mistake("spec.validationActions", "is missing")
	}
	for _, action := range b.value.Spec.ValidationActions {
		switch action {
		case v1.Deny, v1.Warn, v1.Audit:
		default:
			return mistake("spec.validationActions", "%q is not Deny, Warn or Audit", shorten(string(action)))
		}
	}
	if b.value.Spec.ParamRef != nil && target.spec.ParamKind == nil {
		return mistake("spec.paramRef", "policy %q takes no parameters", target.name)
	}
	if b.value.Spec.MatchResources != nil {
		if err := checkSelectors(b.value.Spec.MatchResources); err != nil {
			return mistake("spec.matchResources", "%s", oneLine(err.Error()))
		}
	}
	target.bindings = append(target.bindings, b.value)
	return nil
}
