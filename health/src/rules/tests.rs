//! Rules that decide, rules that are refused, and rules that try to burn the machine.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Check, FUNCTIONS, Rule, RuleProblem, Rules, document, expression::Expression};
use crate::{Health, HealthStatus, judge};

const ROLLOUTS: &str = r#"
apiVersion: countersign.dev/v1alpha1
kind: HealthRules
metadata:
  name: rollouts
spec:
  rules:
    - group: argoproj.io
      kind: Rollout
      checks:
        - status: Suspended
          when: self.spec.paused
          message: paused by hand
        - status: Degraded
          when: self.status.phase == "Degraded"
          messageExpression: '"rollout: " + self.status.message'
        - status: Healthy
          when: self.status.phase == "Healthy" && self.status.availableReplicas >= self.spec.replicas
      otherwise: Progressing
    - kind: ConfigMap
      checks:
        - status: Degraded
          when: '!("key" in self.data)'
          message: key is missing
"#;

fn rollouts() -> Rules {
    let (rules, mistakes) = Rules::compile(&document::parse(ROLLOUTS).unwrap());
    assert_eq!(mistakes, []);
    rules
}

fn rollout(rest: Value) -> Value {
    let mut object = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "cart"}});
    object
        .as_object_mut()
        .unwrap()
        .extend(rest.as_object().unwrap().clone());
    object
}

#[test]
fn the_first_check_that_is_true_decides() {
    for (rest, status, message) in [
        (
            json!({"spec": {"paused": true}, "status": {"phase": "Degraded"}}),
            HealthStatus::Suspended,
            "paused by hand",
        ),
        (
            json!({"spec": {}, "status": {"phase": "Degraded", "message": "canary failed"}}),
            HealthStatus::Degraded,
            "rollout: canary failed",
        ),
        (
            json!({"spec": {}, "status": {"phase": "Degraded"}}),
            HealthStatus::Degraded,
            "",
        ),
        (
            json!({"spec": {"replicas": 2}, "status": {"phase": "Healthy", "availableReplicas": 2}}),
            HealthStatus::Healthy,
            "",
        ),
        (
            json!({"spec": {"replicas": 2}, "status": {"phase": "Healthy", "availableReplicas": 1}}),
            HealthStatus::Progressing,
            "",
        ),
        (json!({}), HealthStatus::Progressing, ""),
        (json!({"status": null}), HealthStatus::Progressing, ""),
    ] {
        assert_eq!(
            judge(&rollout(rest.clone()), &rollouts()),
            Health::new(status, message),
            "{rest}"
        );
    }
}

#[test]
fn a_rule_that_does_not_decide_leaves_the_object_to_the_built_in_ones() {
    let full = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"key": "x"}});
    let empty = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {}});
    let none = json!({"apiVersion": "v1", "kind": "ConfigMap"});
    assert_eq!(judge(&full, &rollouts()).status, HealthStatus::Healthy);
    assert_eq!(judge(&empty, &rollouts()).status, HealthStatus::Degraded);
    assert_eq!(
        judge(&none, &rollouts()).status,
        HealthStatus::Healthy,
        "a field that is not there is no verdict"
    );
    assert!(!crate::needs_status("", "ConfigMap") && rollouts().needs_status("", "ConfigMap"));
}

#[test]
fn a_rule_of_the_wrong_type_makes_the_object_unknown_and_says_so() {
    for (when, part) in [
        ("self.spec.replicas", "gives int, not a bool"),
        (
            "self.spec.replicas + \"a\" == \"a\"",
            "does not take (int, string)",
        ),
        ("self.spec.replicas / 0 == 1", "division by zero"),
    ] {
        let yaml = ROLLOUTS.replace("self.spec.paused", &format!("'{when}'"));
        let (rules, mistakes) = Rules::compile(&document::parse(&yaml).unwrap());
        assert_eq!(mistakes, []);
        let health = judge(&rollout(json!({"spec": {"replicas": 1}})), &rules);
        assert_eq!(health.status, HealthStatus::Unknown, "{when}: {health:?}");
        assert!(health.message.contains(part), "{when}: {health:?}");
    }
}

#[test]
fn every_mistake_of_a_file_is_told_with_its_place() {
    let yaml = ROLLOUTS
        .replace("self.spec.paused", "self.spec.paused &&")
        .replace("self.status.phase == \"Degraded\"", "request.user == \"x\"");
    let (rules, mistakes) = Rules::compile(&document::parse(&yaml).unwrap());
    let places: Vec<&str> = mistakes
        .iter()
        .map(|mistake| mistake.field.as_str())
        .collect();
    assert_eq!(places, ["checks[0].when", "checks[1].when"]);
    assert!(
        mistakes[1].to_string().contains("no variable request"),
        "{}",
        mistakes[1]
    );
    assert_eq!(rules.len(), 1, "the right one is kept");

    let twice = ROLLOUTS.replace(
        "- kind: ConfigMap",
        "- group: argoproj.io\n      kind: Rollout",
    );
    let (_, mistakes) = Rules::compile(&document::parse(&twice).unwrap());
    assert_eq!(mistakes[0].problem, RuleProblem::Twice);
}

