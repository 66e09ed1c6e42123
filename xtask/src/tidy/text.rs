//! What may not stand in a file.

use super::Complaint;
use crate::sources::Source;

/// Where somebody's own files lie. Written in pieces, so that this file keeps its own rule.
const MACHINE: [&str; 3] = [
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/Us", "ers/"),
];

/// Homes inside images, which are the same on every machine.
const IN_IMAGES: [&str; 1] = [concat!("/ho", "me/nonroot")];

/// Checks one file.
pub(super) fn check(source: &Source) -> Vec<Complaint> {
    let mut complaints = machine_paths(source);
    complaints.extend(panics(source));
    complaints
}

fn machine_paths(source: &Source) -> Vec<Complaint> {
    if source.path.ends_with(".lock") || source.path.ends_with("go.sum") {
        return Vec::new(); // made by tools; digests hold anything
    }
    lines(&source.text)
        .filter_map(|(number, line)| {
            let found = MACHINE.iter().find(|path| starts_word(line, path))?;
            let fine = IN_IMAGES.iter().any(|path| line.contains(path));
            (!fine).then(|| {
                Complaint::new(
                    &source.path,
                    number,
                    format!("a path of one machine ({found}…); make it relative, or a flag"),
                )
            })
        })
        .collect()
}

/// Whether `path` stands in the line as the beginning of an absolute path, not in the middle of a longer one.
fn starts_word(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| {
            !c.is_alphanumeric() && !matches!(c, '.' | '_' | '-' | '/' | '}' | ')' | '*')
        })
    })
}

/// `unwrap` and its like in code that ships. Clippy says so too, but not where an `allow` hides it.
fn panics(source: &Source) -> Vec<Complaint> {
    let ships = source.path.ends_with(".rs")
        && source.path.contains("/src/")
        && !source.path.ends_with("/tests.rs")
        && !source.path.contains("/tests/")
        && !source.path.starts_with("fuzz/");
    if !ships {
        return Vec::new();
    }
    lines(&source.text)
        .take_while(|(_, line)| !line.trim_start().starts_with("#[cfg(test)]"))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .filter(|(_, line)| {
            line.contains(concat!(".unw", "rap()")) || line.contains(concat!(".unw", "rap_err()"))
        })
        .map(|(number, _)| {
            Complaint::new(
                &source.path,
                number,
                "unwrap outside a test; return an error, or show that it can't happen by a type",
            )
        })
        .collect()
}

fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_text(path: &str, text: &str) -> Vec<String> {
        let source = Source {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        check(&source).iter().map(Complaint::to_string).collect()
    }

    #[test]
    fn a_path_of_one_machine_is_refused_with_its_line() {
        let text = format!("fine\nsee {}ada/x\n", MACHINE[0]);
        assert_eq!(check_text("docs/x.md", &text).len(), 1);
        assert!(
            check_text("docs/x.md", &text)[0].starts_with("docs/x.md:2: a path of one machine")
        );
        for fine in [
            format!("https://example.org{}x", MACHINE[0]),
            format!("{}/.ssh", IN_IMAGES[0]),
            format!("net{}x", MACHINE[1]),
        ] {
            assert_eq!(
                check_text("docs/x.md", &fine),
                Vec::<String>::new(),
                "{fine}"
            );
        }
    }

    #[test]
    fn unwrap_is_for_tests() {
        let call = concat!("x.unw", "rap();");
        assert_eq!(check_text("hub/src/a.rs", call).len(), 1);
        assert!(check_text("hub/src/a.rs", &format!("// {call}")).is_empty());
        assert!(
            check_text(
                "hub/src/a.rs",
                &format!("#[cfg(test)]\nmod tests {{ {call} }}")
            )
            .is_empty()
        );
        assert!(check_text("hub/src/a/tests.rs", call).is_empty());
        assert!(check_text("tests/e2e/a.rs", call).is_empty());
    }
}
