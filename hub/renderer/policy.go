package main

import (
	"fmt"
	"strings"

	celgo "github.com/google/cel-go/cel"
	v1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions"
	"k8s.io/apiserver/pkg/cel/environment"
)

// A policy is a ValidatingAdmissionPolicy, compiled. What needs the cluster to be decided is set apart, so that it is
// never taken for an answer.
type policy struct {
	name       string
	spec       v1.ValidatingAdmissionPolicySpec
	bindings   []*v1.ValidatingAdmissionPolicyBinding
	conditions []condition
	// validator holds the validations that the object alone decides; open says what each other one needs.
	validator validating.Validator
	open      []string
}

// A condition is a matchCondition; needs is empty if the object alone decides it.
type condition struct {
	name      string
	needs     string
	evaluator cel.ConditionEvaluator
}

// environmentOf gives the CEL environment of a cluster's version: it refuses what that version doesn't know.
func environmentOf(kubernetes string) (*environment.EnvSet, *Failure) {
	parsed, err := version.ParseGeneric(kubernetes)
	if err != nil {
		return nil, failField(codeSpec, "", 0, "kubernetes_version", "%q is not a version", shorten(kubernetes))
	}
	return environment.MustBaseEnvSet(version.MajorMinor(parsed.Major(), parsed.Minor())), nil
}

// expressionMode accepts what a cluster of the environment's version accepts in a policy that is written anew.
const expressionMode = environment.NewExpressions

// compilePolicy compiles every expression and reports each that doesn't.
func compilePolicy(env *environment.EnvSet, p placed[*v1.ValidatingAdmissionPolicy]) (*policy, []*Failure) {
	spec := p.value.Spec
	compiled := &policy{name: p.value.Name, spec: spec}
	var failures []*Failure
	mistake := func(field, format string, args ...any) {
		failures = append(failures, failField(codePolicy, p.file, p.line, field, format, args...))
	}
	if spec.MatchConstraints == nil || len(spec.MatchConstraints.ResourceRules) == 0 {
		mistake("spec.matchConstraints.resourceRules", "is missing")
		return compiled, failures
	}
	if err := checkSelectors(spec.MatchConstraints); err != nil {
		mistake("spec.matchConstraints", "%s", oneLine(err.Error()))
	}
	if spec.FailurePolicy != nil && *spec.FailurePolicy != v1.Fail && *spec.FailurePolicy != v1.Ignore {
		mistake("spec.failurePolicy", "must be Fail or Ignore")
	}
	if len(spec.Validations) == 0 && len(spec.AuditAnnotations) == 0 {
		mistake("spec.validations", "is missing")
	}
	compiler, err := cel.NewCompositedCompiler(env)
	if err != nil {
		mistake("spec", "the policy can't be compiled")
		return compiled, failures
	}
	parser, err := env.Env(expressionMode)
	if err != nil {
		mistake("spec", "the policy can't be compiled")
		return compiled, failures
	}
	options := cel.OptionalVariableDeclarations{HasParams: spec.ParamKind != nil, HasAuthorizer: true}
	messageOptions := cel.OptionalVariableDeclarations{HasParams: spec.ParamKind != nil}
	look := &lookout{parser: parser, variables: map[string]string{}}
	good := func(field string, accessor cel.ExpressionAccessor, options cel.OptionalVariableDeclarations) bool {
		if result := compiler.CompileCELExpression(accessor, options, expressionMode); result.Error != nil {
			mistake(field, "%s", oneLine(result.Error.Detail))
			return false
		}
		return true
	}
	for i, variable := range spec.Variables {
		result := compiler.CompileAndStoreVariable(&validating.Variable{Name: variable.Name, Expression: variable.Expression}, options, expressionMode)
		if result.Error != nil {
			mistake(fmt.Sprintf("spec.variables[%d].expression", i), "%s", oneLine(result.Error.Detail))
		}
		look.variables[variable.Name] = variable.Expression
	}
	for i, match := range spec.MatchConditions {
		accessor := (*matchconditions.MatchCondition)(&match)
		if !good(fmt.Sprintf("spec.matchConditions[%d].expression", i), accessor, options) {
			continue
		}
		compiled.conditions = append(compiled.conditions, condition{
			name: match.Name, needs: look.needs(match.Expression),
			evaluator: compiler.CompileCondition([]cel.ExpressionAccessor{accessor}, options, expressionMode),
		})
	}
	var validations, messages []cel.ExpressionAccessor
	for i, validation := range spec.Validations {
		accessor := &validating.ValidationCondition{Expression: validation.Expression, Message: validation.Message, Reason: validation.Reason}
		if !good(fmt.Sprintf("spec.validations[%d].expression", i), accessor, options) {
			continue
		}
		var message cel.ExpressionAccessor
		if validation.MessageExpression != "" {
			m := &validating.MessageExpressionCondition{MessageExpression: validation.MessageExpression}
			if good(fmt.Sprintf("spec.validations[%d].messageExpression", i), m, messageOptions) {
				message = m
			}
		}
		if needs := look.needs(validation.Expression); needs != "" {
			compiled.open = append(compiled.open, fmt.Sprintf("validation %d needs %s", i+1, needs))
			continue
		}
		validations = append(validations, accessor)
		messages = append(messages, message)
	}
	for i, annotation := range spec.AuditAnnotations {
		accessor := &validating.AuditAnnotationCondition{Key: annotation.Key, ValueExpression: annotation.ValueExpression}
		good(fmt.Sprintf("spec.auditAnnotations[%d].valueExpression", i), accessor, options)
	}
	compiled.validator = validating.NewValidator(
		compiler.CompileCondition(validations, options, expressionMode), nil,
		compiler.CompileCondition(nil, options, expressionMode),
		compiler.CompileCondition(messages, messageOptions, expressionMode), spec.FailurePolicy, nil)
	return compiled, failures
}

// A lookout finds what an expression needs beside the object.
type lookout struct {
	parser    *celgo.Env
	variables map[string]string
}

// absent are the names that only the cluster can give a value.
var absent = map[string]string{
	"oldObject":       "oldObject, which only the cluster has",
	"namespaceObject": "namespaceObject, which only the cluster has",
	"authorizer":      "authorizer, which only the cluster has",
	"params":          "params, which only the cluster has",
}

// knownOfRequest are the fields of request that follow from the object and the operation.
var knownOfRequest = map[string]bool{
	"kind": true, "resource": true, "subResource": true, "requestKind": true, "requestResource": true,
	"requestSubResource": true, "name": true, "namespace": true, "operation": true,
}

// needs names, in words, what the expression or a variable that it uses needs; empty if the object alone decides it.
func (l *lookout) needs(expression string) string {
	found := map[string]bool{}
	l.collect(expression, found, map[string]bool{})
	return strings.Join(sortedSet(found), " and ")
}
