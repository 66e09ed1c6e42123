//! The report: one page that needs nothing beside itself. No script, no address that is fetched.

use super::super::answer::{Answer, shown};
use crate::output::safe;

const STYLE: &str = "body{font:14px/1.5 system-ui,sans-serif;margin:2rem;color:#1a1a1a}h1{font-size:1.4rem}h2{font-size:1.1rem;\
margin-top:2rem}table{border-collapse:collapse;font-size:12px}th,td{border:1px solid #ccc;padding:.2rem .4rem;text-align:left;\
vertical-align:top;overflow-wrap:anywhere}th{background:#f2f2f2}.basis{color:#444}@media print{@page{margin:1.5cm}}";

/// The page.
pub(super) fn page(sentence: &str, answers: &[&Answer]) -> String {
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Countersign audit</title>\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\
         <style>{STYLE}</style></head><body><h1>Countersign audit</h1><p>{}</p>\n",
        text(sentence)
    );
    for answer in answers {
        html.push_str(&format!("<h2>{}</h2>\n", text(&answer.title)));
        if !answer.rows.is_empty() {
            html.push_str("<table><thead><tr>");
            for column in &answer.columns {
                html.push_str(&format!("<th>{}</th>", text(column)));
            }
            html.push_str("</tr></thead><tbody>\n");
            for row in &answer.rows {
                html.push_str("<tr>");
                for cell in row {
                    html.push_str(&format!("<td>{}</td>", text(&shown(cell))));
                }
                html.push_str("</tr>\n");
            }
            html.push_str("</tbody></table>\n");
        }
        let basis = answer.basis.sentence(answer.rows.len());
        html.push_str(&format!("<p class=\"basis\">{}</p>\n", text(&basis)));
        for note in &answer.notes {
            html.push_str(&format!("<p class=\"basis\">{}</p>\n", text(note)));
        }
    }
    html.push_str("</body></html>\n");
    html
}

/// Text that is nothing but text.
fn text(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    for c in safe(raw).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_the_log_are_text_in_the_page() {
        let html = page("<script>alert(1)</script>\x1b[2J", &[]);
        assert!(!html.contains("<script>") && !html.contains('\x1b'));
    }
}
