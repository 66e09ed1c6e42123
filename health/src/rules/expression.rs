//! An expression, parsed once: what is refused before it ever runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cel::{
    common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue, operators},
    parser::Parser,
};
use regex::{Regex, RegexBuilder};
use serde_json::Value;

use super::eval::{self, EvalError};
use super::value::Val;
use crate::limits::{
    COMPREHENSION_DEPTH_MAX, EXPRESSION_DEPTH_MAX, EXPRESSION_MAX, EXPRESSION_NODES_MAX,
    PATTERN_COMPILED_MAX, PATTERN_MAX, PATTERNS_MAX,
};

/// The one variable: the object.
pub(super) const SELF: &str = "self";

/// Every function that an expression may call, with its number of arguments (the receiver counted). Macros (`has`,
/// `all`, `exists`, `exists_one`, `map`, `filter`) and operators come on top; nothing else exists.
pub const FUNCTIONS: [(&str, usize); 9] = [
    ("contains", 2),
    ("double", 1),
    ("endsWith", 2),
    ("int", 1),
    ("lowerAscii", 1),
    ("matches", 2),
    ("size", 1),
    ("startsWith", 2),
    ("string", 1),
];

/// Why an expression is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionMistake {
    /// Nothing is written.
    #[error("must not be empty")]
    Empty,
    /// Longer than [`EXPRESSION_MAX`].
    #[error("CEL_COST: must be at most {EXPRESSION_MAX} bytes, is {0}")]
    TooLong(usize),
    /// Nested more deeply than [`EXPRESSION_DEPTH_MAX`].
    #[error("CEL_COST: nested more deeply than {EXPRESSION_DEPTH_MAX}")]
    TooDeep,
    /// More than [`EXPRESSION_NODES_MAX`] nodes.
    #[error("CEL_COST: more than {EXPRESSION_NODES_MAX} parts")]
    TooManyNodes,
    /// Comprehensions inside each other, more than [`COMPREHENSION_DEPTH_MAX`].
    #[error("CEL_COST: more than {COMPREHENSION_DEPTH_MAX} comprehensions inside each other")]
    ComprehensionsTooDeep,
    /// More than [`PATTERNS_MAX`] regular expressions.
    #[error("CEL_COST: more than {PATTERNS_MAX} regular expressions")]
    TooManyPatterns,
    /// A regular expression that is too long or too large when compiled.
    #[error("CEL_COST: regular expression {0:?} is too large")]
    PatternTooLarge(String),
    /// A regular expression that can't be compiled.
    #[error("regular expression {0:?} is not valid")]
    Pattern(String),
    /// The pattern of `matches` is computed.
    #[error("the pattern of matches() must be a literal text")]
    PatternNotLiteral,
    /// It does not parse.
    #[error("{0}")]
    Syntax(String),
    /// A function that does not exist here.
    #[error("there is no function {0}")]
    NoFunction(String),
    /// A variable that does not exist here.
    #[error("there is no variable {0}; the object is `self`")]
    NoVariable(String),
    /// A part of CEL that is not offered.
    #[error("{0} can't be used here")]
    NotOffered(&'static str),
}

/// A parsed expression within its limits, with its regular expressions compiled.
#[derive(Debug, Clone)]
pub(super) struct Expression(Arc<Parsed>);

#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) root: IdedExpr,
    pub(super) patterns: BTreeMap<String, Regex>,
}

impl Expression {
    pub(super) fn parse(text: &str) -> Result<Self, ExpressionMistake> {
        if text.trim().is_empty() {
            return Err(ExpressionMistake::Empty);
        }
        if text.len() > EXPRESSION_MAX {
            return Err(ExpressionMistake::TooLong(text.len()));
        }
        if brackets(text) > EXPRESSION_DEPTH_MAX || links(text) > EXPRESSION_DEPTH_MAX * 4 {
            return Err(ExpressionMistake::TooDeep);
        }
        let root = Parser::new()
            .max_recursion_depth(u16::try_from(EXPRESSION_DEPTH_MAX * 2).unwrap_or(u16::MAX))
            .error_recovery_limit(1)
            .parse(text)
            .map_err(|errors| {
                ExpressionMistake::Syntax(errors.errors.first().map_or_else(
                    || "is not a CEL expression".to_owned(),
                    |first| {
                        format!(
                            "line {}, column {}: {}",
                            first.pos.0, first.pos.1, first.msg
                        )
                    },
                ))
            })?;
        let mut walk = Walk::default();
        walk.visit(&root, 0, 0, &mut vec![SELF])?;
        let mut patterns = BTreeMap::new();
        for pattern in walk.patterns {
            let compiled = compile(&pattern)?;
            patterns.insert(pattern, compiled);
        }
        Ok(Self(Arc::new(Parsed { root, patterns })))
    }

    pub(super) fn eval<'v>(&'v self, object: &'v Value) -> Result<Val<'v>, EvalError> {
        eval::eval(&self.0, object)
    }
}

/// Deepest nesting of brackets, those inside of texts counted too.
fn brackets(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0_usize);
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' => {
                depth = depth.saturating_add(1);
                deepest = deepest.max(depth);
            }
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Number of operators that chain: each makes the parsed tree one deeper at most, a `?` four, by the parser's count.
fn links(text: &str) -> usize {
    text.bytes().fold(0, |links, byte| match byte {
        b'?' => links + 4,
        b'.' | b'+' | b'-' | b'*' | b'/' | b'%' | b'!' | b'[' | b'<' | b'>' | b'=' => links + 1,
        _ => links,
    })
}

