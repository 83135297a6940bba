//! Hostile templates end in a clear error, soon and in little memory.

#![allow(clippy::unwrap_used)] // a test helper outside of a test function

mod common;

use std::time::{Duration, Instant};

use sftprep_template::{ChatTemplate, Map};

/// Renders and checks the code of the error, in a thread with a small stack.
fn fails_with(source: String, code: &'static str) {
    let work = move || {
        let start = Instant::now();
        let messages = [common::message("user", "hello")];
        let kwargs = Map::new();
        let result = ChatTemplate::compile("hostile", &source).and_then(|template| {
            template
                .render_traced(&common::request(&messages, &kwargs))
                .map(|r| r.text.len())
        });
        let shown: String = source.chars().take(60).collect();
        let error = result.expect_err(&shown);
        assert_eq!(error.code(), code, "{shown}: {error}");
        // The bar is one second; tests run unoptimised and side by side.
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "{shown}: too slow"
        );
    };
    std::thread::Builder::new()
        .stack_size(2 << 20)
        .spawn(work)
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn endless_work() {
    let nested = "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}";
    fails_with(nested.into(), "template.limit_steps");
    fails_with("{{ range(100001) }}".into(), "template.limit_range");
    let search =
        "{% set x = 'ab' * 1000000 %}{% for a in range(100000) %}{{ 'q' in x }}{% endfor %}";
    fails_with(search.into(), "template.limit_steps");
}

#[test]
fn doubling_text() {
    let doubling = "{% set ns = namespace(x='ab') %}{% for a in range(64) %}\
                    {% set ns.x = ns.x + ns.x %}{% endfor %}";
    fails_with(doubling.into(), "template.limit_output");
    fails_with("{{ 'a' * 10000000000 }}".into(), "template.limit_output");
    fails_with("{{ [1] * 10000000000 }}".into(), "template.limit_output");
    fails_with(
        "{{ 'a'.center(10000000000) }}".into(),
        "template.limit_output",
    );
    fails_with("{{ '%0999999999d' % 1 }}".into(), "template.value");
    let lists = "{% set ns = namespace(x=[1]) %}{% for a in range(64) %}\
                 {% set ns.x = ns.x + ns.x %}{% endfor %}";
    fails_with(lists.into(), "template.limit_output");
    let join = "{% set x = 'a' * 100000 %}{{ range(100000)|list|join(x) }}";
    fails_with(join.into(), "template.limit_output");
    let replace = "{% set x = 'a' * 100000 %}{{ x.replace('a', x) }}";
    fails_with(replace.into(), "template.limit_output");
}

#[test]
fn deep_nesting() {
    fails_with(
        format!("{{{{ {}1{} }}}}", "(".repeat(5000), ")".repeat(5000)),
        "template.limit_recursion",
    );
    fails_with(
        format!("{{{{ {}1 }}}}", "-".repeat(5000)),
        "template.limit_recursion",
    );
    fails_with(
        format!("{{{{ {}1 }}}}", "not ".repeat(5000)),
        "template.limit_recursion",
    );
    fails_with(
        format!("{{{{ x{} }}}}", ".y".repeat(5000)),
        "template.limit_recursion",
    );
    fails_with("{% if 1 %}".repeat(5000), "template.limit_recursion");
    fails_with(
        format!("{{{{ 1{} }}}}", "|abs".repeat(5000)),
        "template.limit_recursion",
    );
    fails_with(
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}".into(),
        "template.limit_recursion",
    );
    let grow = "{% set ns = namespace(x=[]) %}{% for a in range(5000) %}{% set ns.x = [ns.x] %}\
                {% endfor %}{{ ns.x }}";
    fails_with(grow.into(), "template.limit_recursion");
    let cycle = "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}";
    fails_with(cycle.into(), "template.limit_recursion");
}

#[test]
fn escapes_from_the_sandbox() {
    for source in [
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update({}) }}",
        "{{ messages[0].pop('role') }}",
        "{{ '{0.__class__.__mro__}'.format(1) }}",
        "{{ (messages|attr('__class__')).x }}",
        "{{ raise_exception.__globals__['os'] }}",
        "{% set ns = namespace(__class__=1) %}",
    ] {
        fails_with(source.into(), "template.security");
    }
}
