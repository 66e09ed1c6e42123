use super::*;
use proptest::prelude::*;

fn object(time: &str, fields: &str, more: &str) -> String {
    format!(
        r#"{{"kind":"PartialObjectMetadata","metadata":{{"name":"a","namespace":"n","uid":"u","resourceVersion":"17","generation":3,"labels":{{"countersign.dev/app":"x"}},"managedFields":[
        {{"manager":"countersign","operation":"Apply","apiVersion":"v1","time":"{time}","fieldsType":"FieldsV1","fieldsV1":{fields}}}{more}]}}}}"#
    )
}

fn seen(text: &str) -> Seen {
    meta(text.as_bytes()).unwrap().seen()
}

#[test]
fn fields_and_time_of_our_entry_both_count() {
    let first = seen(&object(
        "2026-01-01T00:00:00Z",
        r#"{"f:data":{"f:a":{}}}"#,
        "",
    ));
    assert_eq!(
        (first.revision, first.generation, &*first.uid),
        (17, 3, "u")
    );
    assert_eq!(first.written, 1_767_225_600);
    assert!(first.labelled && !first.argo && !first.deleting);
    assert_ne!(
        first.mark,
        seen(&object(
            "2026-01-01T00:00:01Z",
            r#"{"f:data":{"f:a":{}}}"#,
            ""
        ))
        .mark
    );
    assert_ne!(
        first.mark,
        seen(&object("2026-01-01T00:00:00Z", r#"{"f:data":{}}"#, "")).mark
    );
}

#[test]
fn what_others_own_beside_us_changes_others_only() {
    let alone = seen(&object("2026-01-01T00:00:00Z", "{}", ""));
    let status = seen(&object(
        "2026-01-01T00:00:00Z",
        "{}",
        r#",{"manager":"m","operation":"Update","subresource":"status","fieldsV1":{"f:status":{}}}"#,
    ));
    let sidecar = seen(&object(
        "2026-01-01T00:00:00Z",
        "{}",
        r#",{"manager":"kubectl-edit","operation":"Update","fieldsV1":{"f:spec":{"f:x":{}}}}"#,
    ));
    let word = seen(&object(
        "2026-01-01T00:00:00Z",
        "{}",
        r#",{"manager":"kubectl-label","operation":"Update","fieldsV1":{"f:metadata":{"f:labels":{}}}}"#,
    ));
    assert_eq!(alone.others, 0);
    assert_eq!(alone, status);
    assert_eq!(alone, word);
    assert_ne!(sidecar.others, 0);
    assert_eq!(sidecar.mark, alone.mark);
}

#[test]
fn an_update_under_our_name_is_not_our_entry() {
    let text = object("2026-01-01T00:00:00Z", "{}", "").replace("\"Apply\"", "\"Update\"");
    assert_eq!(seen(&text).mark, None);
}

#[test]
fn argo_cds_marks_are_known_and_a_common_label_is_none() {
    let with = |labels: &str, annotations: &str| {
        seen(&format!(
            r#"{{"metadata":{{"name":"a","labels":{labels},"annotations":{annotations}}}}}"#
        ))
        .argo
    };
    assert!(with("{}", r#"{"argocd.argoproj.io/tracking-id":"x"}"#));
    assert!(with(r#"{"argocd.argoproj.io/instance":"x"}"#, "{}"));
    assert!(with(
        r#"{"app.kubernetes.io/instance":"x"}"#,
        r#"{"argocd.argoproj.io/sync-wave":"1"}"#
    ));
    assert!(!with(r#"{"app.kubernetes.io/instance":"x"}"#, "{}"));
}

#[test]
fn odd_objects_are_unreadable_or_empty_but_never_a_panic() {
    for text in [
        "",
        "null",
        "[]",
        r#"{"metadata":null}"#,
        r#"{"metadata":{"name":7}}"#,
        r#"{"metadata":{"name":"a","managedFields":[null]}}"#,
        r#"{"metadata":{"name":"a","managedFields":{}}}"#,
    ] {
        assert!(meta(text.as_bytes()).is_none(), "{text}");
    }
    for text in [
        r#"{"metadata":{"name":"a","labels":null,"annotations":null,"managedFields":null}}"#,
        r#"{"metadata":{"name":"a","annotations":{"a":7}}}"#,
    ] {
        assert_eq!(seen(text).mark, None, "{text}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = meta(&bytes).map(|meta| meta.seen());
    }

    #[test]
    fn a_mark_is_text_and_back(bytes in any::<[u8; 16]>()) {
        prop_assert_eq!(Mark(bytes).to_string().parse(), Ok(Mark(bytes)));
    }
}
