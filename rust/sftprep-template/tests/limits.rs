//! Hostile templates end in a clear error, each within a second and a hundred megabytes.

#![allow(clippy::unwrap_used)] // test helpers outside of test functions

mod common;

use std::fmt::Write as _;
use std::process::Command;

use sftprep_template::{ChatTemplate, Map};

/// The bars: seconds of a CPU, and bytes of memory of a process that does nothing else.
const SECONDS: f64 = 1.0;
const BYTES: u64 = 100 << 20;

/// Names the case that a child process of this test runs.
const CASE: &str = "SFTPREP_HOSTILE_CASE";

/// A template, and the code of its error (empty: it may render).
type Case = (String, &'static str);

fn case(source: impl Into<String>, code: &'static str) -> Case {
    (source.into(), code)
}

fn endless_work() -> Vec<Case> {
    let nested = "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}";
    let search =
        "{% set x = 'ab' * 1000000 %}{% for a in range(100000) %}{{ 'q' in x }}{% endfor %}";
    let strip = "{% set x = ' ' * 1000000 %}{% for a in range(100000) %}{{ x|trim }}{% endfor %}";
    let field = "{% set x = {'a': ' ' * 1000000} %}{% for a in range(100000) %}\
                 {{ x.a|trim ~ x.a.strip() }}{% endfor %}";
    let calls = "{% macro m() %}{% for a in range(100) %}{{ caller() }}{% endfor %}{% endmacro %}\
                 {% call m() %}{% call m() %}{% call m() %}{% call m() %}{% call m() %}x\
                 {% endcall %}{% endcall %}{% endcall %}{% endcall %}{% endcall %}";
    let last = "{% for c in 'a' * 1000000 %}{{ loop.last }}{{ loop.length }}{% endfor %}\
                {% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}";
    vec![
        case(nested, "template.limit_steps"),
        case("{{ range(100001) }}", "template.limit_range"),
        case(
            "{{ range(-9223372036854775807, 9223372036854775807) }}",
            "template.limit_range",
        ),
        case(search, "template.limit_steps"),
        case(strip, "template.limit_steps"),
        case(field, "template.limit_steps"),
        case(calls, "template.limit_output"),
        case(last, "template.limit_output"),
    ]
}

fn doubling_text() -> Vec<Case> {
    let doubling = "{% set ns = namespace(x='ab') %}{% for a in range(64) %}\
                    {% set ns.x = ns.x + ns.x %}{% endfor %}";
    let content = "{% set ns = namespace(x=messages[0].content) %}{% for a in range(64) %}\
                   {% set ns.x = ns.x ~ ns.x %}{% endfor %}";
    let pieces = "{% set ns = namespace(x=messages[0].content[0] ~ 'a') %}\
                  {% for a in range(64) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}";
    let lists = "{% set ns = namespace(x=[1]) %}{% for a in range(64) %}\
                 {% set ns.x = ns.x + ns.x %}{% endfor %}";
    let printed = "{% set x = 'a' * 1000000 %}{% for a in range(100000) %}{{ x }}{% endfor %}";
    let json = "{% set ns = namespace(x=['a']) %}{% for a in range(40) %}\
                {% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x|tojson }}";
    let join = "{% set x = 'a' * 100000 %}{{ range(100000)|list|join(x) }}";
    let replace = "{% set x = 'a' * 100000 %}{{ x.replace('a', x) }}";
    let output = "template.limit_output";
    vec![
        case(doubling, output),
        case(content, output),
        case(pieces, output),
        case(lists, output),
        case(printed, output),
        case(json, output),
        case(join, output),
        case(replace, output),
        case("{{ 'a' * 10000000000 }}", output),
        case("{{ [1] * 10000000000 }}", output),
        case("{{ 'a'.center(10000000000) }}", output),
        case("{{ 1|tojson(indent=10000000000) }}", output),
        case("{{ '%0999999999d' % 1 }}", "template.value"),
    ]
}

fn deep_nesting() -> Vec<Case> {
    let grow = "{% set ns = namespace(x=[]) %}{% for a in range(5000) %}{% set ns.x = [ns.x] %}\
                {% endfor %}{{ ns.x }}";
    let recursive = "{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}";
    let mutual = "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}\
                  {{ a() }}";
    let sources = [
        format!("{{{{ {}1{} }}}}", "(".repeat(5000), ")".repeat(5000)),
        format!("{{{{ {}1 }}}}", "-".repeat(5000)),
        format!("{{{{ {}1 }}}}", "not ".repeat(5000)),
        format!("{{{{ x{} }}}}", ".y".repeat(5000)),
        format!("{{{{ messages{}.x == 'a' }}}}", "[0]".repeat(5000)),
        "{% if 1 %}".repeat(5000),
        format!("{{{{ 1{} }}}}", "|abs".repeat(5000)),
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}".into(),
        "{% macro m() %}{{ 'a' + m() }}{% endmacro %}{{ m() }}".into(),
        mutual.into(),
        recursive.into(),
        grow.into(),
        "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}".into(),
    ];
    sources
        .map(|source| case(source, "template.limit_recursion"))
        .into()
}

fn escapes_from_the_sandbox() -> Vec<Case> {
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update({}) }}",
        "{{ messages[0].pop('role') }}",
        "{{ messages[0]['__class__'].x }}",
        "{{ '{0.__class__.__mro__}'.format(1) }}",
        "{{ '{0[__class__].x}'.format(messages[0]) }}",
        "{{ (messages|attr('__class__')).x }}",
        "{{ (messages|map(attribute='__class__.x')|list)[0] }}",
        "{{ raise_exception.__globals__['os'] }}",
        "{% macro m() %}{% endmacro %}{{ m.__globals__.x }}",
        "{% set ns = namespace(__class__=1) %}",
    ]
    .map(|source| case(source, "template.security"))
    .into()
}

