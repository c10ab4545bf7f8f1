//! Names, header values, regular expressions; no input panics.

use hawser_api::validate::{check_document, names, re2};
use proptest::prelude::*;
use serde_json::json;

#[test]
fn regular_expressions_mean_what_they_mean_to_re2() {
    for (pattern, text, whole) in [
        ("/v1/{id}", "/v1/{id}", true),
        ("a{2}", "aa", true),
        ("a{2,}", "aaaa", true),
        ("a{,2}", "a{,2}", true),
        ("\\d+", "123", true),
        ("\\d", "٣", false),
        ("\\w+", "é", false),
        ("[\\w-]+", "a-b", true),
        ("[a[b]", "[", true),
        ("[a&&b]+", "a&b", true),
        ("\\Qa.b\\E+", "a.b", true),
        ("\\Qa.b\\E", "axb", false),
        ("(?i)abc", "ABC", true),
        ("(?P<n>a)b", "ab", true),
        ("a|b", "ab", false),
        ("[^/]*", "a", true),
        ("[]a]+", "]a", true),
        ("[[:alpha:]]+", "ab", true),
        ("\\x{41}", "A", true),
        ("a\\.b", "a.b", true),
        (".*", "a\nb", false),
    ] {
        let regex = re2::compile_full(pattern).unwrap_or_else(|e| panic!("{pattern}: {e}"));
        assert_eq!(regex.is_match(text), whole, "{pattern} {text}");
    }
    for pattern in [
        "(", "a**", "*a", "a{1001}", "(?=a)", "(?!a)", "(?<=a)b", "\\1", "[a", "\\", "a{2}{3}",
        "\\y", "(?x)a",
    ] {
        assert!(re2::compile(pattern).is_err(), "{pattern}");
    }
}

#[test]
fn hosts_and_header_values() {
    for (inner, outer, expected) in [
        ("a.b", "*.b", true),
        ("*.a.b", "*.b", true),
        ("*.b", "a.b", false),
        ("a.b", "*", true),
        ("b", "*.b", false),
        ("a.b", "a.b", true),
    ] {
        assert_eq!(
            names::is_subset_host(inner, outer),
            expected,
            "{inner} {outer}"
        );
    }
    for (value, valid) in [
        ("", true),
        ("plain", true),
        ("%DOWNSTREAM_REMOTE_ADDRESS%", true),
        ("%START_TIME(%s)%", true),
        ("%UPSTREAM_METADATA([\"a\", \"b\"])%", true),
        ("100%%", true),
        ("100%", false),
        ("%REQ(A)", false),
        ("%REQ(A", false),
        ("a\u{1}", false),
    ] {
        assert_eq!(names::header_value(value).is_ok(), valid, "{value}");
    }
    for (name, valid) in [
        ("a", true),
        ("A-1.b.", true),
        ("a..b", false),
        ("1.2", false),
        ("-a", false),
        ("a_b", false),
        ("", false),
    ] {
        assert_eq!(names::fqdn(name).is_ok(), valid, "{name}");
    }
}

proptest! {
    #[test]
    fn expressions_never_panic(pattern in "[a-c\\\\\\[\\](){}*+?|^$.,:=!<>PpQEdwsbx0-3&~-]{0,24}", text in "[a-c{}]{0,8}") {
        if let Ok(regex) = re2::compile_full(&pattern) {
            regex.is_match(&text);
        }
    }

    #[test]
    fn names_never_panic(text in "[-a-z0-9.*/_:%()\\[\\]\" \\\\é]{0,24}") {
        let _ = (names::fqdn(&text), names::wildcard_domain(&text), names::header_value(&text), names::cidr(&text), names::is_ip(&text));
        let _ = (names::namespaced_host(&text, true), names::label(&text, &text), names::gateway_bound_domain(&text, true));
        let spec = json!({"apiVersion": "telemetry.istio.io/v1", "kind": "Telemetry", "metadata": {"name": "x"},
            "spec": {"accessLogging": [{"filter": {"expression": text}}]}});
        check_document(spec, "n");
    }
}
