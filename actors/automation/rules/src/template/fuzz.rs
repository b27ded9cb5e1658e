//! Hostile templates.

use jarvis_fuzz::fuzz;
use serde_json::Map;

use super::tests::house;
use super::*;

#[test]
fn fuzz_templates() {
    let words = [
        "{{ ",
        " }}",
        "{% ",
        " %}",
        "{%- ",
        "{% if x %}",
        "{% else %}",
        "{% endif %}",
        "{% for i in ",
        "{% endfor %}",
        "{% set a = ",
        "{% macro m() %}",
        "{% endmacro %}",
        "{% raw %}",
        "{% endraw %}",
        "states",
        "('light.kitchen')",
        ".attributes",
        "now()",
        " | float(0)",
        " | map('int')",
        " | list",
        " | join(',')",
        "range(99999)",
        " * ",
        " ~ ",
        " ** ",
        " + ",
        " - ",
        " // ",
        " in ",
        " is ",
        " not ",
        "namespace(a=1)",
        "[",
        "]",
        "(",
        ")",
        "{",
        "}",
        "'",
        "\"",
        "\\",
        ".x",
        "[::-1]",
        "1e308",
        "99999999999999999999",
        "timedelta(days=9999999)",
        "strptime('1', '%Y')",
        " | regex_replace('(a*)*', '\\\\1')",
        " | from_json",
        " | to_json",
        "'%05.1f'",
        " % ",
        " | format(",
        "'{:>8,.2f}'.format(",
        " | batch(",
        " | slice(",
        " | combine(",
        " | union(",
        "dict(**",
        ".split(",
        ".isocalendar()",
        " if x else ",
        " and ",
        "\u{1F600}",
    ];
    let templates = Templates::new();
    let facts = house();
    let mut variables = Map::new();
    variables.insert("x".into(), serde_json::json!([1, "a", { "k": null }]));
    fuzz!()
        .seeds([
            "{{ states('light.kitchen') }} {{ is_state('light.hall', 'on') and now().hour > 5 }}",
            "{% set n = namespace(s=0) %}{% for i in range(5) %}{% set n.s = n.s + i %}{% endfor %}{{ n.s }}",
            "{{ states.light | selectattr('state', 'eq', 'on') | map(attribute='entity_id') | list }}",
            "{{ (now() - states.light.kitchen.last_changed).total_seconds() | round(1) }}",
            "{{ 'abc'[1:] ~ x[0] * 3 ** 2 // 4 % 5 }} {{ x | to_json | from_json }}",
            "{% macro m(a, b=1) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}{% filter upper %}x{% endfilter %}",
            "{{ 'a1' | regex_findall('[a-z]([0-9])') }} {{ strptime('2024', '%Y') }} {{ {'a': [1, (2, 3)]} }}",
            "{{ '%02d:%s' % (5, 'a') }} {{ '%(a)5.1f'|format(a=1.5) }} {{ '{:>5}{!r}'.format(1, 'b') }} {{ 'a,b'.rsplit(',', 1) }}",
            "{{ [1, 2] | batch(2, 0) | list }} {{ dict({'a': 1}, **{'b': (1, 2)}) | combine({'c': 3}) }} {{ x | map('string') | union([5]) }}",
            "{{ as_timestamp(now()) | timestamp_custom('%H:%M') }} {{ today_at('07:30') + timedelta(minutes=5) }}",
        ])
        .words(words)
        .text()
        .runs(1_500)
        .memory(16 * 1024 * 1024, 8 * 1024)
        .run(|bytes| {
            let source = std::str::from_utf8(bytes).expect("asked for");
            let rendered = templates.render(source, Arc::clone(&facts), &variables);
            match rendered {
                Ok(rendered) => {
                    assert!(rendered.text.len() <= limits::TEXT);
                    assert_eq!(templates.check(source), Ok(()));
                    format!("{:?}", rendered.value).chars().take(40).collect::<String>()
                }
                Err(error) => {
                    assert!(error.line >= 1 && !error.what.is_empty());
                    assert!((error.line as usize) <= source.matches('\n').count() + 1, "{error}");
                    error.what.chars().take(40).collect()
                }
            }
        });
}