fn all() -> Vec<Case> {
    let groups = [
        endless_work(),
        doubling_text(),
        deep_nesting(),
        escapes_from_the_sandbox(),
        long_text(),
    ];
    groups.into_iter().flatten().collect()
}

/// What reads through its text: over and over, on a long one.
fn long_text() -> Vec<Case> {
    let calls = [
        "x.strip()",
        "x.lstrip('b ')",
        "x.rstrip()",
        "x.split()",
        "x.split('b')",
        "x.rsplit('a')",
        "x.splitlines()",
        "x.startswith(x)",
        "x.endswith(x)",
        "x.replace('b', 'c')",
        "x.lower()",
        "x.title()",
        "x.swapcase()",
        "x.casefold()",
        "x.find('b')",
        "x.rindex('a')",
        "x.count('b')",
        "x.isspace()",
        "x.isalpha()",
        "x.isidentifier()",
        "x.center(9)",
        "x.zfill(9)",
        "x.partition('b')",
        "x.removeprefix(x)",
        "x.expandtabs()",
        "x.join(['a', 'b'])",
        "x.format(1)",
        "x % ()",
        "x|trim",
        "x|length",
        "x|wordcount",
        "x|upper",
        "x|title",
        "x|indent",
        "x|truncate(9)",
        "x|urlencode",
        "x|escape",
        "x|tojson",
        "x|list",
        "x|first",
        "x|last",
        "x|reverse",
        "x|unique|list",
        "x|sort",
        "x|replace('b', 'c')",
        "x|int",
        "x|float",
        "x|string|safe",
        "x[-1]",
        "x[::-1]",
        "x[1:]",
        "x == x ~ ''",
        "x < x ~ 'a'",
        "'b' in x",
        "x is upper",
        "x in [x ~ '']",
        "[x]|join",
        "{x: 1}[x]",
        "x|filesizeformat",
    ];
    let texts = [
        "' ' * 300000",
        "'a ' * 150000",
        "'é ' * 100000",
        "'a' * 300000",
    ];
    let each = |(call, text): (&&str, &&str)| {
        let source = format!(
            "{{% set x = {text} %}}{{% for a in range(100000) %}}{{% set y = {call} %}}{{% endfor %}}"
        );
        case(source, "")
    };
    calls.iter().zip(texts.iter().cycle()).map(each).collect()
}

fn shown(source: &str) -> String {
    source.chars().take(140).collect()
}

/// Renders and checks the code of the error.
fn fails((source, code): &Case) {
    let messages = [common::message("user", "hello")];
    let kwargs = Map::new();
    let result = ChatTemplate::compile("hostile", source).and_then(|template| {
        template
            .render_traced(&common::request(&messages, &kwargs))
            .map(|rendered| rendered.text.len())
    });
    if code.is_empty() {
        return;
    }
    let error = result.expect_err(&shown(source));
    assert_eq!(error.code(), *code, "{}: {error}", shown(source));
    assert!(error.to_string().contains("hostile, line"), "{error}");
}

#[test]
fn each_ends_in_a_clear_error_on_a_small_stack() {
    for case in all().into_iter().filter(|(_, code)| !code.is_empty()) {
        let thread = std::thread::Builder::new().stack_size(2 << 20);
        thread.spawn(move || fails(&case)).unwrap().join().unwrap();
    }
}

/// Seconds of a CPU so far, and the peak memory in bytes; `None` where the system does not
/// say.
fn spent() -> Option<(f64, u64)> {
    let times = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = peak.split_whitespace().next()?.parse().ok()?;
    let nanoseconds: f64 = times.split(' ').next()?.parse().ok()?;
    Some((nanoseconds / 1e9, kilobytes << 10))
}

/// How much slower than an optimised build this one is, roughly: the bars are for that.
fn slowness() -> Option<f64> {
    let before = spent()?.0;
    let mut mixed = 0_u64;
    for step in 0..5_000_000_u64 {
        mixed = std::hint::black_box(mixed ^ step).rotate_left(7);
    }
    assert_ne!(mixed, 1);
    Some(((spent()?.0 - before) / 0.02).max(1.0))
}

/// Not a test of its own: what the next one runs, in a process for each case.
#[test]
fn child() {
    let Some(index) = std::env::var(CASE)
        .ok()
        .and_then(|text| text.parse::<usize>().ok())
    else {
        return;
    };
    let Some((before, _)) = spent() else { return };
    let case: &Case = &all()[index];
    fails(case);
    let (after, peak) = spent().unwrap();
    let seconds = after - before;
    let slowness = slowness().unwrap();
    let shown = shown(&case.0);
    assert!(seconds < SECONDS * slowness, "{shown}: {seconds:.2} s");
    assert!(peak < BYTES, "{shown}: {peak} bytes");
}

#[test]
fn each_ends_in_time_and_memory() {
    let mut failed = String::new();
    for index in 0..all().len() {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture", "--test-threads=1"])
            .env(CASE, index.to_string())
            .output()
            .unwrap();
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            writeln!(failed, "case {index}: {text}").unwrap();
        }
    }
    assert!(failed.is_empty(), "{failed}");
}
