//! The outsider as an oracle: one process, many questions.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use countersign_tests::tool::Tool;
use serde::Deserialize;
use serde_json::Value;

/// What Go says of an input.
#[derive(Debug, Deserialize)]
pub(super) struct Answer {
    /// Whether it was taken.
    pub(super) taken: bool,
    /// As what.
    pub(super) value: String,
    /// Whether Go takes a spelling that the specification does not give.
    pub(super) lax: bool,
}

pub(super) struct Oracle {
    process: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Oracle {
    pub(super) fn start() -> Self {
        let mut process = Command::new(Tool::Interop.path().unwrap())
            .arg("serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let questions = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Self {
            process,
            questions,
            answers,
        }
    }

    /// Asks all at once; a thread writes, so that neither pipe waits for the other.
    pub(super) fn ask(&mut self, questions: &[Value]) -> Vec<Answer> {
        let (pipe, answers) = (self.questions.as_mut().unwrap(), &mut self.answers);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut text = Vec::new();
                for question in questions {
                    serde_json::to_writer(&mut text, question).unwrap();
                    text.push(b'\n');
                }
                pipe.write_all(&text).unwrap();
            });
            (0..questions.len())
                .map(|_| {
                    let mut line = String::new();
                    answers.read_line(&mut line).unwrap();
                    serde_json::from_str(&line).unwrap()
                })
                .collect()
        })
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        // It ends when its questions do.
        drop(self.questions.take());
        let _ = self.process.wait();
    }
}
