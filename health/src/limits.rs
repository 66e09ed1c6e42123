//! Every bound of this crate, with its unit and its reason.

/// Longest message of a verdict, bytes. Controllers write whole pod specs into conditions; a list of a thousand
/// objects must still fit into one report.
pub const MESSAGE_MAX: usize = 512;

/// Conditions looked at in one object. Real ones have fewer than twenty; a node has the most.
pub const CONDITIONS_MAX: usize = 128;

/// Containers, load-balancer addresses and the like looked at in one object.
pub const ITEMS_MAX: usize = 1_024;

/// Pods looked at to explain one workload. The first one that does not work names the cause.
pub const PODS_MAX: usize = 256;

/// Rules of one fleet. Each is compiled at load time and held by every agent.
pub const RULES_MAX: usize = 512;

/// Size of a file of rules, bytes.
pub const RULES_FILE_MAX: usize = 1 << 20;

/// Checks of one rule, and messages with them.
pub const CHECKS_MAX: usize = 32;

/// Length of one expression, bytes. The longest check of a real kind has some two hundred.
pub const EXPRESSION_MAX: usize = 1_024;

/// Nesting of brackets in the text and of nodes in the parsed expression. Parser and evaluation recurse.
pub const EXPRESSION_DEPTH_MAX: usize = 40;

/// Nodes of one parsed expression. Macros expand to several nodes each.
pub const EXPRESSION_NODES_MAX: usize = 1_024;

/// Comprehensions (`all`, `exists`, `map`, `filter`, …) inside each other.
pub const COMPREHENSION_DEPTH_MAX: usize = 3;

/// Cost of one evaluation of one expression, in steps. A step is one node visited, sixteen bytes of text read or
/// written, or one element of a list or map copied or compared. A few milliseconds, some tens in an unoptimised build.
pub const COST_MAX: u64 = 50_000;

/// Deepest value that is compared. The API server takes no deeper objects either.
pub const VALUE_DEPTH_MAX: usize = 64;

/// Regular expressions in one expression. Each is compiled once, when the rule is loaded.
pub const PATTERNS_MAX: usize = 4;

/// Length of a regular expression, bytes.
pub const PATTERN_MAX: usize = 256;

/// Size of a compiled regular expression, bytes. `(a{1000}){1000}` asks for gigabytes.
pub const PATTERN_COMPILED_MAX: usize = 64 * 1024;
