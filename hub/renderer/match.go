package main

import (
	"fmt"
	"strings"

	v1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/predicates/rules"
)

// A match is whether a policy or binding concerns an object: yes, no, or what would have to be known.
type match struct {
	no    bool
	needs string
}

var yes = match{}
var no = match{no: true}

// and: a certain no on either side decides, whatever else is unknown.
func (m match) and(other match) match {
	switch {
	case m.no || other.no:
		return no
	case m.needs != "":
		return m
	default:
		return other
	}
}

// namespaceNameLabel is on every namespace, with its name: the one label that is known without the cluster.
const namespaceNameLabel = "kubernetes.io/metadata.name"

func checkSelectors(resources *v1.MatchResources) error {
	if _, err := selector(resources.NamespaceSelector); err != nil {
		return fmt.Errorf("namespaceSelector: %w", err)
	}
	if _, err := selector(resources.ObjectSelector); err != nil {
		return fmt.Errorf("objectSelector: %w", err)
	}
	return nil
}

// selector reads an absent selector as the API server does: it selects everything.
func selector(s *metav1.LabelSelector) (labels.Selector, error) {
	if s == nil {
		return labels.Everything(), nil
	}
	return metav1.LabelSelectorAsSelector(s)
}

// matches tells whether resources, of a policy or a binding, concern an object.
func matches(resources *v1.MatchResources, attributes admission.Attributes, object labels.Set) match {
	if resources == nil {
		return yes
	}
	m := resourcesMatch(resources, attributes)
	if m.no {
		return no
	}
	objects, err := selector(resources.ObjectSelector)
	if err != nil {
		return match{needs: "an objectSelector that can be read"}
	}
	if !objects.Matches(object) {
		return no
	}
	return m.and(namespaceMatches(resources.NamespaceSelector, attributes, object))
}

func resourcesMatch(resources *v1.MatchResources, attributes admission.Attributes) match {
	exact := resources.MatchPolicy != nil && *resources.MatchPolicy == v1.Exact
	excluded := rulesMatch(resources.ExcludeResourceRules, attributes, exact)
	if !excluded.no && excluded.needs == "" {
		return no
	}
	included := yes
	if len(resources.ResourceRules) > 0 {
		included = rulesMatch(resources.ResourceRules, attributes, exact)
	}
	if included.no {
		return no
	}
	if !excluded.no {
		return excluded
	}
	return included
}

func rulesMatch(named []v1.NamedRuleWithOperations, attributes admission.Attributes, exact bool) match {
	result := no
	for _, rule := range named {
		if len(rule.ResourceNames) > 0 && !contains(rule.ResourceNames, attributes.GetName()) {
			continue
		}
		if (&rules.Matcher{Rule: rule.RuleWithOperations, Attr: attributes}).Matches() {
			return yes
		}
		if !exact && otherVersionMatches(rule.RuleWithOperations, attributes) {
			result = match{needs: fmt.Sprintf("the object converted to version %s, which only the cluster can do",
				strings.Join(rule.APIVersions, " or "))}
		}
	}
	return result
}

// otherVersionMatches tells whether a rule concerns the same resource in another version, or in the group that it moved
// from or to. Where the cluster serves that version, it converts the object and the rule matches.
func otherVersionMatches(rule v1.RuleWithOperations, attributes admission.Attributes) bool {
	any := rule
	any.APIVersions = []string{"*"}
	if (&rules.Matcher{Rule: any, Attr: attributes}).Matches() {
		return true
	}
	for _, twin := range twins[attributes.GetResource().GroupResource().String()] {
		any.APIGroups = []string{attributes.GetResource().Group}
		if contains(rule.APIGroups, twin) && (&rules.Matcher{Rule: any, Attr: attributes}).Matches() {
			return true
		}
	}
	return false
}

// twins are the resources that the API server serves from two groups.
var twins = map[string][]string{
	"events":                            {"events.k8s.io"},
	"events.events.k8s.io":              {""},
	"ingresses.networking.k8s.io":       {"extensions"},
	"networkpolicies.networking.k8s.io": {"extensions"},
	"deployments.apps":                  {"extensions"},
	"daemonsets.apps":                   {"extensions"},
	"replicasets.apps":                  {"extensions"},
}

// namespaceMatches decides a namespaceSelector by what is known of a namespace without the cluster: all labels of a
// Namespace object itself, of any other namespace its name.
func namespaceMatches(s *metav1.LabelSelector, attributes admission.Attributes, object labels.Set) match {
	parsed, err := selector(s)
	if err != nil {
		return match{needs: "a namespaceSelector that can be read"}
	}
	isNamespace := attributes.GetResource().Group == "" && attributes.GetResource().Resource == "namespaces"
	if parsed.Empty() || (attributes.GetNamespace() == "" && !isNamespace) {
		return yes
	}
	if isNamespace {
		known := labels.Merge(object, labels.Set{namespaceNameLabel: attributes.GetName()})
		if parsed.Matches(known) {
			return yes
		}
		return no
	}
	requirements, selectable := parsed.Requirements()
	if !selectable {
		return no
	}
	known := labels.Set{namespaceNameLabel: attributes.GetNamespace()}
	result := yes
	for _, requirement := range requirements {
		if requirement.Key() == namespaceNameLabel {
			if !requirement.Matches(known) {
				return no
			}
			continue
		}
		result = match{needs: fmt.Sprintf("the labels of namespace %q (%s), which only the cluster has",
			attributes.GetNamespace(), describe(requirement))}
	}
	return result
}

func describe(r labels.Requirement) string {
	switch r.Operator() {
	case selection.Exists:
		return r.Key() + " exists"
	case selection.DoesNotExist:
		return r.Key() + " does not exist"
	default:
		return r.Key()
	}
}

func contains(list []string, want string) bool {
	for _, each := range list {
		if each == want || each == "*" {
			return true
		}
	}
	return false
}
