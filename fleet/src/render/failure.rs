//! Why a render gave no objects.
use super::trace::Trace;

/// The cause, stable: programs compare it, people read [`RenderFailure::message`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// A template asks for time, randomness, the network or the environment.
    RenderImpure,
    /// A path leaves the tree.
    PathEscape,
    /// A Kustomize base or file lies outside the tree, by URL.
    RemoteBase,
    /// A Kustomize plugin, function or chart inflator.
    PluginForbidden,
    /// Not YAML, or not an object.
    YamlInvalid,
    /// YAML beyond a named limit: documents, depth, aliases.
    YamlLimit,
    /// Input or output beyond a named limit.
    SizeLimit,
    /// A chart's dependencies are not what its lock names.
    LockMismatch,
    /// Not a chart.
    ChartInvalid,
    /// Values that the chart's schema refuses, or that are not a map.
    ValuesInvalid,
    /// A template failed.
    TemplateFailed,
    /// A Kustomize build failed.
    KustomizeFailed,
    /// A chart archive that no honest tool writes.
    ArchiveUnsafe,
    /// An admission policy that doesn't parse or compile.
    PolicyInvalid,
    /// The input or the request is not one that can be rendered at all.
    SpecInvalid,
    /// The time limit was reached; the worker was killed.
    RenderTimeout,
    /// The memory limit was reached; the worker was killed.
    RenderMemory,
    /// The worker died of its own.
    RenderCrashed,
    /// The worker said something that the protocol does not allow; it was killed.
    RenderProtocol,
    /// No worker could be started.
    RenderUnavailable,
    /// The store behind the tree did not answer.
    FilesFault,
}

const CODES: [(Code, &str); 21] = [
    (Code::RenderImpure, "RENDER_IMPURE"),
    (Code::PathEscape, "PATH_ESCAPE"),
    (Code::RemoteBase, "REMOTE_BASE"),
    (Code::PluginForbidden, "PLUGIN_FORBIDDEN"),
    (Code::YamlInvalid, "YAML_INVALID"),
    (Code::YamlLimit, "YAML_LIMIT"),
    (Code::SizeLimit, "SIZE_LIMIT"),
    (Code::LockMismatch, "LOCK_MISMATCH"),
    (Code::ChartInvalid, "CHART_INVALID"),
    (Code::ValuesInvalid, "VALUES_INVALID"),
    (Code::TemplateFailed, "TEMPLATE_FAILED"),
    (Code::KustomizeFailed, "KUSTOMIZE_FAILED"),
    (Code::ArchiveUnsafe, "ARCHIVE_UNSAFE"),
    (Code::PolicyInvalid, "POLICY_INVALID"),
    (Code::SpecInvalid, "SPEC_INVALID"),
    (Code::RenderTimeout, "RENDER_TIMEOUT"),
    (Code::RenderMemory, "RENDER_MEMORY"),
    (Code::RenderCrashed, "RENDER_CRASHED"),
    (Code::RenderProtocol, "RENDER_PROTOCOL"),
    (Code::RenderUnavailable, "RENDER_UNAVAILABLE"),
    (Code::FilesFault, "FILES_FAULT"),
];

impl Code {
    /// UPPER_SNAKE text of the code.
    pub fn as_str(self) -> &'static str {
        CODES
            .iter()
            .find(|(code, _)| *code == self)
            .map_or("RENDER_PROTOCOL", |(_, text)| text)
    }

    /// The code with this text.
    pub fn parse(text: &str) -> Option<Self> {
        CODES
            .iter()
            .find(|(_, known)| *known == text)
            .map(|(code, _)| *code)
    }

    /// Whether a later try of the same input may succeed: the environment failed, not the input.
    pub fn is_fault(self) -> bool {
        matches!(
            self,
            Self::RenderCrashed | Self::RenderUnavailable | Self::FilesFault
        )
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a render gave no objects. Never holds content of the files that it read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {}{message}", place(file, *line, field))]
pub struct RenderFailure {
    /// The cause.
    pub code: Code,
    /// File of the tree or template of the chart; empty if none is to blame.
    pub file: String,
    /// Line in the file, from 1; 0 if unknown.
    pub line: u32,
    /// Path of the field; empty if unknown.
    pub field: String,
    /// For a person.
    pub message: String,
    /// What was read before it failed: the same input fails again until one of these changes.
    pub trace: Trace,
}

impl RenderFailure {
    /// A failure without a place.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            file: String::new(),
            line: 0,
            field: String::new(),
            message: message.into(),
            trace: Trace::default(),
        }
    }

    /// The same failure, blamed on a file.
    #[must_use]
    pub fn at(mut self, file: impl Into<String>, line: u32) -> Self {
        self.file = file.into();
        self.line = line;
        self
    }
}

fn place(file: &str, line: u32, field: &str) -> String {
    let mut text = String::new();
    if !file.is_empty() {
        text.push_str(file);
        if line > 0 {
            text.push_str(&format!(":{line}"));
        }
        text.push_str(": ");
    }
    if !field.is_empty() {
        text.push_str(field);
        text.push_str(": ");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_its_text() {
        for (code, text) in CODES {
            assert_eq!(Code::parse(text), Some(code));
            assert_eq!(code.as_str(), text);
        }
    }

    #[test]
    fn a_failure_reads_as_file_line_field_message() {
        let mut failure =
            RenderFailure::new(Code::RenderImpure, "\"now\" is refused").at("t/a.yaml", 7);
        failure.field = "spec.x".to_owned();
        assert_eq!(
            failure.to_string(),
            "RENDER_IMPURE: t/a.yaml:7: spec.x: \"now\" is refused"
        );
    }
}
