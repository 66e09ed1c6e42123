package main

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"

	celtypes "github.com/google/cel-go/common/types"
	admissionv1 "k8s.io/api/admission/v1"
	v1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	celconfig "k8s.io/apiserver/pkg/apis/cel"

	"countersign.dev/renderer/rendererpb"
)

// admit judges each object by each binding of a loaded set. Objects on which all agree have no verdict.
func (p *policySets) admit(request *rendererpb.Admit) *rendererpb.Admitted {
	admitted := &rendererpb.Admitted{}
	set, known := p.sets[hex.EncodeToString(request.Policies)]
	if !known {
		admitted.Failure = fail(codePolicy, "", 0, "the policy set is not loaded").wire()
		return admitted
	}
	for i, wire := range request.Objects {
		s, f := newSubject(wire)
		if f != nil {
			admitted.Failure = f.wire()
			admitted.Verdicts = nil
			return admitted
		}
		for _, compiled := range set {
			for _, binding := range compiled.bindings {
				for _, v := range s.judge(compiled, binding) {
					v.Object = uint32(i)
					v.Policy, v.Binding = compiled.name, binding.Name
					admitted.Verdicts = append(admitted.Verdicts, v)
				}
			}
		}
	}
	return admitted
}

// A subject is an object to be judged, as a request to create it and as one to update it: the hub doesn't know which
// of both the agent's apply will be, so both must pass.
type subject struct {
	object   *unstructured.Unstructured
	requests []*admission.VersionedAttributes
	// secrets are words that no message may repeat.
	secrets []string
}

func newSubject(wire *rendererpb.AdmitObject) (*subject, *Failure) {
	var content map[string]any
	if err := utiljson.Unmarshal(wire.Json, &content); err != nil || content == nil {
		return nil, fail(codeYAML, "", 0, "an object to be judged is not JSON")
	}
	object := &unstructured.Unstructured{Object: content}
	kind := object.GroupVersionKind()
	if kind.Kind == "" || kind.Version == "" {
		return nil, fail(codeYAML, "", 0, "an object to be judged has no kind")
	}
	resource, _ := meta.UnsafeGuessKindToResource(kind)
	if wire.Resource != "" {
		resource.Resource = wire.Resource
	}
	namespace := object.GetNamespace()
	if !wire.Namespaced {
		namespace = ""
	}
	if resource.Group == "" && resource.Resource == "namespaces" {
		// The API server's own attributes of a namespace say that it lies in itself.
		namespace = object.GetName()
	}
	s := &subject{object: object, secrets: secretWords(content)}
	for _, operation := range []admission.Operation{admission.Create, admission.Update} {
		attributes := admission.NewAttributesRecord(object, nil, kind, namespace, object.GetName(), resource, "", operation, nil, false, nil)
		versioned := &admission.VersionedAttributes{Attributes: attributes, VersionedKind: kind}
		versioned.VersionedObject.Set(object)
		s.requests = append(s.requests, versioned)
	}
	return s, nil
}

// judge gives the verdicts of one binding: those of the creation, and those of the update that differ from them.
func (s *subject) judge(p *policy, binding *v1.ValidatingAdmissionPolicyBinding) []*rendererpb.Verdict {
	var all []*rendererpb.Verdict
	for _, request := range s.requests {
		for _, v := range s.judgeRequest(p, binding, request) {
			v.Message = redact(v.Message, s.secrets)
			duplicate := false
			for _, earlier := range all {
				duplicate = duplicate || (earlier.Decision == v.Decision && earlier.Message == v.Message)
			}
			if !duplicate {
				all = append(all, v)
			}
		}
	}
	return all
}

func (s *subject) judgeRequest(p *policy, binding *v1.ValidatingAdmissionPolicyBinding, request *admission.VersionedAttributes) []*rendererpb.Verdict {
	set := labels.Set(s.object.GetLabels())
	m := matches(p.spec.MatchConstraints, request, set)
	if m.no {
		return nil
	}
	if m = m.and(matches(binding.Spec.MatchResources, request, set)); m.no {
		return nil
	}
	if m.needs != "" {
		return undecidable(binding, m.needs)
	}
	if binding.Spec.ParamRef != nil {
		return undecidable(binding, "the parameters that the binding refers to, which only the cluster has")
	}
	applies, needs, failure := p.applies(request)
	if !applies {
		return nil
	}
	if failure != "" {
		return decisions(binding, failure)
	}
	if needs != "" {
		return undecidable(binding, needs)
	}
	return append(s.validate(p, binding, request), undecidable(binding, p.open...)...)
}

