//! Ranges of versions as charts write them: `^1.2`, `~1.2.3`, `>=1 <2`, `1.x`, `1.2 - 2.0`, `1.2.3 || >=3`.
use semver::Version;

/// Which versions fit: one of several lists of conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range(Vec<Vec<Condition>>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Condition {
    sign: Sign,
    /// Parts that were written; the others are open.
    parts: Vec<u64>,
    pre: semver::Prerelease,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    Equal,
    Unequal,
    Above,
    AtLeast,
    Below,
    AtMost,
    Tilde,
    Caret,
}

/// Longest text of the signs first, so that `>=` is not read as `>`.
const SIGNS: [(&str, Sign); 12] = [
    ("!=", Sign::Unequal),
    (">=", Sign::AtLeast),
    ("=>", Sign::AtLeast),
    ("<=", Sign::AtMost),
    ("=<", Sign::AtMost),
    ("~>", Sign::Tilde),
    ("==", Sign::Equal),
    ("=", Sign::Equal),
    (">", Sign::Above),
    ("<", Sign::Below),
    ("~", Sign::Tilde),
    ("^", Sign::Caret),
];

/// A version, with the liberties that charts take: a `v` in front, parts left out.
pub fn version(text: &str) -> Option<Version> {
    let text = text.trim();
    let text = text.strip_prefix('v').unwrap_or(text);
    let end = text.find(['-', '+']).unwrap_or(text.len());
    let (numbers, rest) = text.split_at(end);
    let more = match numbers.matches('.').count() {
        0 => ".0.0",
        1 => ".0",
        _ => "",
    };
    Version::parse(&format!("{numbers}{more}{rest}")).ok()
}

impl Range {
    /// Reads a range.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let problem = || format!("{text:?} is no version and no range of versions");
        let either = text
            .split("||")
            .map(|all| conditions(all).ok_or_else(problem));
        either.collect::<Result<Vec<_>, _>>().map(Self)
    }

    /// Whether a version fits. One before its release fits only where one is named.
    pub fn matches(&self, version: &Version) -> bool {
        self.0.iter().any(|all| {
            let named = all.iter().any(|condition| !condition.pre.is_empty());
            (version.pre.is_empty() || named) && all.iter().all(|one| one.matches(version))
        })
    }
}

fn conditions(text: &str) -> Option<Vec<Condition>> {
    if let Some((low, high)) = text.split_once(" - ") {
        let condition = |sign, text: &str| Condition::of(sign, text.trim());
        return Some(vec![
            condition(Sign::AtLeast, low)?,
            condition(Sign::AtMost, high)?,
        ]);
    }
    let mut all = Vec::new();
    let mut words = text.split([',', ' ']).filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        let found = SIGNS.iter().find(|(sign, _)| word.starts_with(sign));
        let (sign, rest) = found.map_or((Sign::Equal, word), |(text, sign)| {
            (*sign, word.get(text.len()..).unwrap_or_default())
        });
        let rest = if rest.is_empty() { words.next()? } else { rest };
        all.push(Condition::of(sign, rest)?);
    }
    (!all.is_empty()).then_some(all)
}