fn compile(pattern: &str) -> Result<Regex, ExpressionMistake> {
    if pattern.len() > PATTERN_MAX {
        return Err(ExpressionMistake::PatternTooLarge(
            pattern.chars().take(64).collect(),
        ));
    }
    RegexBuilder::new(pattern)
        .size_limit(PATTERN_COMPILED_MAX)
        .dfa_size_limit(PATTERN_COMPILED_MAX)
        .nest_limit(16)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => {
                ExpressionMistake::PatternTooLarge(pattern.to_owned())
            }
            _ => ExpressionMistake::Pattern(pattern.to_owned()),
        })
}

#[derive(Default)]
struct Walk {
    nodes: usize,
    patterns: BTreeSet<String>,
}

impl Walk {
    /// Visits each node once; `scope` holds the names that are bound here.
    fn visit<'e>(
        &mut self,
        node: &'e IdedExpr,
        depth: usize,
        comprehensions: usize,
        scope: &mut Vec<&'e str>,
    ) -> Result<(), ExpressionMistake> {
        self.nodes = self.nodes.saturating_add(1);
        if self.nodes > EXPRESSION_NODES_MAX {
            return Err(ExpressionMistake::TooManyNodes);
        }
        if depth > EXPRESSION_DEPTH_MAX {
            return Err(ExpressionMistake::TooDeep);
        }
        let deeper = depth.saturating_add(1);
        match &node.expr {
            Expr::Literal(LiteralValue::Bytes(_)) => {
                Err(ExpressionMistake::NotOffered("a literal of bytes"))
            }
            Expr::Literal(_) => Ok(()),
            Expr::Unspecified => Err(ExpressionMistake::Syntax(
                "is not a CEL expression".to_owned(),
            )),
            Expr::Struct(_) => Err(ExpressionMistake::NotOffered("a message literal")),
            Expr::Ident(name) if scope.contains(&name.as_str()) => Ok(()),
            Expr::Ident(name) => Err(ExpressionMistake::NoVariable(name.clone())),
            Expr::Select(select) => self.visit(&select.operand, deeper, comprehensions, scope),
            Expr::List(list) => {
                if !list.optional_indices.is_empty() {
                    return Err(ExpressionMistake::NotOffered("an optional element"));
                }
                list.elements
                    .iter()
                    .try_for_each(|element| self.visit(element, deeper, comprehensions, scope))
            }
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) if !entry.optional => {
                    self.visit(&entry.key, deeper, comprehensions, scope)?;
                    self.visit(&entry.value, deeper, comprehensions, scope)
                }
                EntryExpr::MapEntry(_) | EntryExpr::StructField(_) => {
                    Err(ExpressionMistake::NotOffered("an optional entry"))
                }
            }),
            Expr::Call(call) => {
                let arguments = call
                    .args
                    .len()
                    .saturating_add(usize::from(call.target.is_some()));
                if !is_operator(&call.func_name)
                    && !FUNCTIONS.contains(&(call.func_name.as_str(), arguments))
                {
                    return Err(ExpressionMistake::NoFunction(call.func_name.clone()));
                }
                if call.func_name == "matches" {
                    self.pattern(call.args.last())?;
                }
                call.target
                    .as_deref()
                    .into_iter()
                    .chain(&call.args)
                    .try_for_each(|argument| self.visit(argument, deeper, comprehensions, scope))
            }
            Expr::Comprehension(loop_) => {
                let inside = comprehensions.saturating_add(1);
                if inside > COMPREHENSION_DEPTH_MAX {
                    return Err(ExpressionMistake::ComprehensionsTooDeep);
                }
                if loop_.iter_var2.is_some() {
                    return Err(ExpressionMistake::NotOffered(
                        "a comprehension of two variables",
                    ));
                }
                self.visit(&loop_.iter_range, deeper, comprehensions, scope)?;
                self.visit(&loop_.accu_init, deeper, comprehensions, scope)?;
                let bound = scope.len();
                scope.push(&loop_.accu_var);
                self.visit(&loop_.result, deeper, inside, scope)?;
                scope.push(&loop_.iter_var);
                self.visit(&loop_.loop_cond, deeper, inside, scope)?;
                self.visit(&loop_.loop_step, deeper, inside, scope)?;
                scope.truncate(bound);
                Ok(())
            }
        }
    }

    fn pattern(&mut self, argument: Option<&IdedExpr>) -> Result<(), ExpressionMistake> {
        match argument.map(|argument| &argument.expr) {
            Some(Expr::Literal(LiteralValue::String(pattern))) => {
                self.patterns.insert(pattern.inner().to_owned());
                if self.patterns.len() > PATTERNS_MAX {
                    return Err(ExpressionMistake::TooManyPatterns);
                }
                Ok(())
            }
            _ => Err(ExpressionMistake::PatternNotLiteral),
        }
    }
}

fn is_operator(name: &str) -> bool {
    [
        operators::CONDITIONAL,
        operators::LOGICAL_AND,
        operators::LOGICAL_OR,
        operators::LOGICAL_NOT,
        operators::SUBSTRACT,
        operators::ADD,
        operators::MULTIPLY,
        operators::DIVIDE,
        operators::MODULO,
        operators::EQUALS,
        operators::NOT_EQUALS,
        operators::GREATER_EQUALS,
        operators::LESS_EQUALS,
        operators::GREATER,
        operators::LESS,
        operators::NEGATE,
        operators::INDEX,
        operators::NOT_STRICTLY_FALSE,
        operators::IN,
    ]
    .contains(&name)
}
