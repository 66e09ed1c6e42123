package main

import (
	"maps"
	"slices"

	"github.com/google/cel-go/common/ast"
)

// collect adds what an expression needs to found, through the variables that it uses. An expression that doesn't parse
// is a mistake that is reported elsewhere.
func (l *lookout) collect(expression string, found, open map[string]bool) {
	parsed, issues := l.parser.Parse(expression)
	if issues != nil && issues.Err() != nil {
		found["an expression that can be read"] = true
		return
	}
	variable := func(name string) {
		if open[name] {
			return
		}
		open[name] = true
		if inner, known := l.variables[name]; known {
			l.collect(inner, found, open)
		}
	}
	visitor := ast.NewExprVisitor(func(e ast.Expr) {
		navigable, ok := e.(ast.NavigableExpr)
		if !ok || e.Kind() != ast.IdentKind {
			return
		}
		field := ""
		if parent, there := navigable.Parent(); there && parent.Kind() == ast.SelectKind {
			field = parent.AsSelect().FieldName()
		}
		switch name := e.AsIdent(); name {
		case "request":
			if !knownOfRequest[field] {
				if field == "" {
					field = "*"
				}
				found["request."+field+", which only the cluster has"] = true
			}
		case "variables":
			if field != "" {
				variable(field)
				return
			}
			for _, each := range slices.Sorted(maps.Keys(l.variables)) {
				variable(each)
			}
		default:
			if why, missing := absent[name]; missing {
				found[why] = true
			}
		}
	})
	ast.PreOrderVisit(ast.NavigateAST(parsed.NativeRep()), visitor)
}

func sortedSet(set map[string]bool) []string { return slices.Sorted(maps.Keys(set)) }