// applies evaluates the matchConditions: one that is certainly false decides, whatever the others need.
func (p *policy) applies(request *admission.VersionedAttributes) (applies bool, needs, failure string) {
	for _, c := range p.conditions {
		if c.needs != "" {
			needs = "matchCondition " + c.name + " needs " + c.needs
			continue
		}
		results, _, err := c.evaluator.ForInput(context.Background(), request, admissionRequest(request),
			cel.OptionalVariableBindings{}, nil, celconfig.RuntimeCELCostBudgetMatchConditions)
		switch {
		case err != nil:
			failure = "matchCondition " + c.name + ": " + err.Error()
		case results[0].Error != nil:
			failure = "matchCondition " + c.name + ": " + results[0].Error.Error()
		case results[0].EvalResult == celtypes.False:
			return false, "", ""
		}
	}
	if failure != "" && p.spec.FailurePolicy != nil && *p.spec.FailurePolicy == v1.Ignore {
		return false, "", ""
	}
	return true, needs, failure
}

func admissionRequest(request *admission.VersionedAttributes) *admissionv1.AdmissionRequest {
	return cel.CreateAdmissionRequest(request.Attributes, metav1.GroupVersionResource(request.GetResource()), metav1.GroupVersionKind(request.VersionedKind))
}

func (s *subject) validate(p *policy, binding *v1.ValidatingAdmissionPolicyBinding, request *admission.VersionedAttributes) []*rendererpb.Verdict {
	var all []*rendererpb.Verdict
	result := p.validator.Validate(context.Background(), request.GetResource(), request, nil, nil, celconfig.RuntimeCELCostBudget, nil)
	for _, decision := range result.Decisions {
		if decision.Action == validating.ActionDeny {
			all = append(all, decisions(binding, decision.Message)...)
		}
	}
	return all
}

// decisions gives what a binding makes of a "no".
func decisions(binding *v1.ValidatingAdmissionPolicyBinding, message string) []*rendererpb.Verdict {
	var all []*rendererpb.Verdict
	for _, action := range binding.Spec.ValidationActions {
		decision := rendererpb.Verdict_AUDITED
		switch action {
		case v1.Deny:
			decision = rendererpb.Verdict_DENIED
		case v1.Warn:
			decision = rendererpb.Verdict_WARNED
		}
		all = append(all, &rendererpb.Verdict{Decision: decision, Message: oneLine(message)})
	}
	return all
}

// undecidable is the answer to what only the cluster can decide. A binding that could not deny stays as mild as it is.
func undecidable(binding *v1.ValidatingAdmissionPolicyBinding, needs ...string) []*rendererpb.Verdict {
	var all []*rendererpb.Verdict
	for _, need := range needs {
		message := oneLine(need)
		if !strings.Contains(message, " needs ") {
			message = "needs " + message
		}
		if slices.Contains(binding.Spec.ValidationActions, v1.Deny) {
			all = append(all, &rendererpb.Verdict{Decision: rendererpb.Verdict_UNDECIDABLE, Message: message})
		} else {
			all = append(all, decisions(binding, "can't be decided here: "+message)...)
		}
	}
	return all
}

// secretWords gives the values of a Secret, as they stand in it and decoded.
func secretWords(object map[string]any) []string {
	if object["kind"] != "Secret" {
		return nil
	}
	var words []string
	for _, field := range []string{"data", "stringData"} {
		values, _ := object[field].(map[string]any)
		for _, value := range values {
			if text, ok := value.(string); ok {
				words = append(words, text)
				if plain, err := base64.StdEncoding.DecodeString(text); err == nil {
					words = append(words, string(plain))
				}
			}
		}
	}
	return words
}