#[test]
fn a_file_of_another_shape_is_refused() {
    for (yaml, part) in [
        ("", "line"),
        ("a: [", "line"),
        (&ROLLOUTS.replace("HealthRules", "App"), "is App of"),
        (&ROLLOUTS.replace("otherwise:", "othrewise:"), "othrewise"),
        (
            &ROLLOUTS.replace("status: Degraded", "status: Broken"),
            "Broken",
        ),
    ] {
        let error = document::parse(yaml).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    assert!(document::parse(&" ".repeat(crate::limits::RULES_FILE_MAX + 1)).is_err());
}

#[test]
fn rules_travel_as_json_unchanged() {
    let rules = document::parse(ROLLOUTS).unwrap();
    let sent: Vec<Value> = rules
        .iter()
        .map(|rule| serde_json::to_value(rule).unwrap())
        .collect();
    assert_eq!(document::from_json(&sent).unwrap(), rules);
    assert!(
        document::from_json(&[json!({"kind": 1})])
            .unwrap_err()
            .to_string()
            .starts_with("rule 0: ")
    );
}

#[test]
fn no_function_reaches_anything_but_its_arguments() {
    let names: Vec<&str> = FUNCTIONS.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        names,
        [
            "contains",
            "double",
            "endsWith",
            "int",
            "lowerAscii",
            "matches",
            "size",
            "startsWith",
            "string"
        ]
    );
    for call in [
        "now()",
        "http.get(\"x\")",
        "env(\"HOME\")",
        "timestamp(\"x\")",
        "getenv(\"x\")",
        "self.authorizer()",
        "type(1)",
    ] {
        assert!(Expression::parse(call).is_err(), "{call}");
    }
}