impl Condition {
    fn of(sign: Sign, text: &str) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let end = text.find(['-', '+']).unwrap_or(text.len());
        let (numbers, rest) = text.split_at(end);
        let mut parts = Vec::new();
        let mut open = false;
        for part in numbers.split('.') {
            match part {
                "x" | "X" | "*" => open = true,
                _ if open => return None,
                number => parts.push(number.parse().ok()?),
            }
        }
        if parts.len() > 3 || (open && !rest.is_empty()) {
            return None;
        }
        let pre = rest.split('+').next().unwrap_or_default();
        let pre = semver::Prerelease::new(pre.trim_start_matches('-')).ok()?;
        Some(Self { sign, parts, pre })
    }

    fn part(&self, index: usize) -> u64 {
        self.parts.get(index).copied().unwrap_or(0)
    }

    /// The version with open parts as 0.
    fn floor(&self) -> Version {
        Version {
            pre: self.pre.clone(),
            ..Version::new(self.part(0), self.part(1), self.part(2))
        }
    }

    /// How the parts that were written compare; if all were, the whole version.
    fn compare(&self, version: &Version) -> std::cmp::Ordering {
        if self.parts.len() == 3 {
            return version.cmp_precedence(&self.floor());
        }
        let theirs = [version.major, version.minor, version.patch];
        theirs.iter().take(self.parts.len()).cmp(self.parts.iter())
    }

    fn matches(&self, version: &Version) -> bool {
        let compared = self.compare(version);
        let from = || version.cmp_precedence(&self.floor()).is_ge();
        let same = |parts: usize| {
            let theirs = [version.major, version.minor, version.patch];
            (0..parts).all(|index| theirs.get(index) == Some(&self.part(index)))
        };
        match self.sign {
            Sign::Equal => compared.is_eq(),
            Sign::Unequal => compared.is_ne(),
            Sign::Above => compared.is_gt(),
            Sign::AtMost => compared.is_le(),
            Sign::AtLeast => from(),
            Sign::Below => !from(),
            Sign::Tilde => from() && same(self.parts.len().min(2)),
            Sign::Caret => {
                // The first part that is not 0 stays; of zeros alone, those that were written.
                let fixed = self.parts.iter().position(|part| *part > 0);
                from() && same(fixed.map_or(self.parts.len(), |index| index + 1))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(range: &str, yes: &[&str], no: &[&str]) {
        let parsed = Range::parse(range).unwrap();
        for (list, wanted) in [(yes, true), (no, false)] {
            for text in list {
                let version = version(text).unwrap();
                assert_eq!(parsed.matches(&version), wanted, "{range} {text}");
            }
        }
    }

    #[test]
    fn ranges_mean_what_charts_mean_by_them() {
        check("1.2.3", &["1.2.3", "v1.2.3"], &["1.2.4", "1.2.3-rc.1"]);
        check(
            "^1.2.3",
            &["1.2.3", "1.9.0"],
            &["1.2.2", "2.0.0", "1.3.0-rc.1"],
        );
        check("^0.2.3", &["0.2.3", "0.2.9"], &["0.3.0", "0.2.2"]);
        check("^0.0.3", &["0.0.3"], &["0.0.4"]);
        check("^0", &["0.0.1", "0.9.0"], &["1.0.0"]);
        check("~1.2.3", &["1.2.3", "1.2.9"], &["1.3.0", "1.2.2"]);
        check("~1", &["1.0.0", "1.9.0"], &["2.0.0"]);
        check("1.x", &["1.0.0", "1.9.9"], &["2.0.0"]);
        check("1.2", &["1.2.0", "1.2.9"], &["1.3.0"]);
        check("*", &["0.0.1", "9.9.9"], &["1.0.0-rc.1"]);
        check(">=1.2, <2", &["1.2.0", "1.9.9"], &["1.1.9", "2.0.0"]);
        check(">= 1.2 < 2.0.0", &["1.2.0"], &["2.0.0"]);
        check("1.2 - 2.3.4", &["1.2.0", "2.3.4"], &["1.1.0", "2.3.5"]);
        check("1.0.0 || >=3.0.0", &["1.0.0", "3.1.0"], &["2.0.0"]);
        check(">1.2", &["1.3.0"], &["1.2.9", "1.2.0"]);
        check("<=1.2", &["1.2.9", "1.0.0"], &["1.3.0"]);
        check("!=1.2.3", &["1.2.4"], &["1.2.3"]);
        check(
            ">=1.2.3-0",
            &["1.2.3-rc.1", "1.3.0-rc.1", "2.0.0"],
            &["1.2.2"],
        );
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for bad in [
            "", "latest", ">", "1.2.3.4", "^a", "1.x.2", "|| 1", "1.2 -x",
        ] {
            assert!(Range::parse(bad).is_err(), "{bad}");
        }
    }
}