fn yes(text: &str, object: &Value) -> bool {
    let expression = Expression::parse(text).unwrap_or_else(|mistake| panic!("{text}: {mistake}"));
    match expression.eval(object) {
        Ok(super::Val::Bool(answer)) => answer,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn expressions_mean_what_cel_says() {
    let object = json!({"a": 1, "b": "text", "c": [1, 2, 3], "d": {"k": "v", "n": null}, "f": 1.5, "u": u64::MAX, "t": true});
    for text in [
        "self.a == 1",
        "self.a == 1.0",
        "self.a != 2 && self.a < 2 && self.a <= 1 && self.a > 0 && self.a >= 1",
        "self.b == 'text' && self.b < 'texu' && self.b != 'x'",
        "self.b.startsWith('te') && self.b.endsWith('xt') && self.b.contains('ex')",
        "self.b.matches('^t[aeiou]xt$') && !self.b.matches('^x')",
        "size(self.b) == 4 && self.b.size() == 4 && size(self.c) == 3 && size(self.d) == 2",
        "self.c[0] == 1 && self.c[2] == 3 && 2 in self.c && !(4 in self.c)",
        "'k' in self.d && self.d['k'] == 'v' && !('z' in self.d)",
        "has(self.d.k) && !has(self.d.z) && !has(self.z.z) == false || true",
        "self.c.all(x, x > 0) && self.c.exists(x, x == 2) && self.c.exists_one(x, x == 2)",
        "self.c.map(x, x * 2) == [2, 4, 6]",
        "self.c.filter(x, x % 2 == 1) == [1, 3]",
        "self.c.map(x, x > 1, x + 1) == [3, 4]",
        "self.d.exists(k, self.d[k] == 'v')",
        "self.c + [4] == [1, 2, 3, 4] && size(self.c + self.c) == 6",
        "{'a': 1}.a == 1 && {'a': 1} == {'a': 1} && {'a': 1} != {'a': 2}",
        "self.t ? true : self.nope",
        "false && self.nope || true",
        "self.nope || true",
        "!(self.nope && false)",
        "-self.a == -1 && 7 / 2 == 3 && 7 % 2 == 1 && 2 * 3 == 6 && 3 - 2 == 1",
        "int('42') == 42 && string(self.a) == '1' && double(self.a) == 1.0 && int(self.f) == 1",
        "self.b + '!' == 'text!' && 'TEXT'.lowerAscii() == self.b",
        "self.d.n == null && self.u > 9223372036854775807",
        "1 == 1u && 'a' != 1 && null != false",
        "self.c.exists(x, self.c[x] == 3)",
    ] {
        assert!(yes(text, &object), "{text}");
    }
}

#[test]
fn what_is_not_there_is_missing_and_no_error_of_the_rule() {
    let object = json!({"a": {}, "l": []});
    for text in [
        "self.b",
        "self.a.b == 1",
        "self.l[0] == 1",
        "self.a['x'] == 1",
        "self.a.b.c.d",
    ] {
        let answer = Expression::parse(text)
            .unwrap()
            .eval(&object)
            .map(|value| value.type_name());
        assert!(
            matches!(answer, Err(super::EvalError::Missing(_))),
            "{text}: {answer:?}"
        );
    }
}

/// Thirty rules that would burn processor or memory: each is refused when loaded, or ends with CEL_COST.
fn hostile() -> Vec<String> {
    let five = "[1,2,3,4,5]";
    let doubled = |n: usize| format!("[0]{}", ".map(x,[x,x])".repeat(n));
    let nest = |n: usize, range: &str| {
        let mut text = "x0 == 0".to_owned();
        for level in 0..n {
            text = format!("{range}.all(x{level}, {text} || true)");
        }
        text
    };
    vec![
        nest(10, five),
        nest(4, "self.big"),
        nest(3, "self.big"),
        nest(2, "self.big"),
        format!("{0} == {0}", doubled(16)),
        format!("{0} == {0}", doubled(24)),
        "self.big.map(x, self.big) == self.big.map(x, self.big)".to_owned(),
        "self.big.all(x, self.big.all(y, self.big.all(z, x + y + z >= 0)))".to_owned(),
        "self.big.map(x, self.big.map(y, self.big))  == []".to_owned(),
        "self.big.exists(x, self.big + self.big + self.big == [])".to_owned(),
        "self.big.all(x, self.text.contains('zzz') || true)".to_owned(),
        "self.big.all(x, self.text.matches('(a|aa)+$') || true)".to_owned(),
        "self.big.all(x, (self.text + self.text + self.text) != '')".to_owned(),
        "self.big.all(x, size(self.text) > 0)".to_owned(),
        "self.big.all(x, self.text == self.text)".to_owned(),
        "self.big.all(x, self.text <= self.text)".to_owned(),
        "self.big.all(x, self.text.lowerAscii() == self.text)".to_owned(),
        "self.big.all(x, -1 in self.big || true)".to_owned(),
        "self.big.all(x, self.map == self.map)".to_owned(),
        "self.map.all(k, self.map.all(l, self.map[k] == self.map[l] || true))".to_owned(),
        "self.text.matches('(a{1000}){1000}')".to_owned(),
        "self.text.matches('((((((a{99}){99}){99}){99}){99}){99})')".to_owned(),
        format!("self.text.matches('{}')", "(a|b)?".repeat(60)),
        format!("self.text.matches('{}')", "x*".repeat(140)),
        format!("{}1{}", "(".repeat(400), ")".repeat(400)),
        format!("{}1{}", "[".repeat(500), "]".repeat(500)),
        format!("{}true", "!".repeat(1_000)),
        format!("self{}", ".a".repeat(500)),
        format!("1{}", "+1".repeat(500)),
        format!("{}1", "true?1:".repeat(140)),
        format!("self{}", "[0]".repeat(300)),
        "x".repeat(1_000_000),
        format!("'{}' == ''", "a".repeat(1_000_000)),
        format!("{{{}}} == {{}}", "1:{".repeat(300)),
    ]
}

#[test]
fn thirty_hostile_rules_end_with_cel_cost_and_soon() {
    let big: Vec<u64> = (0..2_000).collect();
    let map: serde_json::Map<String, Value> =
        (0..2_000).map(|n| (format!("key{n}"), json!(n))).collect();
    let object = json!({"big": big, "text": "a".repeat(200_000), "map": map});
    let mut wrong = Vec::new();
    for text in hostile() {
        let shown: String = text.chars().take(70).collect();
        let start = Instant::now();
        let outcome = match Expression::parse(&text) {
            Err(mistake) => mistake.to_string(),
            Ok(expression) => match expression.eval(&object) {
                Err(error) => error.to_string(),
                Ok(value) => format!("gives {}", value.type_name()),
            },
        };
        let took = start.elapsed();
        // 100 ms, with room for a debug build on a busy machine; without a budget these take minutes or for ever.
        if !outcome.starts_with("CEL_COST") || took > Duration::from_secs(2) {
            wrong.push(format!("{shown}: {outcome} after {took:?}"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn a_list_of_a_thousand_is_well_within_the_budget() {
    let containers: Vec<Value> = (0..1_000)
        .map(|n| json!({"name": format!("c{n}"), "ready": true}))
        .collect();
    let object = json!({"status": {"containers": containers}});
    assert!(yes(
        "self.status.containers.all(c, c.ready && c.name.startsWith('c'))",
        &object
    ));
    assert!(yes(
        "size(self.status.containers.filter(c, c.ready)) == 1000",
        &object
    ));
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    /// The same object for the cel crate, which takes JSON's positive integers for unsigned ones.
    #[derive(serde::Serialize)]
    struct Typed {
        a: i64,
        b: i64,
        c: i64,
        l: Vec<i64>,
        w: String,
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn no_text_makes_the_parser_panic(text in "[ -~]{0,60}") {
            let _ = Expression::parse(&text);
        }

        #[test]
        fn no_mix_of_tokens_makes_parser_or_evaluation_panic(
            tokens in proptest::collection::vec(proptest::sample::select(vec![
                "self", ".", "a", "(", ")", "[", "]", "{", "}", ",", ":", "?", "&&", "||", "!", "==", "<", "in", "+", "-",
                "*", "/", "%", "1", "0", "2.5", "'x'", "true", "null", "has", "all", "exists", "map", "filter", "size",
                "matches", "x", "9223372036854775807",
            ]), 0..16),
        ) {
            if let Ok(expression) = Expression::parse(&tokens.join(" ")) {
                let _ = expression.eval(&json!({"a": [1, "x", null, {"a": 2.5}]})).map(|value| value.type_name());
            }
        }

        /// The cel crate's own interpreter is the judge where both give an answer.
        #[test]
        fn arithmetic_and_comparison_agree_with_the_cel_crate(
            a in -50_i64..50, b in -50_i64..50, c in 0_i64..5,
            list in proptest::collection::vec(-5_i64..5, 0..6),
            word in "[a-c]{0,4}",
        ) {
            let object = json!({"a": a, "b": b, "c": c, "l": list, "w": word});
            for text in [
                "self.a + self.b * self.c - 3 == self.b - self.a",
                "self.c == 0 || self.a / self.c > self.b % (self.c + 1)",
                "self.a < self.b ? self.a <= 0 : self.b >= 0",
                "self.l.all(x, x < self.c) || self.l.exists(x, x == self.a)",
                "self.l.exists_one(x, x == self.c)",
                "self.l.map(x, x * 2).filter(y, y > self.c) == self.l.filter(x, x * 2 > self.c).map(x, x * 2)",
                "size(self.l) == self.c && self.c in self.l",
                "self.w.startsWith('a') || self.w.endsWith('c') || self.w.contains('bb')",
                "self.w.matches('^a+b?$')",
                "self.w + 'x' < 'b' && size(self.w) > 1",
                "self.l[0] == self.l[size(self.l) - 1]",
                "has(self.w) && !has(self.z)",
                "!(self.a == self.b) && -self.a != self.b",
                "{'k': self.a}.k == self.a && self.a in [self.b, self.c]",
            ] {
                let program = cel::Program::compile(text).unwrap();
                let mut context = cel::Context::default();
                let typed = Typed { a, b, c, l: list.clone(), w: word.clone() };
                context.add_variable("self", typed).unwrap();
                let theirs = program.execute(&context);
                let expression = Expression::parse(text).unwrap();
                let ours = expression.eval(&object);
                match (theirs, ours) {
                    (Ok(cel::Value::Bool(theirs)), Ok(super::super::Val::Bool(ours))) => prop_assert_eq!(theirs, ours, "{}", text),
                    (Err(_), Err(_)) => {}
                    (theirs, ours) => prop_assert!(false, "{}: {:?} against {:?}", text, theirs, ours),
                }
            }
        }
    }
}

#[test]
fn a_changed_rule_is_known_by_its_kind() {
    let rules = |texts: &[(&str, &str)]| {
        let rules: Vec<Rule> = texts
            .iter()
            .map(|(kind, when)| Rule {
                group: String::new(),
                kind: (*kind).to_owned(),
                checks: vec![Check {
                    status: HealthStatus::Degraded,
                    when: (*when).to_owned(),
                    message: None,
                    message_expression: None,
                }],
                otherwise: None,
            })
            .collect();
        Rules::compile(&rules).0
    };
    let before = rules(&[("A", "self.x"), ("B", "self.x"), ("C", "self.x")]);
    let after = rules(&[("A", "self.x"), ("B", "self.y"), ("D", "self.x")]);
    let changed: Vec<String> = before
        .changed(&after)
        .into_iter()
        .map(|(_, kind)| kind)
        .collect();
    assert_eq!(changed, ["B", "C", "D"]);
    assert!(before.changed(&before.clone()).is_empty());
}
